import base64
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from eventstore.admission import Admitted, Refusal
from eventstore.bodies import Limits
from eventstore.event import NewEvent
from gateway.compat.cloudevents import BATCH, STRUCTURED, admitting, event_id, in_terms, mode_of
from gateway.problems import Problem
from kernel.errors import MalformedBody, RequestTooLarge, UnsupportedMediaType
from kernel.steps import finish
from kernel.times import parse_rfc3339
from tests.contract.store_events import T0, TYPES
from tests.unit.eventstore.door import door, told

LIMITS = Limits(event_bytes=2048, events=5, body_bytes=8192)


def cloud_event(**attributes: Any) -> dict[str, Any]:
    """A login of ann's; an attribute given as ``...`` is left out."""
    base = {"specversion": "1.0", "id": "A-1", "source": "/shop", "type": "login", "subject": "ann"} | attributes
    return {name: value for name, value in base.items() if value is not ...}


def encode(value: str) -> str:
    """A header's value by the words of the binding, section 3.1.3.2."""
    return "".join(
        char if 0x21 <= ord(char) <= 0x7E and char not in '"%' else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in value
    )


def admitted(headers: CIMultiDict[str], body: bytes) -> Admitted:
    mode = mode_of(headers)
    assert mode is not None
    return finish(admitting(mode, headers, body, admission=door(LIMITS), types=TYPES, limits=LIMITS))


def structured(sent: dict[str, Any] | bytes, media_type: str = STRUCTURED) -> Admitted:
    body = sent if isinstance(sent, bytes) else msgspec.json.encode(sent)
    return admitted(CIMultiDict({"Content-Type": media_type}), body)


def batch(*sent: Any) -> Admitted:
    return admitted(CIMultiDict({"Content-Type": BATCH}), msgspec.json.encode(list(sent)))


def binary(data: bytes = b"", media_type: str | None = "application/json", **attributes: Any) -> Admitted:
    headers = CIMultiDict({f"ce-{name}": encode(value) for name, value in cloud_event(**attributes).items()})
    if media_type is not None:
        headers["Content-Type"] = media_type
    return admitted(headers, data)


def event_of(admitted: Admitted) -> NewEvent:
    assert admitted.rejected == []
    ((_, event),) = admitted.events
    return event


def refusal_of(admitted: Admitted) -> Refusal:
    assert admitted.events == []
    (refused,) = admitted.rejected
    return refused


# The mode of a request.


@pytest.mark.parametrize(
    ("headers", "mode"),
    [
        ({"Content-Type": "application/cloudevents+json"}, "structured"),
        ({"Content-Type": "Application/CloudEvents+JSON; charset=UTF-8"}, "structured"),
        ({"Content-Type": "application/cloudevents-batch+json"}, "batch"),
        ({"Content-Type": "application/cloudevents+json", "ce-id": "1"}, "structured"),
        ({"Content-Type": "application/json", "ce-id": "1"}, "binary"),
        ({"CE-SpecVersion": "1.0"}, "binary"),
        ({"Content-Type": "application/json"}, None),
        ({"Content-Type": "application/json", "ce-traceparent": "x"}, None),
        ({}, None),
    ],
)
def test_the_mode_is_told_by_the_content_type_else_by_the_headers(headers: dict[str, str], mode: str | None) -> None:
    assert mode_of(CIMultiDict(headers)) == mode


@pytest.mark.parametrize(
    "kind", ["application/cloudevents", "application/cloudevents+xml", "application/cloudevents-x"]
)
def test_another_format_of_cloudevents_is_no_media_type_of_ours(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="cloudevents-batch"):
        mode_of(CIMultiDict({"Content-Type": kind}))


# What an event becomes.


def test_an_event_becomes_one_of_ours() -> None:
    sent = cloud_event(
        time="2023-11-14T22:00:00+01:00", type="purchase_completed", data={"amount": "3.50", "note": [1]}
    )
    event = event_of(structured(sent))
    assert (event.stream, event.type, event.source) == (("default", "lead", "ann"), "purchase_completed", "/shop")
    assert event.at_us == parse_rfc3339("2023-11-14T21:00:00Z")
    assert event.has_time
    assert msgspec.json.decode(event.data) == {"amount": "3.50", "note": [1]}


def test_the_id_is_a_uuid_of_source_and_id() -> None:
    expected = str(uuid5(uuid5(NAMESPACE_URL, "/shop"), "A-1"))
    assert event_of(structured(cloud_event())).id == event_id("/shop", "A-1") == expected
    assert len({event_id(source, name) for source in ("a", "b", "ab") for name in ("c", "bc", "")}) == 9


def test_without_a_time_it_is_the_clocks() -> None:
    event = event_of(structured(cloud_event(time=None)))
    assert (event.at_us, event.has_time) == (T0, False)


def test_the_subject_of_a_market_type_is_the_markets() -> None:
    data = {"tutor_id": "t", "hours": 2}
    event = event_of(structured(cloud_event(type="tutor_available", subject="algebra", data=data)))
    assert event.stream == ("default", "subject", "algebra")


