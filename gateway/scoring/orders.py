"""What a service and the process that trains for it tell each other.

A message is four bytes of length, then MessagePack. To the process: an ``Order``, then every lead's events in ``Part``s, whole
streams by version, then ``End``. From it: ``Told``, how far it is; at the end ``Made``, what was written into the directory of
models, or ``Failed``.
"""

import struct
from typing import Final

import msgspec

from kernel.settings import OrgSettings
from kernel.settings_scoring import CategoryWeights
from scoring.model import Family
from scoring.request import Request

LENGTH: Final = struct.Struct("<I")


class Order(msgspec.Struct, frozen=True, tag=True):
    """What is to be trained.

    Attributes
    ----------
    settings : the organisation's, as far as its catalogue follows from them.
    champions : versions in use, by family.
    path : where modules are found, packs of one's own among them.
    directory : of the models: those in use are read there, those made are written there.
    leads : how many streams will come.
    """

    org: str
    settings: OrgSettings
    request: Request
    weights: CategoryWeights
    champions: dict[Family, str]
    path: list[str]
    directory: str
    config: str
    until_us: int
    now_us: int
    leads: int


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event without its stream."""

    version: int
    position: int
    id: str
    type: str
    at_us: int
    recorded_us: int
    data: bytes
    source: str | None


class Part(msgspec.Struct, frozen=True, tag=True):
    """Events of a lead; ``is_last``: the next part is another lead's."""

    lead: str
    number: int
    rows: list[Row]
    is_last: bool


class End(msgspec.Struct, frozen=True, tag=True):
    """All leads were told."""


class Told(msgspec.Struct, frozen=True, tag=True):
    """How far the training is: ``scoring.training.Report``."""

    phase: str
    done: int
    total: int | None


class Made(msgspec.Struct, frozen=True, tag=True):
    """The versions that were written, and of how much they were made. ``refused``: family → why there is none."""

    models: list[str]
    leads: int
    rows: int
    refused: dict[Family, str]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Nothing could be trained."""

    reason: str


ToTrainer = Order | Part | End
FromTrainer = Told | Made | Failed


def framed(message: ToTrainer | FromTrainer) -> bytes:
    """A message as it is sent."""
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body
