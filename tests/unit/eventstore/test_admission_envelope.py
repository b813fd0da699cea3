"""The rules of the envelope, one test each: what is let in, and what a refusal says."""

from typing import Any

import msgspec
import pytest

from eventstore.event import Stream
from tests.contract.store_events import T0
from tests.unit.eventstore.door import door, event, let_in, told, turned_away

ID = "1 to 128 printable characters, not beginning with ~"
LEAD = "1 to 256 printable characters, not . or .."
TIME = "an RFC 3339 time with an offset, or a number of seconds since the epoch"
KNOWN = "no key but type, id, lead, subject, time, data, source"


def test_an_event_comes_out_as_it_was_sent() -> None:
    sent = b'{"id":"e1","lead":"a b","type":"purchase_completed","time":1.5,"data":{ "amount":"1.50" },"source":"shop"}'
    new = let_in(sent)
    assert (new.stream, new.id, new.type, new.at_us) == (
        Stream("default", "lead", "a b"),
        "e1",
        "purchase_completed",
        1_500_000,
    )
    assert (new.data, new.payload.amount, new.source, new.has_time) == (b'{ "amount":"1.50" }', 1_500_000, "shop", True)


def test_what_is_absent_gets_an_id_the_clocks_time_and_an_empty_payload() -> None:
    new = let_in(b'{"lead":"ann","type":"login"}')
    assert (new.at_us, new.has_time, new.data, new.source) == (T0, False, b"{}", None)
    assert len(new.id) == 36
    assert new.id[14] == "7"


def test_null_keys_of_the_envelope_are_absent() -> None:
    new = let_in(event(id=None, time=None, data=None, source=None, subject=None))
    assert (len(new.id), new.has_time, new.data) == (36, False, b"{}")


def test_a_misspelt_key_is_refused_by_name() -> None:
    assert told(turned_away(event(tiem=3))) == ("event_invalid", "tiem", KNOWN, "3")


def test_a_refusal_says_it_in_a_sentence_and_keeps_its_index() -> None:
    refused = turned_away(event(id=7), index=12)
    assert refused.index == 12
    assert refused.detail == f"id: expected {ID}, got 7"


@pytest.mark.parametrize("event_id", ["a", "x" * 128, "ä b", "日本", "a~", ".", "🦊" * 128])
def test_a_printable_id_is_let_in(event_id: str) -> None:
    assert let_in(event(id=event_id)).id == event_id


@pytest.mark.parametrize("event_id", ["", "x" * 129, "~a", "~", "a\n", "\u200b", "\u00a0", "a\x7f", "a\x00b"])
def test_any_other_id_is_refused(event_id: str) -> None:
    refused = turned_away(event(id=event_id))
    assert (refused.code, refused.path, refused.expected) == ("event_invalid", "id", ID)


def test_a_number_is_no_id() -> None:
    assert told(turned_away(event(id=5))) == ("event_invalid", "id", ID, "5")


@pytest.mark.parametrize("name", ["a", "x" * 256, "...", "a/b", "%2F", " ", "~a", "Ω"])
def test_a_printable_lead_is_let_in(name: str) -> None:
    assert let_in(event(lead=name)).stream == ("default", "lead", name)


@pytest.mark.parametrize("name", ["", "x" * 257, ".", "..", "a\tb", "\u2028", "a\u202eb"])
def test_any_other_lead_is_refused(name: str) -> None:
    refused = turned_away(event(lead=name))
    assert (refused.code, refused.path, refused.expected) == ("event_invalid", "lead", LEAD)


def test_an_event_is_about_exactly_one_entity() -> None:
    assert told(turned_away(event(lead=...))) == ("event_invalid", "lead", LEAD, "nothing")
    both = turned_away(event(subject="algebra"))
    assert told(both) == ("event_invalid", "subject", "either lead or subject", "both")


def test_a_market_event_is_about_one_of_the_orgs_subjects() -> None:
    market = event(lead=..., type="tutor_available", data={"tutor_id": "t", "hours": 2})
    assert let_in(market | {"subject": "algebra"}).stream == ("default", "subject", "algebra")
    for subject in ("poetry", "Algebra", "", "algebra\n"):
        refused = turned_away(market | {"subject": subject})
        assert (refused.code, refused.path, refused.expected) == (
            "event_invalid",
            "subject",
            "one of the org's subjects",
        )
    assert told(turned_away(market)) == ("event_invalid", "subject", "one of the org's subjects", "nothing")
    expected = "a subject instead: tutor_available is about one"
    assert told(turned_away(market | {"lead": "ann"})) == ("event_invalid", "lead", expected, "a lead")


def test_a_leads_event_is_not_about_a_subject() -> None:
    refused = turned_away(event(lead=..., subject="algebra"))
    assert told(refused) == ("event_invalid", "subject", "a lead instead: login is about one", "a subject")


def test_a_retraction_is_about_either() -> None:
    body = {"type": "event_retracted", "data": {"event_id": "e0"}}
    assert let_in(event(**body)).stream.kind == "lead"
    assert let_in(event(lead=..., subject="algebra", **body)).stream.kind == "subject"
    assert turned_away(event(lead=..., **body)).path == "lead"


