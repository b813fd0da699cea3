"""Publishing snapshots: what a mark promises holds at every moment, whatever fails in between."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from actors.limits import ActorLimits
from actors.restated import Restated
from eventstore.changelog import Kept, Mark, has_hash, hashes
from eventstore.event import NewEvent, Stream
from eventstore.memory_snapshots import MemorySnapshots
from eventstore.sqlite import SqliteEventStore
from gateway.nodes.changelog import hashing, publishing
from gateway.nodes.changelog.hashing import IdHashes
from gateway.nodes.changelog.pace import Pace
from gateway.nodes.changelog.publishing import ChangelogCounts, Publisher
from kernel.clock import SystemClock, VirtualClock
from kernel.errors import OwnershipLost, StoreUnavailable
from kernel.times import SECOND_US
from tests.patience import eventually
from tests.simulation.toy import TYPES, World, note, stream

PARTITION = 1
T0 = 1_700_000_000 * SECOND_US


class Written:
    """A changelog in memory, as its writer is: one that was opened before the last one is fenced."""

    def __init__(self) -> None:
        self.log: list[Kept | Mark] = []
        self.opened = 0
        self.fail: Callable[[], Exception | None] = lambda: None

    def writer(self) -> "Writing":
        return Writing(self)

    def newest(self) -> dict[Stream, Kept]:
        return {each.stream: each for each in self.log if isinstance(each, Kept)}

    def marks(self) -> list[Mark]:
        return [each for each in self.log if isinstance(each, Mark)]


class Writing:
    def __init__(self, written: Written) -> None:
        self.written, self.turn, self.is_open = written, 0, False

    async def open(self) -> None:
        self.written.opened += 1
        self.turn, self.is_open = self.written.opened, True

    async def last_mark(self) -> Mark | None:
        return next(iter(reversed(self.written.marks())), None)

    async def write(self, kept: Sequence[Kept]) -> None:
        for each in kept:
            self._put(each)
            await asyncio.sleep(0)

    async def mark(self, mark: Mark) -> None:
        self._put(mark)

    async def close(self) -> None:
        self.is_open = False

    def _put(self, each: Kept | Mark) -> None:
        if not self.is_open:
            raise StoreUnavailable("it was given up")
        error: Exception | None = (
            OwnershipLost("t", 1, "it") if self.turn < self.written.opened else self.written.fail()
        )
        if error is not None:
            self.is_open = False
            raise error
        self.written.log.append(each)


class Led:
    """A partition with its host and copy."""

    def __init__(self, store: SqliteEventStore, written: Written, limits: ActorLimits | None) -> None:
        self.store, self.written, self.clock = store, written, VirtualClock(T0)
        self.world = World(clock=self.clock, store=store, snapshots=MemorySnapshots(), limits=limits)
        self.may_write = True
        self.asked = 0
        self.counts = ChangelogCounts()

    def publisher(self, catalogue: str = "all") -> Publisher:
        return Publisher(
            PARTITION,
            copy=self.store,
            host=self.world.host,
            writer=self.written.writer(),
            clock=self.clock,
            interval_s=10,
            catalogue=catalogue,
            may_write=self._is_asked,
            pace=Pace(SystemClock(), share_ratio=0.9),
            hashes_bytes=100_000,
            counts=self.counts,
        )

    def _is_asked(self) -> bool:
        self.asked += 1
        return self.may_write

    async def put(self, *events: NewEvent) -> None:
        await self.world.ingest.submit(list(events))

    async def check(self) -> Mark | None:
        """Every stream with an event up to the last mark has a record before it that covers it."""
        marks = self.written.marks()
        if not marks:
            return None
        mark = marks[-1]
        before = self.written.log[: self.written.log.index(mark)]
        newest = {each.stream: each for each in before if isinstance(each, Kept)}
        for event in await self.store.read_log(limit=100_000):
            kept = self.written.newest().get(event.stream)
            if event.position <= mark.position:
                assert newest[event.stream].version >= event.version
                assert kept is not None
                assert kept.version >= event.version, "nor does what comes later take it back"
            if kept is not None and event.version <= kept.version:
                assert has_hash(kept.ids, event.id)
        for each in self.written.newest().values():
            assert each.snapshot is not None
            assert each.snapshot.version == each.version
        return mark


@asynccontextmanager
async def opened(directory: Path, limits: ActorLimits | None = None) -> AsyncIterator[Led]:
    store = await SqliteEventStore.open(directory, types=TYPES, clock=VirtualClock(T0))

    def follow(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE followed (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL) STRICT")
        connection.execute("INSERT INTO followed VALUES (?, 40)", (PARTITION,))

    await store._copy.run(follow)
    yield Led(store, Written(), limits)
    await store.close()


@asynccontextmanager
async def running(led: Led, publisher: Publisher) -> AsyncIterator[Callable[[Callable[[], object]], Awaitable[None]]]:
    """It runs; what is given is a way to let time pass until something holds."""
    task = asyncio.create_task(publisher.run())

    async def until(holds: Callable[[], object]) -> None:
        def held() -> bool:
            led.clock.advance(0.5)
            return bool(holds())

        await eventually(held, 10, every_s=0.001)

    try:
        yield until
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])


def notes(names: Sequence[object], event_id: str) -> list[NewEvent]:
    return [note(str(name), event_id, T0) for name in names]


async def test_every_stream_is_written_first_and_then_what_changed(tmp_path: Path) -> None:
    async with opened(tmp_path, ActorLimits(max_awake=50)) as led:
        await led.put(*notes(range(700), "1"))
        publisher = led.publisher()
        assert publisher.lag == 700
        async with running(led, publisher) as until:
            await until(led.written.marks)
            assert await led.check() == Mark(40, 700, T0, "all")
            assert len(led.written.log) == 701
            assert publisher.lag == 0
            await led.put(*notes([3, 699], "2"))
            await until(lambda: len(led.written.marks()) == 2)
            assert [each.stream.id for each in led.written.log[701:-1]] == ["3", "699"]  # type: ignore[union-attr]
            assert await led.check() == Mark(40, 702, T0, "all")
            kept = led.written.newest()[stream("3")]
            assert kept == Kept(stream("3"), 2, True, hashes(["1", "2"]), kept.snapshot, "all")
            rounds = led.asked
            await until(lambda: led.asked > rounds + 3)
            assert len(led.written.log) == 704, "nothing changed, nothing is written"
        assert led.counts == ChangelogCounts(records=702, failures=0)


async def test_a_stream_that_changes_often_is_written_once_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_PAGE", 4)
    async with opened(tmp_path) as led:
        await led.put(*(note("a", str(n), T0 + n) for n in range(50)))
        async with running(led, led.publisher()) as until:
            await until(led.written.marks)
            await led.put(*(note("a", f"m{n}", T0 + 50 + n) for n in range(50)), *notes("bc", "1"))
            await until(lambda: len(led.written.marks()) == 2)
        assert [each.version for each in led.written.log if isinstance(each, Kept)] == [50, 100, 1, 1]
        await led.check()


async def test_whatever_fails_what_a_mark_promises_holds(tmp_path: Path) -> None:
    async with opened(tmp_path, ActorLimits(max_awake=3)) as led:
        chance = random.Random(5)

        def fail() -> Exception | None:
            return StoreUnavailable("away") if chance.random() < 0.1 else None

        led.written.fail = fail
        publisher = led.publisher()
        async with running(led, publisher) as until:
            for turn in range(60):
                await led.put(*notes([turn % 7, turn % 11, f"n{turn}"], str(turn)))
                seen = len(led.written.log)
                await until(lambda seen=seen: len(led.written.log) > seen)
                await led.check()
            await until(lambda: publisher.lag == 0)
        await led.check()
        assert led.counts.failures > 10


async def test_another_node_goes_on_from_the_last_mark_and_the_first_one_ends(tmp_path: Path) -> None:
    async with opened(tmp_path) as led:
        await led.put(*notes("abc", "1"))
        async with running(led, led.publisher()) as until:
            await until(led.written.marks)
            await led.put(*notes("ad", "2"))
            led.written.fail = lambda: StoreUnavailable("away") if len(led.written.log) == 5 else None
            await until(lambda: led.counts.failures)  # one of the two is written, and no mark
        led.written.fail = lambda: None
        was = len(led.written.log)
        old = led.publisher()
        async with running(led, old) as until:
            await until(lambda: len(led.written.marks()) == 2)
            assert {each.stream.id for each in led.written.log[was:-1]} == {"a", "d"}  # type: ignore[union-attr]
            led.may_write = False  # the process of the old one is paused, and notices when it goes on
            new = led.written.writer()
            await new.open()
            await led.put(*notes("e", "3"))
            led.may_write = True
            await until(lambda: len(led.written.marks()) == 3)  # it is still the one: it opens again
        assert await led.check() is not None
        await new.open()
        await led.put(*notes("f", "4"))
        async with running(led, led.publisher()) as until:
            await until(lambda: len(led.written.marks()) == 4)
        assert led.counts.failures == 1, "to be fenced is no failure"


async def test_nobody_is_fenced_by_who_may_not_write(tmp_path: Path) -> None:
    async with opened(tmp_path) as led:
        await led.put(*notes("a", "1"))
        led.may_write = False
        async with running(led, led.publisher()) as until:
            await until(lambda: led.asked > 3)
            assert led.written.opened == 0
            led.may_write = True
            await until(led.written.marks)


async def test_after_definitions_changed_all_is_written_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as led:
        await led.put(*notes("abc", "1"))
        async with running(led, led.publisher()) as until:
            await until(led.written.marks)
        led.world.folds.fingerprint = "other"
        async with running(led, led.publisher("new")) as until:
            await until(lambda: len(led.written.marks()) == 2)
        assert [each.catalogue for each in led.written.log] == ["all"] * 4 + ["new"] * 4


async def test_a_state_that_was_folded_anew_is_written_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as led:
        await led.put(*notes("abc", "1"))
        async with running(led, led.publisher()) as until:
            await until(led.written.marks)
            await led.world.host.refold(stream("b"))
            led.written.fail = lambda: StoreUnavailable("once") if not led.counts.failures else None
            await until(lambda: len(led.written.marks()) == 2)
            assert [each.stream.id for each in led.written.log[4:-1]] == ["b"]  # type: ignore[union-attr]
            assert led.counts.failures == 1
            led.world.host.begin_swap()
            led.world.host.adopt(MemorySnapshots())
            await until(lambda: len(led.written.marks()) == 3)
            assert len(led.written.log) == 10
        await led.check()


async def test_marks_of_another_log_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as led:
        await led.put(*notes("abc", "1"))
        for strange in (Mark(40, 3, T0 + 1, "all"), Mark(90, 4, T0, "all")):
            led.written.log = [strange]
            failures = led.counts.failures
            async with running(led, led.publisher()) as until:
                await until(lambda failures=failures: led.counts.failures > failures)
            assert led.written.log == [strange]


async def test_what_is_stored_and_not_folded_yet_holds_the_mark_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as led:
        await led.put(*notes("ab", "1"))
        await led.world.append(*notes("a", "2"))
        async with running(led, led.publisher()) as until:
            await until(lambda: led.asked > 3)
            assert [each.stream.id for each in led.written.log][:1] == ["b"]  # type: ignore[union-attr]
            assert led.written.marks() == []
            await led.world.host.deliver(await led.store.read(stream("a")))
            await until(led.written.marks)
        await led.check()


async def test_a_state_that_lags_behind_its_events_is_not_said_to_cover_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as led:  # as states of policies do, with some learners
        await led.put(*notes("ab", "1"), note("a", "2", T0 + 1))
        host = led.world.host
        dump = host.dump

        async def lagging(which: Stream, number: int, version: int) -> object:
            dumped = await dump(which, number, version)
            assert dumped is not None
            snapshot = msgspec.structs.replace(dumped.snapshot, version=1)
            return dumped._replace(snapshot=snapshot)

        host.dump = lagging  # type: ignore[method-assign,assignment]
        async with running(led, led.publisher()) as until:
            await until(led.written.marks)
        newest = led.written.newest()
        assert (newest[stream("a")].version, newest[stream("a")].snapshot) == (2, None)
        assert newest[stream("b")].snapshot is not None


async def test_a_stream_is_known_if_its_state_has_an_event_from_outside(tmp_path: Path) -> None:
    async with opened(tmp_path) as led:
        fired = NewEvent(stream("a"), "~f", "toy_fired", T0, b'{"cause": "x"}', None)
        await led.put(fired)
        async with running(led, led.publisher()) as until:
            await until(led.written.marks)
            assert not led.written.newest()[stream("a")].is_known
            await led.put(note("a", "1", T0))
            await until(lambda: len(led.written.marks()) == 2)
        assert led.written.newest()[stream("a")].is_known


async def test_hashes_are_added_to_and_forgotten_where_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "IDS_MAX", 30)
    monkeypatch.setattr(hashing, "_PAGE_IDS", 7)

    async def breathe() -> None:
        await asyncio.sleep(0)

    async with opened(tmp_path) as led:
        ids: dict[str, list[str]] = {"a": [], "b": [], "c": []}
        found = IdHashes(led.store, max_bytes=500, breathe=breathe)
        for turn in range(11):
            more = {"a": 3, "b": 1, "c": 2}
            for name, count in more.items():
                new = [f"{name}{turn}-{n}" for n in range(count)]
                ids[name] += new
                await led.put(*(note(name, each, T0 + turn) for each in new))
            versions = {number: len(ids[name]) for number, name in enumerate("abc", 1)}
            expected = {n: hashes(ids[name]) if len(ids[name]) <= 30 else None for n, name in enumerate("abc", 1)}
            assert await found.of(versions) == expected
            assert found._bytes <= 500


async def test_who_works_rests_and_all_who_work_share() -> None:
    clock = VirtualClock(T0)
    pace = Pace(clock, share_ratio=0.25)
    rests = [asyncio.create_task(pace.rest(10_000)) for _ in range(2)]
    await asyncio.sleep(0)
    for after_s, done in (
        (0.029, [False, False]),
        (0.002, [True, False]),
        (0.028, [True, False]),
        (0.002, [True, True]),
    ):
        clock.advance(after_s)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [rest.done() for rest in rests] == done


def test_more_states_than_can_be_noted_are_all_states() -> None:
    restated = Restated()
    restated.note(stream("a"))
    restated.note(stream("b"))
    assert restated.take() == (False, {stream("a"), stream("b")})
    assert restated.take() == (False, frozenset())
    for n in range(1001):
        restated.note(stream(n))
    restated.note(stream("a"))
    assert restated.take() == (True, frozenset())
