"""Whatever comes in, the door answers: with events that can be read back, and refusals that say where."""

import json
import re
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.admission import Admitted, Refusal
from eventstore.bodies import Limits
from eventstore.event import Event
from eventstore.sameness import difference
from kernel.errors import AdmissionError
from kernel.ids import Position
from kernel.times import format_time
from tests.contract.store_events import TYPES
from tests.unit.eventstore.door import JSON, NDJSON, door

CODES = {"event_too_large", "event_from_future", "event_unknown_type", "event_invalid", "malformed_json"}
NAMES = [each.name for each in TYPES]
FIELDS = sorted({field.encode_name for each in TYPES for field in msgspec.structs.fields(each.payload)})

texts = st.text(max_size=12) | st.sampled_from(
    ["~a", "algebra", "EUR", "budget", "12.50", "NaN", "2020-01-01T00:00:00Z"]
)
numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 1, 0.5, 1e12, 1e12 + 1, 1700000000])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | texts, inner, max_size=3),
    max_leaves=6,
)
payloads = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=5)
likely = st.fixed_dictionaries(
    {"type": st.sampled_from(NAMES), "data": payloads},
    optional={
        "lead": texts,
        "subject": st.sampled_from(["algebra", "poetry"]),
        "id": texts,
        "time": texts | numbers,
        "source": texts,
    },
)
unlikely = st.dictionaries(st.sampled_from(["type", "lead", "subject", "id", "time", "data", "source", "tiem"]), values)


def check(admitted: Admitted) -> None:
    assert len(admitted.events) + len(admitted.rejected) == admitted.total
    for index, new in admitted.events:
        assert 0 <= index < admitted.total
        json.loads(new.data)
        assert TYPES.decoders[new.type].decode(new.data) == new.payload
        stored = Event(new.stream, 1, 1, Position(1), new.id, new.type, new.at_us, 0, new.data)
        assert difference(stored, new, TYPES) is None
    for refused in admitted.rejected:
        assert isinstance(refused, Refusal)
        assert refused.code in CODES
        assert refused.expected
        assert refused.actual
        msgspec.json.encode(refused).decode()


def admit(body: bytes, kind: str) -> Admitted | None:
    try:
        admitted = door(Limits(event_bytes=2000, events=50, body_bytes=10_000)).admit_body(body, kind)
    except AdmissionError:
        return None
    check(admitted)
    return admitted


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([JSON, NDJSON]))
def test_any_bytes_are_answered(body: bytes, kind: str) -> None:
    admit(body, kind)


@settings(max_examples=400, deadline=None)
@given(st.lists(likely | unlikely | values, max_size=3), st.sampled_from([JSON, NDJSON]))
def test_any_json_is_answered_event_by_event(sent: list[Any], kind: str) -> None:
    body = msgspec.json.encode(sent) if kind == JSON else b"\n".join(map(msgspec.json.encode, sent))
    admitted = admit(body, kind)
    assert admitted is not None
    assert admitted.total == len(sent)


@settings(max_examples=300, deadline=None)
@given(st.lists(likely, min_size=1, max_size=2), st.data())
def test_a_damaged_body_is_answered(sent: list[Any], data: st.DataObject) -> None:
    body = bytearray(msgspec.json.encode(sent))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b"\\", b'"', b"[", b"\\ud800"])
        )
        if not body:
            break
    admit(bytes(body), JSON)
    admit(bytes(body), NDJSON)


@settings(max_examples=300, deadline=None)
@given(likely)
def test_what_is_let_in_is_the_same_event_when_it_is_sent_again(sent: dict[str, Any]) -> None:
    admitted = admit(msgspec.json.encode(sent), JSON)
    assert admitted is not None
    for _, new in admitted.events:
        again: dict[str, Any] = {
            "id": new.id,
            "type": new.type,
            "time": format_time(new.at_us),
            "data": msgspec.Raw(new.data),
        }
        again |= {new.stream.kind: new.stream.id}
        [(_, second)] = door().admit_body(msgspec.json.encode(again), JSON).events
        assert (second.stream, second.id, second.at_us, second.payload) == (new.stream, new.id, new.at_us, new.payload)


@settings(max_examples=200, deadline=None)
@given(likely)
def test_a_refusals_path_leads_to_what_was_sent(sent: dict[str, Any]) -> None:
    admitted = admit(msgspec.json.encode(sent), JSON)
    assert admitted is not None
    for refused in admitted.rejected:
        part: Any = sent
        for name, index in re.findall(r"([a-z_]+)|\[(\d+)\]", refused.path):
            missing = isinstance(part, dict) and name not in part
            if missing:
                assert refused.actual == "nothing"
                break
            part = part[name] if name else part[int(index)]
