"""Hashes of the ids of streams, as a changelog wants them; those of streams that change often are kept and added to."""

import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from eventstore.changelog import HASH_BYTES, with_more
from eventstore.kafka_coverage import ids_after

T = TypeVar("T")

#: Of a stream with more ids no hashes are kept: any id may be taken there.
IDS_MAX = 50_000
#: Ids read in one hop, and hashed in one go: about 2 ms.
_PAGE_IDS = 2048
#: What an entry takes beside its hashes.
_ENTRY_BYTES = 200


class Asked(Protocol):
    """A copy of a log that answers in the thread that reads it."""

    async def ask(self, function: Callable[[sqlite3.Connection], T]) -> T: ...


class IdHashes:
    """Of one copy, whose streams have all their events: the number of hashes is the version that they reach.

    Parameters
    ----------
    max_bytes : of hashes that are kept.
    breathe : called between two slices of work.
    """

    def __init__(self, copy: Asked, *, max_bytes: int, breathe: Callable[[], Awaitable[None]]) -> None:
        self._copy, self._max_bytes, self._breathe = copy, max_bytes, breathe
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    async def of(self, versions: Mapping[int, int]) -> dict[int, bytes | None]:
        """Hashes of all ids of streams, by number, up to these versions at least; None where there are too many."""
        found: dict[int, bytes | None] = dict.fromkeys(versions)
        hashed = {number: self._kept.get(number, b"") for number, version in versions.items() if version <= IDS_MAX}
        wanted = [
            (number, len(known) // HASH_BYTES)
            for number, known in hashed.items()
            if len(known) < versions[number] * HASH_BYTES
        ]
        while wanted:
            wanted = await self._read(wanted, hashed)
        for number, known in hashed.items():
            self._keep(number, known)
        return found | hashed

    async def _read(self, wanted: Sequence[tuple[int, int]], hashed: dict[int, bytes]) -> list[tuple[int, int]]:
        """Read and hash a page of ids; what is wanted still."""
        pages = await self._copy.ask(partial(ids_after, wanted=wanted, limit=_PAGE_IDS))
        rest: list[tuple[int, int]] = []
        for (number, after), page in zip(wanted, pages, strict=False):
            hashed[number] = with_more(hashed[number], page.ids)
            if not page.is_whole:
                rest.append((number, after + len(page.ids)))
            await self._breathe()
        return [*rest, *wanted[len(pages) :]]

    def _keep(self, number: int, hashed: bytes) -> None:
        old = self._kept.pop(number, None)
        if old is not None:
            self._bytes -= len(old) + _ENTRY_BYTES
        self._kept[number] = hashed
        self._bytes += len(hashed) + _ENTRY_BYTES
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._kept.popitem(last=False)[1]) + _ENTRY_BYTES
