"""One way through the log: what a sender mixed up is put in order, what came too late is named."""

import random
from collections.abc import Sequence

import msgspec
import pytest

from actors import scan as scanning
from actors.scan import Scan
from eventstore.event import Event, Stream
from kernel.clock import VirtualClock
from kernel.ids import Position
from kernel.settings import OrgSettings
from kernel.steps import finish
from kernel.times import DAY_US, HOUR_US, SECOND_US
from projections.catalogue import Catalogue
from projections.entity import FoldedEntity
from projections.refolding import FoldedEntities, refolded
from tests.simulation.toy import Fired, ToyFolds, content, note

T0 = 1_700_000_000 * SECOND_US
LEADS, PER_LEAD = 5, 40
REACH = 32

CATALOGUE = Catalogue("o", OrgSettings(packs=("commerce", "browsing")))


@pytest.fixture(autouse=True)
def _short_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_REACH", REACH)


def log(order: Sequence[tuple[int, int]]) -> list[Event]:
    """Events ``(lead, index)`` in an order of arrival, all recorded after the last of them happened."""
    versions = dict.fromkeys(range(LEADS), 0)
    events = []
    for place, (lead, index) in enumerate(order, start=1):
        versions[lead] += 1
        name, data = [
            ("interaction", {"action": "view"}),
            ("message_sent", {"conversation_id": f"c{index // 9}"}),
            ("message_received", {"conversation_id": f"c{index // 9}", "sentiment": 0.5}),
            ("campaign_received", {"campaign_id": f"k{index // 10}"}),
        ][index % 4]
        events.append(
            Event(
                Stream("o", "lead", f"l{lead}"),
                lead + 1,
                versions[lead],
                Position(place),
                f"e{index}",
                name,
                T0 + index * HOUR_US,
                T0 + 400 * DAY_US + place,
                msgspec.json.encode(data),
            )
        )
    return events


def in_order() -> list[tuple[int, int]]:
    return [(lead, index) for index in range(PER_LEAD) for lead in range(LEADS)]


def mixed_up(by: int) -> list[tuple[int, int]]:
    """Each event at most so many places from where it belongs."""
    chance = random.Random(7)
    places = sorted((place + chance.uniform(0, by), each) for place, each in enumerate(in_order()))
    return [each for _, each in places]


def scanned(events: list[Event], page: int = 50, max_entities: int = 100) -> Scan:
    scan = Scan(FoldedEntities(lambda _: CATALOGUE, VirtualClock(T0)), max_entities=max_entities)
    for start in range(0, len(events), page):
        finish(scan.take(events[start : start + page]))
    finish(scan.finish())
    return scan


def values(entity: object) -> str:
    assert isinstance(entity, FoldedEntity)
    entity.read(T0 + 401 * DAY_US)
    return repr(
        (entity.version, entity.position, entity.floor_us, entity.due_us(), entity.values(CATALOGUE.everything))
    )


@pytest.mark.parametrize("page", [REACH, 50, 1000])
@pytest.mark.parametrize("order", [in_order(), mixed_up(by=REACH - 2)])
def test_what_was_mixed_up_within_reach_is_folded_in_place(order: list[tuple[int, int]], page: int) -> None:
    events = log(order)
    scan = scanned(list(events), page)
    assert not scan.late
    assert len(scan.entities) == LEADS
    for number, entity in scan.entities.items():
        own = [event for event in events if event.number == number]
        assert values(entity) == values(refolded(own[0].stream, number, CATALOGUE, own))


def test_a_stream_whose_event_came_later_than_that_is_left_to_the_end() -> None:
    order = in_order()
    order.append(order.pop(5))  # the second event of the first lead, as the last one of all
    scan = scanned(log(order))
    assert scan.late == {1: Stream("o", "lead", "l0")}
    assert sorted(scan.entities) == [2, 3, 4, 5]


def test_streams_for_which_there_is_no_room_are_left_to_the_end() -> None:
    scan = scanned(log(in_order()), max_entities=2)
    assert len(scan.entities) == 2
    assert len(scan.late) == LEADS - 2
    assert not set(scan.entities) & set(scan.late)


def test_a_page_is_empty_when_it_is_folded() -> None:
    page = log(in_order())
    scan = Scan(FoldedEntities(lambda _: CATALOGUE, VirtualClock(T0)), max_entities=9)
    finish(scan.take(page))
    assert page == []


def test_a_stream_with_an_event_of_the_system_is_folded_by_version_from_then_on() -> None:
    taken: list[tuple[str, int]] = []

    class Watched(FoldedEntity):
        def fold(self, event: Event) -> bool:
            taken.append((self.stream.id, event.version))
            return super().fold(event)

    events = log(mixed_up(by=REACH - 2))
    place = next(i for i, event in enumerate(events) if event.number == 1 and event.version == 3)
    written = CATALOGUE.absences[0].absence
    events[place].id, events[place].type = written.event_id("l0", "k9"), written.event_type
    events[place].data = b'{"campaign_id":"k9"}'

    class Folds(FoldedEntities):
        def new(self, stream: Stream, number: int) -> FoldedEntity:
            return Watched(stream, number, CATALOGUE)

    scan = Scan(Folds(lambda _: CATALOGUE, VirtualClock(T0)), max_entities=9)
    finish(scan.take(events))
    finish(scan.finish())
    own = [version for name, version in taken if name == "l0"]
    others = [version for name, version in taken if name == "l1"]
    assert own == list(range(1, len(own) + 1))
    assert others != sorted(others)


def test_entities_that_cannot_take_events_by_time_get_them_by_version() -> None:
    sent = [note(0, f"e{k}", T0 + k) for k in range(20)]
    events = [
        Event(each.stream, 1, k + 1, Position(k + 1), each.id, each.type, each.at_us, T0 + 99, each.data)
        for k, each in enumerate(sent)
    ]
    events[10].id, events[10].type = "~fired:e1", "toy_fired"
    events[10].data = msgspec.json.encode(Fired("e1"))
    folds = ToyFolds()
    scan = Scan(folds, max_entities=9)
    for start in range(0, 20, 6):
        finish(scan.take(events[start : start + 6]))
    finish(scan.finish())
    assert not scan.late
    assert content(scan.entities[1]) == content(finish(folds.refold(sent[0].stream, 1, events)))
