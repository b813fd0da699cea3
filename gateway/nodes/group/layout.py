"""Who holds which partition, as nodes tell each other: what each says of itself, and what follows for all of them.

Both travel through the group of the topic as JSON. A node that is not of this version ignores fields that it does not know.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

_Said = TypeVar("_Said")


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node says of itself when it joins.

    Attributes
    ----------
    node : names the process, no other one ever.
    url : where the others reach it.
    leads : the partitions that it was given and has not given back. Nobody else is given one of these.
    copies : of partitions, on its disk; whether each is complete, and kept so.
    is_stopping : it is about to end, and to be given nothing.
    """

    node: str
    url: str
    leads: tuple[int, ...] = ()
    copies: Mapping[int, bool] = {}
    is_stopping: bool = False


class Layout(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who holds what from now on, the same for every node.

    Attributes
    ----------
    nodes : names and URLs.
    leaders : by partition; one without is nobody's for now.
    standbys : by partition, who else keeps a copy. Of partition 0 everybody does.
    moves : partitions that their leaders are to give back now, and who is going to be given them.
    """

    partitions: int
    nodes: Mapping[str, str]
    leaders: Mapping[int, str]
    standbys: Mapping[int, tuple[str, ...]]
    moves: Mapping[int, str] = {}

    def follows(self, node: str, partition: int) -> bool:
        """Whether a node is to keep a copy of a partition that it does not lead."""
        return partition == 0 or node in self.standbys.get(partition, ())


def encode(said: Standing | Layout) -> bytes:
    return msgspec.json.encode(said)


def decode_standing(said: bytes) -> Standing | None:
    """What a member of the group says of itself; None when it is nothing of ours."""
    return _decoded(said, Standing)


def decode_layout(said: bytes) -> Layout | None:
    return _decoded(said, Layout)


def _decoded(said: bytes, kind: type[_Said]) -> _Said | None:
    try:
        return msgspec.json.decode(said, type=kind)
    except msgspec.DecodeError:
        return None
