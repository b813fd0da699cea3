"""What a cache of folded state must be able to do. It may lose everything, and must never be wrong."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from kernel.ids import Position


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """The folded state of one entity at a version of its stream.

    ``fingerprint`` names the catalogue that folded it; ``state`` is opaque to the store. ``due_us`` is the
    entity's next deadline for an effect outside its vector, None without one. ``dead`` holds encoded dead
    letters (opaque here), so that they can be listed without waking their lead.
    """

    number: int
    version: int
    fingerprint: str
    state: bytes
    due_us: int | None = None
    dead: tuple[bytes, ...] = ()


class SnapshotStore(Protocol):
    """Snapshots and the durable index of deadlines, by the streams' internal numbers."""

    def get(self, number: int) -> Snapshot | None:
        """The newest snapshot put, written yet or not. May be called on the loop (microseconds).

        Raises ``SnapshotCorrupt``: the caller refolds and counts.
        """

    def put(self, snapshot: Snapshot) -> None:
        """Queue a snapshot and its deadline for the next write batch. Never blocks."""

    def remove(self, number: int) -> None:
        """Queue the removal of every trace of an entity."""

    def note_applied(self, position: Position) -> None:
        """All events up to ``position`` are contained in what was put so far: written with the next batch."""

    def applied(self) -> Position:
        """The applied position that is written; 0 in a fresh or discarded cache."""

    @property
    def backlog(self) -> int:
        """Snapshots put and not written yet: callers wait in ``flush`` when it is large."""

    async def flush(self) -> bool:
        """Wait until everything put so far is written. False when a write failed: counted, and tried again later."""

    def due(self, *, after: tuple[int, int], until_us: int, limit: int) -> list[tuple[int, int]]:
        """(due_us, number) of written deadlines in order, strictly after the given pair, up to ``until_us``."""

    def dead(self, *, after: tuple[int, int] = (0, 0), limit: int = 1000) -> Sequence[tuple[int, int, bytes]]:
        """Written dead letters as (number, index, encoded), in order, strictly after the given pair."""

    async def clear(self) -> None:
        """Forget everything, written or not: as fresh as after a discard."""

    async def close(self) -> None:
        """Write what is queued, mark the stop as clean, and close. Idempotent."""
