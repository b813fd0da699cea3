"""Messages of topics become events as they are posted; what cannot is refused with a reason, whatever it holds."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.admission import Refusal
from eventstore.bodies import Limits
from gateway.compat.cloudevents import event_id
from gateway.topics.messages import Message, MessageReader
from kernel.settings_topics import TopicInSettings
from tests.contract.store_events import TYPES


def reader(**settings: Any) -> MessageReader:
    return MessageReader(TopicInSettings(topic="shop", **settings), types=TYPES, limits=Limits(event_bytes=2000))


def message(value: object, **more: Any) -> Message:
    raw = value if isinstance(value, bytes) or value is None else msgspec.json.encode(value)
    fields = {"topic": "shop", "partition": 3, "offset": 41, "timestamp_ms": 1_700_000_000_500, "key": None, **more}
    return Message(value=raw, **fields)


def event(made: bytes | Refusal) -> dict[str, Any]:
    assert isinstance(made, bytes), made
    found: dict[str, Any] = msgspec.json.decode(made)
    return found


def refused(made: bytes | Refusal) -> str:
    assert isinstance(made, Refusal), made
    return made.detail


def test_an_event_that_says_all_passes_as_it_is() -> None:
    sent = {"id": "a", "lead": "42", "type": "login", "time": 5, "data": {"x": [1, None]}}
    assert event(reader().read(message(sent))) == sent


def test_without_an_id_the_place_is_the_id_and_without_a_time_the_messages_is_the_time() -> None:
    for sent in ({"lead": "42", "type": "login"}, {"lead": "42", "type": "login", "id": None, "time": None}):
        made = event(reader().read(message(sent)))
        assert (made["id"], made["time"]) == ("kafka:shop:3:41", 1_700_000_000.5)


def test_the_name_of_a_long_topic_is_shortened_to_a_valid_id() -> None:
    one, two = (event(reader().read(message({"type": "login"}, topic=name * 200)))["id"] for name in "ab")
    assert len(one) <= 128
    assert one != two


def test_a_mapping_names_fields_fields_in_objects_the_key_and_the_time() -> None:
    reading = reader(
        mapping={
            "kind": "type",
            "basket.total": "data.amount",
            "a.b.c": "data.channel",
            "@key": "lead",
            "@time": "time",
        },
        constants={"source": "shop", "data.currency": "EUR"},
    )
    sent = {"kind": "purchase_completed", "basket": {"total": 12.5, "more": 1}, "a": {"b": {"c": "web"}}, "junk": 1}
    assert event(reading.read(message(sent, key=b"42"))) == {
        "type": "purchase_completed",
        "lead": "42",
        "time": 1_700_000_000.5,
        "source": "shop",
        "data": {"amount": 12.5, "channel": "web", "currency": "EUR"},
        "id": "kafka:shop:3:41",
    }


def test_a_field_whose_name_has_a_dot_is_found_before_one_in_an_object() -> None:
    reading = reader(mapping={"a.b": "lead"}, constants={"type": "login"})
    assert event(reading.read(message({"a.b": "flat", "a": {"b": "deep"}})))["lead"] == "flat"


def test_without_a_key_or_a_field_the_event_lacks_it() -> None:
    reading = reader(mapping={"@key": "lead", "a.b": "data.x"}, constants={"type": "login"})
    for sent in ({}, {"a": 5}, {"a": {}}, {"a": [1]}):
        made = event(reading.read(message(sent)))
        assert "lead" not in made
        assert "data" not in made


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "expected a value, got none"),
        (b"", "a JSON object"),
        (b"\x00\x01", "a JSON object"),
        (b"[1]", "a JSON object"),
        (b'{"lead": ', "a JSON object"),
        (b'{"a": "' + b"x" * 5000 + b'"}', "at most 2000 bytes, got 5009 bytes"),
        (b"[" * 1500, "a JSON object"),
    ],
    ids=["none", "empty", "binary", "array", "torn", "large", "deep"],
)
def test_what_is_no_object_is_refused_with_a_reason(value: bytes | None, said: str) -> None:
    assert said in refused(reader().read(message(value)))


def test_a_key_that_is_no_text_is_refused() -> None:
    assert "a key in UTF-8" in refused(reader(mapping={"@key": "lead"}).read(message({}, key=b"\xff")))


def test_fields_that_stand_in_each_other_are_refused() -> None:
    sent = {"data.a": 1, "data.a.b": 2, "type": "login"}
    assert "stand in each other" in refused(reader(constants={"source": "x"}).read(message(sent)))


CLOUD = {"specversion": "1.0", "id": "A-1", "source": "/shop", "type": "login", "subject": "42"}


def test_a_structured_cloudevent_is_an_event() -> None:
    made = event(reader(format="cloudevents").read(message(CLOUD | {"data": {"x": 1}, "time": "2026-01-01T00:00:00Z"})))
    assert (made["id"], made["lead"], made["type"]) == (event_id("/shop", "A-1"), "42", "login")
    assert (made["data"], made["time"], made["source"]) == ({"x": 1}, "2026-01-01T00:00:00Z", "/shop")


def test_a_cloudevent_in_headers_is_the_same_event() -> None:
    headers = [(f"ce_{name}", value.encode()) for name, value in CLOUD.items()]
    made = event(
        reader(format="cloudevents").read(message({"x": 1}, headers=[*headers, ("content-type", b"application/json")]))
    )
    assert (made["id"], made["lead"], made["data"]) == (event_id("/shop", "A-1"), "42", {"x": 1})
    assert made["time"] == 1_700_000_000.5
    empty = event(reader(format="cloudevents").read(message(b"", headers=headers)))
    assert empty["data"] == {}


def test_what_is_no_cloudevent_is_refused_with_a_reason() -> None:
    reading = reader(format="cloudevents")
    headers = [(f"ce_{name}", value.encode()) for name, value in CLOUD.items()]
    assert "specversion" in refused(reading.read(message({"id": "x"})))
    assert "data in JSON" in refused(reading.read(message(b"<xml/>", headers=headers)))
    assert "headers in UTF-8" in refused(reading.read(message({}, headers=[("ce_id", b"\xff")])))
    wrong = [*headers, ("content-type", b"text/xml")]
    assert "datacontenttype" in refused(reading.read(message({}, headers=wrong)))


@given(
    value=st.one_of(
        st.none(),
        st.binary(max_size=60),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
            lambda inner: st.dictionaries(
                st.sampled_from(["a", "a.b", "data", "data.a", "data.a.b", "id", "time"]), inner
            ),
            max_leaves=8,
        ).map(msgspec.json.encode),
    ),
    key=st.one_of(st.none(), st.binary(max_size=5)),
    headers=st.lists(
        st.tuples(st.sampled_from(["ce_id", "ce_type", "ce_time", "content-type"]), st.binary(max_size=8))
    ),
    kind=st.sampled_from(["json", "cloudevents"]),
    is_mapped=st.booleans(),
)
def test_no_message_raises(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]], kind: str, is_mapped: bool
) -> None:
    mapping = {"a": "lead", "a.b": "data.a", "@key": "data.k"} if is_mapped and kind == "json" else {}
    made = reader(format=kind, mapping=mapping).read(message(value, key=key, headers=headers))
    assert isinstance(made, bytes | Refusal)
