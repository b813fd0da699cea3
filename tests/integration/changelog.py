"""What a topic's changelog must be true of: the topic itself, read beside it."""

from collections.abc import Mapping
from typing import NamedTuple

from eventstore.changelog import Kept, Mark, has_hash
from eventstore.event import Stream
from eventstore.kafka_changelog import read_changelog
from eventstore.kafka_client import Connections, KafkaOptions
from eventstore.kafka_reader import TopicReader
from gateway.migrating import _difference
from kernel.steps import finish_politely
from tests.integration.nodes import Nodes


class Logged(NamedTuple):
    """An event of the log, and where it stands in its partition."""

    offset: int
    stream: Stream
    version: int
    id: str
    recorded_us: int


class Checked(NamedTuple):
    """Of all partitions: what is kept last, how much was written, and how many events the last marks do not cover."""

    newest: dict[Stream, Kept]
    records: int
    marks: int
    uncovered: int


async def logged(options: KafkaOptions, partition: int) -> list[Logged]:
    found = []
    async with TopicReader(Connections(options), {partition: 0}) as reader:
        async for read in reader.events():
            event = read.told.event
            found.append(Logged(read.offset, event.stream, event.version, event.id, event.recorded_us))
    return found


async def check_changelog(options: KafkaOptions, partitions: int) -> Checked:
    """Hold every mark, and every record, against the log."""
    newest: dict[Stream, Kept] = {}
    records = marks = uncovered = 0
    for partition in range(partitions):
        changelog = [each async for each in read_changelog(Connections(options), partition)]
        log = await logged(options, partition)
        here, last = _promises(log, changelog)
        _records(log, here)
        newest |= here
        marks += (new := sum(isinstance(each, Mark) for each in changelog))
        records += len(changelog) - new
        uncovered += sum(each.offset >= last for each in log)
    return Checked(newest, records, marks, uncovered)


def _promises(log: list[Logged], changelog: list[Kept | Mark]) -> tuple[dict[Stream, Kept], int]:
    """Each mark is true of what stands before it, and nothing goes back; what is kept in the end, and the last offset."""
    newest: dict[Stream, Kept] = {}
    last = Mark(0, 0)
    for each in changelog:
        if isinstance(each, Kept):
            before = newest.get(each.stream)
            assert before is None or each.version >= before.version, f"{each.stream} goes back"
            newest[each.stream] = each
            continue
        covered = [event for event in log if event.offset < each.offset]
        for event in covered:
            kept = newest.get(event.stream)
            assert kept is not None, f"{event.stream} has an event before {each}"
            assert kept.version >= event.version, f"{event.stream} has a later event before {each}"
        assert each.position == len(covered)
        assert each.recorded_us == (covered[-1].recorded_us if covered else 0)
        assert each.offset >= last.offset
        last = each
    return newest, last.offset


def _records(log: list[Logged], newest: dict[Stream, Kept]) -> None:
    """What is kept is true of its stream."""
    known = dict.fromkeys(newest, False)
    for event in log:
        kept = newest.get(event.stream)
        if kept is not None and event.version <= kept.version:
            assert has_hash(kept.ids, event.id)
            known[event.stream] |= not event.id.startswith("~")
    for stream, kept in newest.items():
        assert kept.is_known >= known[stream]
        assert kept.snapshot is not None
        assert kept.snapshot.version == kept.version


def is_covered(group: Nodes, partitions: int) -> bool:
    """Whether marks cover all that is stored."""
    shards = [shard for node in group.running.values() for shard in node._shards.values() if shard.is_leading]
    publishers = [shard.publisher for shard in shards if shard.publisher is not None]
    return len(publishers) == partitions and all(each._mark is not None and not each.lag for each in publishers)


async def check_states(group: Nodes, newest: Mapping[Stream, Kept]) -> int:
    """Hold what is kept against what the streams' events fold to: values, and models of policies byte by byte; how many."""
    for stream, kept in newest.items():
        service = group.owner(stream)
        assert service is not None
        assert kept.snapshot is not None
        assert kept.catalogue == service.orgs.fingerprint()[: len(kept.catalogue)]
        events = await service.store.read(stream)
        folded = await finish_politely(service.folds.refold(stream, 1, events[: kept.version]))
        loaded = service.folds.load(stream, kept.snapshot)
        assert loaded.version == folded.version == kept.version
        assert not _difference(service.clock.now_us())(loaded, folded)
    return len(newest)
