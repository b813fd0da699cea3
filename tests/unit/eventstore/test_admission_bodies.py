"""The rules of a request's body."""

import msgspec
import pytest

from eventstore.bodies import Limits
from kernel.errors import MalformedBody, RequestTooLarge, UnsupportedMediaType
from tests.unit.eventstore.door import JSON, NDJSON, door, event


def encode(*events: object) -> bytes:
    return msgspec.json.encode(list(events))


def test_one_event_an_array_and_lines_give_the_same_events() -> None:
    sent = msgspec.json.encode(event())
    single = door().admit_body(sent, JSON)
    array = door().admit_body(b" [" + sent + b"]", JSON)
    lines = door().admit_body(sent + b"\n", NDJSON)
    assert single.events == array.events == lines.events
    assert (single.total, array.total, lines.total) == (1, 1, 1)
    assert (single.is_single, array.is_single, lines.is_single) == (True, False, False)


def test_an_empty_array_and_an_empty_ndjson_have_no_events() -> None:
    for body, kind in ((b"[]", JSON), (b" [ ] ", JSON), (b"", NDJSON), (b"\n \r\n", NDJSON)):
        admitted = door().admit_body(body, kind)
        assert (admitted.events, admitted.rejected, admitted.total) == ([], [], 0)


@pytest.mark.parametrize("kind", [JSON, NDJSON])
def test_in_a_batch_each_refusal_is_one_item_with_its_index(kind: str) -> None:
    sent = [event(), event(type="nothing"), event(id="e2"), event(lead="")]
    body = encode(*sent) if kind == JSON else b"\n".join(map(msgspec.json.encode, sent))
    admitted = door().admit_body(body, kind)
    assert [(index, new.id) for index, new in admitted.events] == [(0, "e1"), (2, "e2")]
    assert [(each.index, each.code, each.path) for each in admitted.rejected] == [
        (1, "event_unknown_type", "type"),
        (3, "event_invalid", "lead"),
    ]
    assert admitted.total == 4


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b'{"type":"login"', b"[1,", b'[{"a":1},]', b"{} {}", b"nul", b"\xef\xbb\xbf{}", b'{"a":NaN}',
        b"[" * 100_000, b'{"x":"\xff"}', b'[{"x":"\xff"}]', b'{"tiem":1,"x":', b'{"a":' * 3000, b"\x00",
    ],
)  # fmt: skip
def test_a_body_that_does_not_parse_is_refused_whole(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        door().admit_body(body, JSON)


def test_a_bad_line_is_one_item_and_blank_lines_are_not_counted() -> None:
    good = msgspec.json.encode(event())
    body = b"\n\n".join([good, b"{oops", b"  ", b"5", b'{"lead":"\xff"}', good.replace(b"e1", b"e2") + b"\r"])
    admitted = door().admit_body(body, NDJSON)
    assert [(index, new.id) for index, new in admitted.events] == [(0, "e1"), (4, "e2")]
    assert [(each.index, each.code) for each in admitted.rejected] == [
        (1, "malformed_json"),
        (2, "event_invalid"),
        (3, "malformed_json"),
    ]
    assert admitted.total == 5


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/json ; a=b",
    ],
)
def test_json_comes_with_or_without_parameters(kind: str) -> None:
    assert len(door().admit_body(encode(event()), kind).events) == 1


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/xml", "application/jsonx", "application/json; charset=latin-1"]
)
def test_another_media_type_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        door().admit_body(b"[]", kind)
    assert refused.value.actual == kind


def sized(size: int, event_id: str = "e1") -> bytes:
    empty = msgspec.json.encode(event(id=event_id, source=""))
    return msgspec.json.encode(event(id=event_id, source="x" * (size - len(empty))))


@pytest.mark.parametrize("kind", [JSON, NDJSON])
def test_an_event_over_its_size_is_one_item(kind: str) -> None:
    events = [sized(65_536), sized(65_537, "e2"), sized(100, "e3")]
    body = b"[" + b",".join(events) + b"]" if kind == JSON else b"\n".join(events)
    admitted = door().admit_body(body, kind)
    assert [new.id for _, new in admitted.events] == ["e1", "e3"]
    [refused] = admitted.rejected
    assert (refused.index, refused.code, refused.path) == (1, "event_too_large", "")
    assert (refused.expected, refused.actual) == ("at most 65536 bytes", "65537 bytes")


def test_a_single_event_over_its_size_is_refused_as_that() -> None:
    admitted = door().admit_body(sized(65_537), JSON)
    assert admitted.is_single
    assert [each.code for each in admitted.rejected] == ["event_too_large"]


def test_a_request_has_a_limit_of_events() -> None:
    limits = Limits(events=3)
    assert door(limits).admit_body(encode(*[event()] * 3), JSON).total == 3
    for body, kind in ((encode(*[event()] * 4), JSON), (b"{}\n" * 4, NDJSON)):
        with pytest.raises(RequestTooLarge) as refused:
            door(limits).admit_body(body, kind)
        assert (refused.value.unit, refused.value.limit, refused.value.actual) == ("events", 3, 4)


def test_a_request_has_a_limit_of_bytes() -> None:
    with pytest.raises(RequestTooLarge) as refused:
        door(Limits(body_bytes=100)).admit_body(b" " * 101, JSON)
    assert (refused.value.unit, refused.value.limit, refused.value.actual) == ("bytes", 100, 101)


def test_events_cut_out_of_another_body_need_no_lead() -> None:
    raws = [msgspec.Raw(b'{"type":"login"}'), msgspec.Raw(b'{"type":"nothing"}')]
    admitted = door().admit_many(raws, needs_entity=False)
    assert [(index, new.stream.id) for index, new in admitted.events] == [(0, "")]
    assert [(each.index, each.code) for each in admitted.rejected] == [(1, "event_unknown_type")]
    assert [each.path for each in door().admit_many(raws).rejected] == ["lead", "type"]
