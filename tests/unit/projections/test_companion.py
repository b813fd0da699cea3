"""Companions: made by their first event, folded by version, equal however the stream was folded."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.event import Event, NewEvent, Stream
from kernel.errors import SnapshotCorrupt
from kernel.ids import Position
from kernel.settings import OrgSettings
from kernel.steps import finish
from kernel.times import SECOND_US
from projections.catalogue import Catalogue
from projections.companion import Companion
from projections.entity import FoldedEntity
from projections.refolding import refolding

ANN = Stream("default", "lead", "ann")
CATALOGUE = Catalogue("default", OrgSettings(packs=["commerce"]))
T0 = 1_800_000_000 * SECOND_US


class Diary:
    """Remembers what it was told, in order; due at the time of the first event that is not written."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.done: list[str] = []

    def fold(self, event: Event) -> None:
        self.told.append(f"{event.version} {event.id}")

    def due_us(self) -> int | None:
        return None if self.done else T0

    def effects(self, now_us: int) -> list[NewEvent]:
        if self.done or now_us < T0:
            return []
        policy = Stream("default", "policy", "p")
        return [NewEvent(policy, "~rs:1", "reward_settled", T0, b"{}", None)]

    def written(self, events: Sequence[NewEvent]) -> None:
        self.done += [event.id for event in events]

    def dump(self) -> Any:
        return [self.told, self.done]


class Diaries:
    name = "diary"
    starters = frozenset({"decision_made"})

    def new(self, stream: Stream, waiting: Sequence[Event], awaited: Iterable[str]) -> Companion:
        return Diary([f"waiting {event.id}" for event in waiting] + [f"awaited {each}" for each in sorted(awaited)])

    def load(self, stream: Stream, dumped: Any) -> Companion:
        diary = Diary(list(dumped[0]))
        diary.done = list(dumped[1])
        return diary


KINDS = (Diaries(),)


def log_of(events: Sequence[tuple[str, str, int, dict[str, Any]]]) -> list[Event]:
    return [
        Event(ANN, 7, n, Position(n), id, type, T0 + at * SECOND_US, T0 + n * SECOND_US, msgspec.json.encode(data))
        for n, (id, type, at, data) in enumerate(events, 1)
    ]


def told(entity: FoldedEntity) -> list[str] | None:
    diary = entity.companion("diary")
    return diary.told if isinstance(diary, Diary) else None


def folded(log: Sequence[Event], cut: int | None = None) -> FoldedEntity:
    """Live: in place where that works, else refolded; through a snapshot after ``cut`` events."""
    entity = FoldedEntity(ANN, 7, CATALOGUE, KINDS)
    for place, event in enumerate(log, 1):
        if not entity.fold(event):
            entity = finish(refolding(ANN, 7, CATALOGUE, log[:place], kinds=KINDS))
        if place == cut:
            entity = FoldedEntity.load(ANN, entity.dump(), CATALOGUE, KINDS)
        entity.read(event.recorded_us)
    return entity


def test_a_stream_without_a_starter_has_no_companion() -> None:
    entity = folded(log_of([("1", "purchase_completed", 0, {"amount": 1}), ("~pm:1", "prediction_made", 0, {})]))
    assert entity.companions is None
    assert entity.companion("diary") is None


def test_a_companion_gets_every_event_from_its_first_one_on_by_version() -> None:
    log = log_of(
        [
            ("1", "purchase_completed", 0, {"amount": 1}),
            ("~dm:1", "decision_made", 2, {}),
            ("2", "purchase_completed", -100, {"amount": 1}),
            ("~dm:2", "decision_made", 4, {}),
        ]
    )
    assert told(folded(log)) == ["2 ~dm:1", "3 2", "4 ~dm:2"]


def test_it_is_told_what_still_waits_and_what_retractions_await() -> None:
    log = log_of(
        [
            ("1", "purchase_completed", 200, {"amount": 1}),
            ("2", "purchase_completed", 2, {"amount": 1}),
            ("3", "event_retracted", 0, {"event_id": "later"}),
            ("~dm:1", "decision_made", 4, {}),
            ("later", "purchase_completed", 4, {"amount": 1}),
        ]
    )
    assert told(folded(log)) == ["waiting 1", "awaited later", "4 ~dm:1", "5 later"]


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("purchase_completed"), st.integers(-50, 90), st.just({"amount": 1})),
        st.tuples(st.just("decision_made"), st.integers(0, 20), st.just({})),
        st.tuples(
            st.just("event_retracted"), st.just(0), st.fixed_dictionaries({"event_id": st.sampled_from("abcdefgh")})
        ),
    ),
    max_size=10,
)


@given(EVENTS, st.permutations("abcdefghij"), st.integers(0, 10))
def test_live_recovered_and_refolded_companions_are_equal(
    events: list[tuple[str, int, dict[str, Any]]], names: list[str], cut: int
) -> None:
    log = log_of(
        [
            (f"~{name}" if type == "decision_made" else name, type, at, data)
            for name, (type, at, data) in zip(names, events, strict=False)
        ]
    )
    entities = [folded(log), folded(log, cut), finish(refolding(ANN, 7, CATALOGUE, log, kinds=KINDS))]
    assert told(entities[0]) == told(entities[1]) == told(entities[2])


def test_effects_and_deadlines_join_the_entitys_until_they_are_written() -> None:
    entity = folded(log_of([("~dm:1", "decision_made", 0, {})]))
    assert entity.due_us() == T0
    assert entity.effects(T0 - 1) == []
    effects = entity.effects(T0)
    assert [event.stream.kind for event in effects] == ["policy"]
    entity.written(effects)
    entity = FoldedEntity.load(ANN, entity.dump(), CATALOGUE, KINDS)
    assert (entity.due_us(), entity.effects(T0)) == (None, [])


def test_a_snapshot_with_a_companion_that_nobody_knows_is_folded_anew() -> None:
    class Others(Diaries):
        name = "others"

    entity = folded(log_of([("~dm:1", "decision_made", 0, {})]))
    with pytest.raises(SnapshotCorrupt):
        FoldedEntity.load(ANN, entity.dump(), CATALOGUE, (Others(),))
