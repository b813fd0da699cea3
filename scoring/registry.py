"""Models on disk: versions with their cards, never changed once written.

Format. A directory holds one directory per version, named by the model's id, ``<family>-<number>``, numbers counting up
from 1 within a family::

    conversion-0003/
        card.json       the card (``model.Card``), and with it the id, the configuration and the hash of the other file
        model.skops     what the model is made of, in skops' format: a zip of arrays and of a JSON that names types

A version is written into a directory of another name, synced, and renamed, so that a version that is there is whole; a
torn write leaves a name beginning with a dot, which nobody reads. Reading checks the SHA-256 of ``model.skops`` first,
and refuses every type that is not on ``TRUSTED``: unlike a pickle, the file runs no code. Which version is in use stands
in the log and not here (``promotion``), so a directory may be copied, and a version deleted that nobody uses.

Cards are read without the libraries that models are made with: those take seconds to import, and are, by whoever saves
or loads a model first.
"""

import os
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from zipfile import BadZipFile

import msgspec

from kernel.errors import ModelCorrupt, ModelNotFound, ModelSchemaMismatch
from scoring.model import FAMILIES, Card, Family

if TYPE_CHECKING:
    from scoring.challenge import Model

#: Types beyond numbers, lists and arrays that a file may name.
TRUSTED: tuple[str, ...] = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)

_ID = re.compile(rf"({'|'.join(get_args(Family))})-([0-9]{{4,9}})", re.ASCII)
_ENCODER = msgspec.json.Encoder()


class Version(msgspec.Struct, frozen=True):
    """One version as it stands on disk. ``config`` is the scoring configuration that it was trained for."""

    id: str
    config: str
    sha256: str
    size_bytes: int
    card: Card

    @property
    def family(self) -> Family:
        return self.card.family


_DECODER = msgspec.json.Decoder(Version)


def save(directory: Path, model: "Model", *, config: str = "default") -> Version:
    """Write a model as the next version of its family. Durable when it returns; may block for tens of milliseconds."""
    from skops import io as skops

    directory.mkdir(parents=True, exist_ok=True)
    body = skops.dumps(model.parts())
    family = model.card.family
    number = max((int(m[2]) for m in map(_ID.fullmatch, _names(directory)) if m and m[1] == family), default=0)
    while True:
        number += 1
        model_id = f"{family}-{number:04d}"
        version = Version(model_id, config, sha256(body).hexdigest(), len(body), model.card)
        if _write(directory, version, body):
            return version


def versions(directory: Path) -> list[Version]:
    """All versions, the newest of each family last. Raises ``ModelCorrupt``."""
    found = [version(directory, name) for name in ids(directory)]
    return sorted(found, key=lambda each: (each.family, int(each.id.rpartition("-")[2])))


def ids(directory: Path) -> list[str]:
    """Of all versions that are there, readable or not."""
    return [name for name in _names(directory) if _ID.fullmatch(name)]


def version(directory: Path, model_id: str) -> Version:
    """Raises ``ModelNotFound`` and ``ModelCorrupt``."""
    if not _ID.fullmatch(model_id):
        raise ModelNotFound(model_id)
    try:
        found = _DECODER.decode((directory / model_id / "card.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFound(model_id) from error
    except (msgspec.MsgspecError, OSError) as error:
        raise ModelCorrupt(model_id, f"its card cannot be read: {error}") from error
    if found.id != model_id or found.family not in FAMILIES:
        raise ModelCorrupt(model_id, f"its card is that of {found.id}")
    return found


def load(directory: Path, model_id: str, *, fingerprint: str | None = None) -> "Model":
    """A model, ready to answer. May block for tens of milliseconds.

    Parameters
    ----------
    fingerprint : of the rows that it is to be asked about; None where it is only looked at.

    Raises
    ------
    ModelNotFound, ModelCorrupt, ModelSchemaMismatch
    """
    found = version(directory, model_id)
    check(found, fingerprint)
    try:
        body = (directory / model_id / "model.skops").read_bytes()
    except OSError as error:
        raise ModelCorrupt(model_id, f"its file cannot be read: {error}") from error
    if sha256(body).hexdigest() != found.sha256:
        raise ModelCorrupt(model_id, "its file is not the one that the card names: the hashes differ")
    try:
        return _made_of(found.card, _parts(model_id, body))
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise ModelCorrupt(model_id, f"its file holds other parts than expected: {error}") from error


def check(found: Version, fingerprint: str | None) -> None:
    """Raises ``ModelSchemaMismatch`` where a model is of other features than those of a fingerprint."""
    if fingerprint is not None and found.card.fingerprint != fingerprint:
        raise ModelSchemaMismatch(found.id, found.card.fingerprint, fingerprint)


def delete(directory: Path, model_id: str) -> None:
    """Remove a version; that nobody uses it is for the caller to know. Raises ``ModelNotFound``."""
    if not _ID.fullmatch(model_id) or not (directory / model_id).is_dir():
        raise ModelNotFound(model_id)
    hidden = directory / f".{model_id}.deleted"
    os.rename(directory / model_id, hidden)
    shutil.rmtree(hidden)


def _made_of(card: Card, parts: dict[str, Any]) -> "Model":
    from scoring.conversion import ConversionModel
    from scoring.multitask import MultitaskModel
    from scoring.time_to_close import TimeToCloseModel

    if card.family == "conversion":
        return ConversionModel.of_parts(card, parts)
    return (TimeToCloseModel if card.family == "time_to_close" else MultitaskModel).of_parts(card, parts)


def _parts(model_id: str, body: bytes) -> dict[str, Any]:
    from skops import io as skops

    try:
        untrusted = set(skops.get_untrusted_types(data=body)) - set(TRUSTED)
        if untrusted:
            raise ModelCorrupt(model_id, f"its file names types that are not trusted: {', '.join(sorted(untrusted))}")
        parts = skops.loads(body, trusted=list(TRUSTED))
    except (BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise ModelCorrupt(model_id, f"its file cannot be read: {error}") from error
    if not isinstance(parts, dict):
        raise ModelCorrupt(model_id, "its file holds no parts of a model")
    return parts


def _names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir()) if directory.is_dir() else []


def _write(directory: Path, found: Version, body: bytes) -> bool:
    """False: a version of that id is there already."""
    target, making = directory / found.id, directory / f".{found.id}.{os.getpid()}"
    making.mkdir(exist_ok=True)
    try:
        _write_synced(making / "model.skops", body)
        _write_synced(making / "card.json", msgspec.json.format(_ENCODER.encode(found), indent=1))
        _sync(making)
        os.rename(making, target)  # refused where the target is a directory that holds something
    except OSError:
        if not target.is_dir():
            raise
        return False
    finally:
        shutil.rmtree(making, ignore_errors=True)
    _sync(directory)
    return True


def _write_synced(path: Path, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