def test_extension_attributes_are_ignored() -> None:
    plain = event_of(structured(cloud_event()))
    assert (
        event_of(structured(cloud_event(partitionkey="x", sequence=5, nested={"a": [1]}, dataschema="urn:x"))) == plain
    )
    assert event_of(binary(partitionkey="x", lead="bob", subject="ann")) == plain


@pytest.mark.parametrize("data", [..., None, {}])
def test_no_data_is_an_empty_payload(data: Any) -> None:
    assert msgspec.json.decode(event_of(structured(cloud_event(data=data))).data) in ({}, None)


def test_data_in_base64_is_taken_where_it_is_said_to_be_json() -> None:
    encoded = base64.b64encode(b'{"amount": 1}').decode()
    sent = cloud_event(type="purchase_completed", data_base64=encoded, datacontenttype="application/vnd.x+json")
    assert event_of(structured(sent)).data == b'{"amount": 1}'


texts = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" ") | st.sampled_from('"%\\'), min_size=1)


@given(
    identifier=texts,
    source=texts,
    subject=texts.filter(lambda text: 0 < len(text) <= 40 and text.isprintable() and text not in (".", "..")),
    data=st.none() | st.dictionaries(texts, st.integers(0, 9) | texts, max_size=3),
)
@settings(max_examples=100, deadline=None, database=None)
def test_the_three_modes_say_the_same(identifier: str, source: str, subject: str, data: dict[str, Any] | None) -> None:
    attributes = {"id": identifier, "source": source, "subject": subject, "time": "2023-11-14T22:00:00Z"}
    sent = cloud_event(**attributes) | ({} if data is None else {"data": data})
    whole = event_of(structured(sent))
    assert event_of(batch(sent)) == whole
    assert event_of(binary(b"" if data is None else msgspec.json.encode(data), **attributes)) == whole


# Headers.


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%61nn", "ann"),
        ("100%", "100%"),
        ("%2541", "%41"),
        ('"with \\"quotes\\" and \\\\"', 'with "quotes" and \\'),
        ('"%C3%BC"', "ü"),
        ("ü", "ü"),
        ('a"b', 'a"b'),
    ],
)
def test_a_headers_value_is_unquoted_and_percent_decoded_once(header: str, subject: str) -> None:
    headers = CIMultiDict({f"ce-{name}": value for name, value in cloud_event(subject=header).items()})
    assert event_of(admitted(headers, b"")).stream.id == subject


@pytest.mark.parametrize("header", ["%C0%A0", "%FF", "%E2%82", "\udcff"])
def test_a_headers_value_that_is_no_utf_8_is_refused(header: str) -> None:
    headers = CIMultiDict({f"ce-{name}": value for name, value in cloud_event(subject=header).items()})
    refused = refusal_of(admitted(headers, b""))
    assert told(refused) == ("event_invalid", "ce-subject", "UTF-8, percent-encoded", "other bytes")


def test_an_attribute_comes_in_one_header() -> None:
    headers = CIMultiDict({f"ce-{name}": value for name, value in cloud_event().items()})
    headers.add("CE-ID", "A-2")
    assert told(refusal_of(admitted(headers, b""))) == ("event_invalid", "ce-id", "one header", "2")


@pytest.mark.parametrize("media_type", [None, "", "application/json; charset=utf-8", "text/json", "application/x+json"])
def test_binary_data_is_json_by_whatever_name_and_without_one(media_type: str | None) -> None:
    event = event_of(binary(b' {"amount": 1}\n', media_type, type="purchase_completed"))
    assert msgspec.json.decode(event.data) == {"amount": 1}


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "application/json; charset=latin1", "x"])
def test_binary_data_that_is_no_json_in_utf_8_is_another_media_type(media_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=media_type.split(";")[0]):
        binary(b"{}", media_type)


# Refusals.


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject"])
def test_a_missing_attribute_is_named_as_the_sender_knows_it(name: str) -> None:
    for absent in (..., None, ""):
        refused = refusal_of(structured(cloud_event(**{name: absent})))
        assert (refused.code in ("event_invalid", "event_unknown_type"), refused.path) == (True, name)
        assert refused.detail.startswith(f"{name}: expected ")
    refused = refusal_of(binary(**{name: ...}))
    assert (refused.code, refused.path, refused.actual) == ("event_invalid", f"ce-{name}", "nothing")


