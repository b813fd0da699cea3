"""Moving a service's log between a data directory and a Kafka topic, and comparing the two before anything is switched.

Each direction ends in the same comparison: every stream event by event, every lead and subject by its values, every policy
by its model's bytes, folded on either side from that side's own log. The topic's side is a copy that is made from the topic
alone, as any machine that serves it makes one. Until a move says that it is done, the old place is the one to serve.
"""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import msgspec

from actors.comparison import Compared, Comparison, Side
from actors.entity import Entity
from bandit.policy_entity import PolicyEntity
from eventstore.kafka import open_kafka
from eventstore.kafka_move import cut_off, send_log
from eventstore.sqlite import SqliteEventStore
from eventstore.store import EventStore
from gateway.app import PARTITIONS
from gateway.folds import service_folds
from gateway.kafka import kafka_options
from gateway.orgs import Orgs
from gateway.scoring.models import DIRECTORY as MODELS
from gateway.sqlite import sqlite_options
from kernel.clock import Clock
from kernel.errors import MoveDiffers, SettingsError
from kernel.ids import IdSource
from kernel.settings import Settings
from kernel.settings_sources import FILE_NAME
from projections.entity import FoldedEntity

#: The copy that is compared, where it is not to be kept: in the data directory.
_CHECKED = "moving"
#: What a directory holds beside its log and what is made from that.
_CARRIED = (FILE_NAME, "keys.json", "keyed", MODELS)

#: Told (what is done, how much of it, of how much; both None while nobody knows).
OnStage = Callable[[str, int | None, int | None], None]


class Moved(msgspec.Struct, frozen=True):
    """A move that is done.

    Attributes
    ----------
    events : of the log; ``written`` of them by this move, the others by an earlier one that was broken off.
    streams : compared event by event; ``folded`` entities were compared by what they fold to, policies among them.
    """

    events: int
    written: int
    streams: int
    folded: int
    policies: int


async def to_kafka(settings: Settings, directory: Path, into: Path | None, *, clock: Clock, on_stage: OnStage) -> Moved:
    """Write a directory's log to the topic of the settings, and compare. The directory stays as it is.

    Parameters
    ----------
    into : a new directory that is to serve the topic: it gets the copy that was compared, keys, models and settings.

    Raises
    ------
    MoveRefused, MoveDiffers, SettingsError, EventStoreError
    """
    if not (directory / "events.db").is_file():
        raise SettingsError("data-dir", str(directory), "expected a data directory that has a log")
    if into is not None and into.exists() and into.samefile(directory):  # noqa: ASYNC240 - nothing else runs
        raise SettingsError("into", str(into), "expected another directory than the one that is moved")
    if into is not None:
        _check_single(into, "into")
    checked = into or _fresh(directory)
    owner = IdSource(clock).uuid7()
    orgs = _orgs(settings, clock)
    old = await SqliteEventStore.open(
        directory, types=orgs.types(), clock=clock, options=sqlite_options(settings.store)
    )
    try:
        sent = await send_log(
            old,
            kafka_options(settings),
            owner=owner,
            clock=clock,
            on_progress=lambda done, total: on_stage("writing", done, total),
        )
        on_stage("following", None, None)
        async with _copy(settings, checked, orgs, owner, clock) as new:
            compared = await _compare(settings, old, new, clock, on_stage)
            policies = await _policies(old)
    finally:
        await old.close()
    if into is None:
        shutil.rmtree(checked)
    else:
        carry_over(directory, into)
    return Moved(sent.found + sent.written, sent.written, compared.streams, compared.folded, policies)


