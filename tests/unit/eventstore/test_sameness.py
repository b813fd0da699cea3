import msgspec
import pytest

from eventstore.event import Event, NewEvent
from eventstore.sameness import difference
from kernel.ids import Position
from tests.contract.store_events import T0, TYPES, lead, new_event

ANN = lead("ann")


def as_stored(new: NewEvent) -> Event:
    """The event as a store reads it back: bytes, no payload."""
    return Event(new.stream, 1, 1, Position(1), new.id, new.type, new.at_us, new.at_us, new.data, new.source)


def differs(kind: str, before: str, after: str) -> tuple[str, str, str] | None:
    stored = as_stored(new_event(ANN, "e1", kind, before.encode()))
    return difference(stored, new_event(ANN, "e1", kind, after.encode()), TYPES)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("purchase_completed", '{"amount":12.5}', '{"amount":"12.50"}'),
        ("purchase_completed", '{"amount":1,"order_id":"o"}', '{ "order_id":"o", "amount":1.0 }'),
        ("purchase_completed", '{"amount":1,"order_id":null}', '{"amount":1}'),
        ("purchase_completed", '{"amount":1,"x":1,"y":[1e2]}', '{"amount":1,"y":[100],"x":1.0}'),
        ("purchase_completed", '{"amount":1,"x":"\\u00e4"}', '{"amount":1,"x":"ä"}'),
        ("purchase_completed", '{"amount":1,"x":1e999}', '{"amount":1,"x":10e998}'),
        ("inbound_call", '{"duration_seconds":1}', '{"duration_seconds":1e0,"escalated":false}'),
        ("service_completed", '{"property":{"city":"A","x":[true]}}', '{"property":{"x":[true],"city":"A"}}'),
        ("service_completed", '{"property":null}', "{}"),
        ("signed_up", '{"grade_level":5}', '{"grade_level":5}'),
    ],
)
def test_the_same_content_in_another_form_is_the_same(kind: str, before: str, after: str) -> None:
    assert differs(kind, before, after) is None
    assert differs(kind, after, before) is None


@pytest.mark.parametrize(
    ("kind", "before", "after", "path", "expected", "actual"),
    [
        ("purchase_completed", '{"amount":12.5}', '{"amount":12.500001}', "data.amount", "12.5", "12.500001"),
        ("purchase_completed", '{"amount":1,"order_id":"o"}', '{"amount":1}', "data.order_id", '"o"', "nothing"),
        ("purchase_completed", '{"amount":1}', '{"amount":1,"x":null}', "data.x", "nothing", "null"),
        ("purchase_completed", '{"amount":1,"x":1}', '{"amount":1,"x":true}', "data.x", "1", "true"),
        ("purchase_completed", '{"amount":1,"x":[0]}', '{"amount":1,"x":[false]}', "data.x[0]", "0", "false"),
        ("purchase_completed", '{"amount":1,"x":[1]}', '{"amount":1,"x":[1,2]}', "data.x", "[1]", "[1,2]"),
        ("purchase_completed", '{"amount":1,"x":"1"}', '{"amount":1,"x":1}', "data.x", '"1"', "1"),
        ("purchase_completed", '{"amount":1,"x":{"a":1}}', '{"amount":1,"x":{"b":1}}', "data.x.a", "1", "nothing"),
        ("service_completed", '{"property":{"x":1}}', '{"property":{"x":2}}', "data.property.x", "1", "2"),
        ("service_completed", '{"property":{"city":"A"}}', '{"property":{"city":"B"}}', "data.property.city", '"A"', '"B"'),
        ("inbound_call", '{"duration_seconds":1}', '{"duration_seconds":1,"escalated":true}', "data.escalated", "nothing", "true"),
        ("signed_up", '{"grade_level":"college"}', '{"grade_level":5}', "data.grade_level", '"college"', "5"),
        ("profile_updated", '{"name":null}', "{}", "data.name", "null", "nothing"),
    ],
)  # fmt: skip
def test_other_content_is_told_by_the_first_path_that_differs(
    kind: str, before: str, after: str, path: str, expected: str, actual: str
) -> None:
    assert differs(kind, before, after) == (path, expected, actual)


def test_the_time_counts_only_if_the_later_event_carries_one() -> None:
    stored = as_stored(new_event(ANN, "e1", at_us=T0))
    assert difference(stored, new_event(ANN, "e1", at_us=T0 + 1, has_time=False), TYPES) is None
    found = difference(stored, new_event(ANN, "e1", at_us=T0 + 1), TYPES)
    assert found == ("time", "2023-11-14T22:13:20.000000Z", "2023-11-14T22:13:20.000001Z")


def test_the_source_is_not_compared() -> None:
    stored = as_stored(new_event(ANN, "e1", source="shop"))
    assert difference(stored, new_event(ANN, "e1", source="web"), TYPES) is None


def test_the_type_is_compared_first() -> None:
    stored = as_stored(new_event(ANN, "e1", "login", at_us=T0))
    assert difference(stored, new_event(ANN, "e1", "signed_up", at_us=T0 + 1), TYPES) == (
        "type",
        '"login"',
        '"signed_up"',
    )


def test_payloads_of_a_type_that_is_no_longer_declared_are_compared_as_json() -> None:
    def gone(data: bytes) -> NewEvent:
        return NewEvent(ANN, "e1", "gone", T0, data, None)

    assert difference(as_stored(gone(b'{"a":1,"b":2}')), gone(b'{"b":2.0,"a":1}'), TYPES) is None
    assert difference(as_stored(gone(b'{"a":1}')), gone(b'{"a":2}'), TYPES) == ("data.a", "1", "2")


def test_a_stored_payload_that_no_longer_fits_its_type_is_compared_as_json() -> None:
    later = new_event(ANN, "e1", "purchase_completed", b'{"amount":1}')
    stored = msgspec.structs.replace(as_stored(later), data=b'{"amount":-5}')
    assert difference(stored, later, TYPES) == ("data.amount", "-5", "1")
