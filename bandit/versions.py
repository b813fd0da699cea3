"""A model's bytes: sealed with what they belong to, and refused by name where that is not what is here.

Format, msgpack: ``[1, kind, library, settings, width, seed, updates, sha256 of body, body]``. ``settings`` is the JSON of the learner's
settings with its keys sorted. ``library`` names who reads the body and its version: Vowpal Wabbit's models are
not promised to survive a change of version, so another one's is refused, and the model is rebuilt from the log. Every
part is in its one order, so equal models are equal bytes, and the sha256 of all of them names a version.
"""

from hashlib import sha256
from typing import Final

import msgspec

from bandit.learners.learner import LearnerSettings
from kernel.errors import ModelMismatch

_FORMAT: Final = 1


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """What a model belongs to: it can be used where all of this is the same."""

    kind: str
    library: str
    settings: str
    width: int
    seed: int


class _Sealed(msgspec.Struct, array_like=True):
    format: int
    stamp: Stamp
    updates: int
    digest: bytes
    body: bytes


def stamp_of(settings: LearnerSettings, library: str, *, width: int, seed: int) -> Stamp:
    """The stamp of a learner. ``library`` is e.g. ``vowpalwabbit 9.11.9``."""
    text = msgspec.json.encode(settings, order="sorted").decode()
    return Stamp(settings.kind, library, text, width, seed)


def sealed(stamp: Stamp, updates: int, body: bytes) -> bytes:
    """A model's bytes, from its learner's own."""
    return msgspec.msgpack.encode(_Sealed(_FORMAT, stamp, updates, sha256(body).digest(), body))


def opened(model: bytes, expected: Stamp) -> tuple[int, bytes]:
    """Updates and the learner's own bytes.

    Raises
    ------
    ModelMismatch
        It says what differs: the format, the bytes (damaged), or the field of the stamp.
    """
    read = _read(model)
    for field in Stamp.__struct_fields__:
        wanted, found = getattr(expected, field), getattr(read.stamp, field)
        if wanted != found:
            raise ModelMismatch(field, wanted, found)
    return read.updates, read.body


def stamp_in(model: bytes) -> Stamp:
    """The stamp that a model carries. Raises ``ModelMismatch`` where the bytes are damaged."""
    return _read(model).stamp


def model_sha256(model: bytes) -> str:
    """The name of a model by its content."""
    return sha256(model).hexdigest()


def _read(model: bytes) -> _Sealed:
    try:
        read = msgspec.msgpack.decode(model, type=_Sealed)
    except msgspec.DecodeError as error:
        raise ModelMismatch("encoding", "a sealed model", f"damaged ({error})") from error
    if read.format != _FORMAT:
        raise ModelMismatch("format", _FORMAT, read.format)
    if sha256(read.body).digest() != read.digest:
        raise ModelMismatch("sha256", read.digest.hex(), sha256(read.body).hexdigest())
    return read