async def from_kafka(settings: Settings, directory: Path, *, clock: Clock, on_stage: OnStage) -> Moved:
    """Make a directory that is empty, or a copy of the topic, the log; whoever serves the topic is fenced.

    Raises
    ------
    MoveRefused, MoveDiffers, EventStoreError
    """
    _check_single(directory, "data-dir")
    owner = IdSource(clock).uuid7()
    orgs = _orgs(settings, clock)
    checked = _fresh(directory)
    on_stage("following", None, None)
    async with (
        _copy(settings, directory, orgs, owner, clock) as new,
        _copy(settings, checked, orgs, owner, clock) as old,
    ):
        compared = await _compare(settings, old, new, clock, on_stage)
        policies = await _policies(new)
        events = await new.last_position()
    await cut_off(directory, kafka_options(settings), owner=owner)
    shutil.rmtree(checked)
    return Moved(events, events, compared.streams, compared.folded, policies)


def _check_single(directory: Path, flag: str) -> None:
    if (directory / PARTITIONS).is_dir():
        raise SettingsError(
            flag, str(directory), "expected a directory of one process, or none yet; this one is of a node"
        )


def carry_over(directory: Path, into: Path) -> None:
    """Copy what a directory holds beside its log, where the other one has nothing of that name."""
    for name in _CARRIED:
        old, new = directory / name, into / name
        if new.exists():
            continue
        if old.is_dir():
            shutil.copytree(old, new)
        elif old.is_file():
            shutil.copy2(old, new)


def _fresh(directory: Path) -> Path:
    """Where a copy is made only to be compared."""
    checked = directory / _CHECKED
    shutil.rmtree(checked, ignore_errors=True)  # of a move that was broken off, perhaps to another topic
    return checked


@asynccontextmanager
async def _copy(settings: Settings, directory: Path, orgs: Orgs, owner: str, clock: Clock) -> AsyncIterator[EventStore]:
    """The topic's copy in a directory, up to its end."""
    store = await open_kafka(
        directory,
        kafka=kafka_options(settings),
        owner=owner,
        types=orgs.types(),
        clock=clock,
        options=sqlite_options(settings.store),
    )
    try:
        yield store
    finally:
        await store.close()


async def _compare(settings: Settings, old: EventStore, new: EventStore, clock: Clock, on_stage: OnStage) -> Compared:
    """Compare two logs, each side with catalogues of its own. Raises ``MoveDiffers``."""
    compared = await Comparison(
        _side(settings, old, clock),
        _side(settings, new, clock),
        differs=_difference(clock.now_us()),
        on_progress=lambda done, total: on_stage("comparing", done, total),
    ).run()
    if compared.differing:
        raise MoveDiffers(["/".join(stream) for stream in compared.differing], compared.streams)
    return compared


def _side(settings: Settings, store: EventStore, clock: Clock) -> Side:
    folds, _ = service_folds(settings, _orgs(settings, clock), clock)
    return Side(store, folds)


def _difference(now_us: int) -> Callable[[Entity, Entity], bool]:
    """Whether two entities say different things at an instant: values to the bit, models to the byte."""

    def differs(old: Entity, new: Entity) -> bool:
        if isinstance(old, PolicyEntity) or isinstance(new, PolicyEntity):
            return _model(old) != _model(new)
        mine, other = cast("FoldedEntity", old), cast("FoldedEntity", new)
        mine.read(now_us)
        other.read(now_us)
        everything = mine.entities.everything
        is_same = (
            repr(mine.values(everything)) == repr(other.values(everything))
            and mine.has_outside_event == other.has_outside_event
            and (mine.dead or {}) == (other.dead or {})
        )
        return not is_same

    return differs


def _model(entity: Entity) -> tuple[object, ...]:
    policy = cast("PolicyEntity", entity)
    learned = b"" if policy.learner is None else policy.model_bytes()
    return policy.model_name, learned, policy.not_learned, policy.current


async def _policies(store: EventStore) -> int:
    after = count = 0
    while page := await store.list_streams(after_number=after):
        count += sum(info.stream.kind == "policy" for info in page)
        after = page[-1].number
    return count


def _orgs(settings: Settings, clock: Clock) -> Orgs:
    return Orgs(settings, clock=clock, ids=IdSource(clock))