@pytest.mark.parametrize(
    ("attributes", "code", "path"),
    [
        ({"specversion": "0.3"}, "event_invalid", "specversion"),
        ({"specversion": 1.0}, "event_invalid", "specversion"),
        ({"id": 5}, "event_invalid", "id"),
        ({"subject": ["ann"]}, "event_invalid", "subject"),
        ({"subject": ".."}, "event_invalid", "subject"),
        ({"subject": "a\nb"}, "event_invalid", "subject"),
        ({"time": "yesterday"}, "event_invalid", "time"),
        ({"time": 1_700_000_000}, "event_invalid", "time"),
        ({"time": "2100-01-01T00:00:00Z"}, "event_from_future", "time"),
        ({"type": "com.example.unheard"}, "event_unknown_type", "type"),
        (
            {"type": "tutor_available", "subject": "ann", "data": {"tutor_id": "t", "hours": 1}},
            "event_invalid",
            "subject",
        ),
        ({"type": "purchase_completed", "data": {"amount": -1}}, "event_invalid", "data.amount"),
        ({"type": "purchase_completed"}, "event_invalid", "data.amount"),
        ({"data": [1]}, "event_invalid", "data"),
        ({"data": "{}"}, "event_invalid", "data"),
        ({"data": "<a/>", "datacontenttype": "application/xml"}, "event_invalid", "datacontenttype"),
        ({"data_base64": "e30="}, "event_invalid", "datacontenttype"),
        ({"data_base64": "e30=", "datacontenttype": "image/png"}, "event_invalid", "datacontenttype"),
        ({"data_base64": "e30", "datacontenttype": "text/json"}, "event_invalid", "data_base64"),
        ({"data_base64": "!", "datacontenttype": "text/json"}, "event_invalid", "data_base64"),
        ({"data_base64": "e30sImlkIjoxCg==", "datacontenttype": "text/json"}, "event_invalid", "data_base64"),
        ({"data_base64": "e30=", "data": {}}, "event_invalid", "data_base64"),
        ({"data": {"note": "x" * 3000}}, "event_too_large", ""),
    ],
)
def test_a_refusal_names_the_place_in_what_was_sent(attributes: dict[str, Any], code: str, path: str) -> None:
    refused = refusal_of(structured(cloud_event(**attributes)))
    assert (refused.code, refused.path) == (code, path)
    again = refusal_of(batch(cloud_event(**attributes)))
    assert again == refused


def test_what_json_in_base64_says_beside_the_data_is_not_heard() -> None:
    smuggled = base64.b64encode(b'{}, "lead": "bob"').decode()
    refused = refusal_of(structured(cloud_event(data_base64=smuggled, datacontenttype="application/json")))
    assert told(refused)[:3] == ("event_invalid", "data_base64", "base64 of JSON")


def test_a_binary_events_data_are_a_path_of_their_own() -> None:
    refused = refusal_of(binary(b'{"amount": -1}', type="purchase_completed"))
    assert (refused.code, refused.path) == ("event_invalid", "data.amount")
    assert refusal_of(binary(b'{"a":"' + b"x" * 3000 + b'"}')).code == "event_too_large"
    assert refusal_of(binary(time="yesterday")).path == "ce-time"


def test_a_batch_keeps_its_indexes_whoever_refuses() -> None:
    sent = [7, cloud_event(), cloud_event(id=...), cloud_event(type="purchase_completed"), cloud_event(id="B")]
    result = batch(*sent)
    assert [index for index, _ in result.events] == [1, 4]
    assert [(each.index, each.path) for each in result.rejected] == [(0, ""), (2, "id"), (3, "data.amount")]
    assert result.total == 5


def test_an_empty_batch_is_no_event() -> None:
    assert batch() == Admitted([], [], 0, False)


@pytest.mark.parametrize("body", [b"", b"{", b'{"specversion":"1.0"}x', b"\xff", b'{"id":"\xff"}', b"[" * 1000])
def test_a_body_that_does_not_parse_is_refused_whole(body: bytes) -> None:
    for media_type in (STRUCTURED, BATCH):
        with pytest.raises(MalformedBody):
            admitted(CIMultiDict({"Content-Type": media_type}), body)
    if body:
        with pytest.raises(MalformedBody):
            binary(body)


def test_a_batch_is_an_array_and_a_single_event_is_none() -> None:
    with pytest.raises(Problem, match="an array of CloudEvents"):
        admitted(CIMultiDict({"Content-Type": BATCH}), msgspec.json.encode(cloud_event()))
    refused = refusal_of(structured(msgspec.json.encode([cloud_event()])))
    assert told(refused)[:3] == ("event_invalid", "", "an object")


def test_a_charset_other_than_utf_8_is_another_media_type() -> None:
    with pytest.raises(UnsupportedMediaType, match="cloudevents"):
        structured(cloud_event(), f"{STRUCTURED}; charset=utf-16")


def test_more_events_than_a_request_may_carry_are_refused_whole() -> None:
    with pytest.raises(RequestTooLarge, match="events"):
        batch(*(cloud_event(id=str(number)) for number in range(6)))


def test_terms_said_twice_stay_the_same() -> None:
    refused = Refusal(0, "event_invalid", "lead", "a", "b", "lead: expected a, got b")
    once = in_terms("binary", refused)
    assert (once.path, once.detail) == ("ce-subject", "ce-subject: expected a, got b")
    assert in_terms("binary", once) == once
    assert in_terms("structured", refused).path == "subject"
    assert in_terms(None, refused) == refused


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=3)))
@settings(max_examples=100, deadline=None, database=None)
def test_whatever_stands_in_an_attribute_is_a_refusal_or_an_event(value: Any) -> None:
    for name in ("specversion", "id", "source", "type", "subject", "time", "data", "datacontenttype", "data_base64"):
        result = structured(cloud_event(**{name: value}))
        assert len(result.events) + len(result.rejected) == 1
