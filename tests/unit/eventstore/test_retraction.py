from itertools import permutations

import msgspec

from eventstore.event import Event, NewEvent
from eventstore.retraction import effective, retracted_ids
from kernel.ids import Position
from tests.contract.store_events import T0, lead, new_event, retraction

ANN = lead("ann")


def stored(new: NewEvent, recorded_us: int = T0) -> Event:
    return Event(new.stream, 1, 1, Position(1), new.id, new.type, new.at_us, recorded_us, new.data)


def ids(events: list[Event]) -> list[str]:
    return [event.id for event in events]


def test_a_retraction_takes_out_its_event_and_itself_in_whatever_order_they_came() -> None:
    events = [stored(each) for each in (new_event(ANN, "e1"), new_event(ANN, "e2"), retraction(ANN, "r1", "e1"))]
    for order in permutations(events):
        assert retracted_ids(order) == {"e1"}
        assert ids(effective(order).events) == ["e2"]


def test_events_count_in_the_order_of_time_then_id() -> None:
    events = [stored(new_event(ANN, name, at_us=at)) for name, at in (("b", 2), ("Z", 2), ("a", 2), ("c", 1))]
    assert ids(effective(events).events) == ["c", "Z", "a", "b"]


def test_a_retraction_of_an_unknown_id_waits_for_it() -> None:
    waiting = stored(retraction(ANN, "r1", "later"))
    assert retracted_ids([waiting]) == {"later"}
    assert effective([waiting, stored(new_event(ANN, "later"))]).events == []


def test_a_retraction_that_names_a_retraction_is_inert_and_that_one_stands() -> None:
    events = [
        stored(retraction(ANN, "r1", "r2")),
        stored(retraction(ANN, "r2", "e1")),
        stored(new_event(ANN, "e1")),
        stored(new_event(ANN, "e2")),
    ]
    assert retracted_ids(events) == {"e1"}
    assert ids(effective(events).events) == ["e2"]


def test_a_retraction_that_names_itself_is_inert() -> None:
    assert retracted_ids([stored(retraction(ANN, "r1", "r1"))]) == frozenset()


def test_what_was_known_earlier_still_sees_the_event() -> None:
    events = [stored(new_event(ANN, "e1"), T0), stored(retraction(ANN, "r1", "e1"), T0 + 10)]
    assert ids(effective(events, known_at_us=T0 + 9).events) == ["e1"]
    assert ids(effective(events, known_at_us=T0 + 10).events) == []
    assert effective(events, known_at_us=T0 - 1) == ([], [])
    assert retracted_ids(events, known_at_us=T0 + 9) == frozenset()


def test_system_events_stand_apart_and_are_never_retracted() -> None:
    system = stored(new_event(ANN, "~ci:1"))
    forced = msgspec.structs.replace(stored(retraction(ANN, "r1", "e0")), data=b'{"event_id":"~ci:1"}')
    found = effective([stored(new_event(ANN, "e1")), system, forced])
    assert (ids(found.events), ids(found.system)) == (["e1"], ["~ci:1"])


def test_a_payload_that_is_decoded_already_is_used() -> None:
    event = stored(retraction(ANN, "r1", "e1"))
    event.payload = retraction(ANN, "r1", "e2").payload
    assert retracted_ids([event]) == {"e2"}