def test_an_event_to_be_folded_only_needs_no_lead() -> None:
    assert let_in(event(lead=...), needs_entity=False).stream == ("default", "lead", "")
    assert let_in(event(), needs_entity=False).stream == ("default", "lead", "ann")
    market = event(lead=..., type="tutor_available", subject="algebra", data={"tutor_id": "t", "hours": 2})
    assert turned_away(market, needs_entity=False).path == "type"


def test_a_type_is_needed_and_must_be_known() -> None:
    assert told(turned_away(event(type=...))) == ("event_invalid", "type", "the name of an event type", "nothing")
    assert told(turned_away(event(type=None))) == ("event_invalid", "type", "the name of an event type", "null")
    unknown = turned_away(event(type="purchase"))
    assert told(unknown) == (
        "event_unknown_type",
        "type",
        "an event type that a pack of the org declares",
        '"purchase"',
    )


@pytest.mark.parametrize("name", ["campaign_ignored", "decision_made", "lead_erased", "dead_letter_retried"])
def test_the_systems_own_types_are_refused_from_outside(name: str) -> None:
    refused = turned_away(event(type=name, data={"campaign_id": "c"}))
    assert told(refused) == ("event_invalid", "type", "a type that is not the system's own", f'"{name}"')


@pytest.mark.parametrize(
    ("time", "at_us"),
    [
        ("2023-11-14T22:13:20Z", T0),
        ("2023-11-14T22:13:20.5Z", T0 + 500_000),
        ("2023-11-14T22:13:20.123456Z", T0 + 123_456),
        ("2023-11-14T22:13:20.1234569Z", T0 + 123_456),
        ("2023-11-14T22:13:20.00000000000000000009Z", T0),
        ("2023-11-14t22:13:20z", T0),
        ("2023-11-14T23:13:20+01:00", T0),
        ("2023-11-14T18:43:20-03:30", T0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        (1_700_000_000, T0),
        (1_700_000_000.25, T0 + 250_000),
        (0.0000005, 0),
        (0.0000015, 2),
        (-1.5, -1_500_000),
        (0, 0),
    ],
)
def test_a_time_is_kept_to_the_microsecond(time: str | float, at_us: int) -> None:
    new = let_in(event(time=time))
    assert (new.at_us, new.has_time) == (at_us, True)


@pytest.mark.parametrize(
    "time",
    [
        "2023-11-14T22:13:20",
        "2023-11-14",
        "2023-11-14T22:13:60Z",
        "2023-11-14T24:00:00Z",
        "2023-02-29T00:00:00Z",
        "2023-11-14T22:13Z",
        "20231114T221320Z",
        "2023-11-14T22:13:20,5Z",
        "2023-11-14T22:13:20.Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "yesterday",
        "",
        "1700000000",
        "２023-11-14T22:13:20Z",
        -62_135_596_801,
    ],
)
def test_no_other_time_is_let_in(time: str | float) -> None:
    refused = turned_away(event(time=time))
    assert (refused.code, refused.path) == ("event_invalid", "time")
    assert refused.expected.startswith(TIME)


@pytest.mark.parametrize(("time", "actual"), [(True, "true"), ([], "[]"), ({"s": 1}, '{"s":1}')])
def test_a_time_is_a_string_or_a_number(time: Any, actual: str) -> None:
    assert told(turned_away(event(time=time))) == ("event_invalid", "time", TIME, actual)


@pytest.mark.parametrize("time", [b"1e400", b"-1e400", b"9" * 400, b"9" * 5000, b"1e300", b"253402300800"])
def test_a_time_beyond_the_calendar_is_refused(time: bytes) -> None:
    refused = turned_away(b'{"lead":"a","type":"login","time":' + time + b"}")
    assert refused.path == "time"
    assert refused.code in ("event_invalid", "event_from_future")


@pytest.mark.parametrize("time", [b"NaN", b"Infinity", b"01", b"1."])
def test_what_is_no_json_number_makes_the_event_malformed(time: bytes) -> None:
    refused = turned_away(b'{"lead":"a","type":"login","time":' + time + b"}")
    assert refused.code == "malformed_json"


def test_a_time_ahead_of_the_clock_by_more_than_the_skew_is_refused() -> None:
    limit = T0 // 1_000_000 + 300
    assert let_in(event(time=limit)).at_us == limit * 1_000_000
    refused = turned_away(event(time=limit + 0.000001))
    assert told(refused)[:3] == ("event_from_future", "time", "at most 2023-11-14T22:18:20.000000Z")
    assert refused.actual == str(limit + 0.000001)


@pytest.mark.parametrize("source", [5, [], True])
def test_a_source_is_a_string(source: Any) -> None:
    refused = turned_away(event(source=source))
    assert (refused.code, refused.path, refused.expected) == ("event_invalid", "source", "a string")


@pytest.mark.parametrize("raw", [b"5", b'"x"', b"null", b"[1]", b"true"])
def test_what_is_no_object_is_no_event(raw: bytes) -> None:
    assert told(turned_away(raw)) == ("event_invalid", "", "an object", raw.decode())


def test_the_door_remembers_leads_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventstore.admission._LEADS_MAX", 2)
    one = door()
    streams = [one.admit(msgspec.json.encode(event(lead=f"l{n % 5}"))).stream.id for n in range(20)]  # type: ignore[union-attr]
    assert streams == [f"l{n % 5}" for n in range(20)]
    assert len(one._leads) <= 2
