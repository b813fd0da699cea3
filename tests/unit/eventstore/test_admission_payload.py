"""The rules of payloads, one test each."""

from typing import Any

import msgspec
import pytest

from eventstore.event import NewEvent
from tests.contract.store_events import TYPES
from tests.unit.eventstore.door import event, let_in, told, turned_away

AMOUNT = "a number or decimal string from 0 to 10^12 with at most 6 decimals"


def with_data(kind: str, data: bytes) -> bytes:
    return b'{"id":"e1","lead":"ann","type":"' + kind.encode() + b'","data":' + data + b"}"


def purchase(amount: bytes) -> bytes:
    return with_data("purchase_completed", b'{"amount":' + amount + b"}")


@pytest.mark.parametrize(
    ("kind", "data", "path", "expected", "actual"),
    [
        ("purchase_completed", "{}", "data.amount", AMOUNT, "nothing"),
        ("purchase_completed", '{"amount":null}', "data.amount", AMOUNT, "null"),
        ("purchase_completed", '{"amount":1,"order_id":5}', "data.order_id", "a string of 1 to 256 characters", "5"),
        ("purchase_completed", '{"amount":1,"order_id":""}', "data.order_id", "a string of 1 to 256 characters", '""'),
        ("message_received", '{"conversation_id":"c","sentiment":1.5}', "data.sentiment", "a number from 0 to 1", "1.5"),
        ("message_received", '{"conversation_id":"c","sentiment":"0"}', "data.sentiment", "a number from 0 to 1", '"0"'),
        ("message_received", '{"conversation_id":"c","sentiment":true}', "data.sentiment", "a number from 0 to 1", "true"),
        ("message_received", '{"conversation_id":"c","sentiment":1e999}', "data.sentiment", "a number from 0 to 1", "1e999"),
        ("signed_up", '{"tier":"gold"}', "data.tier", "one of budget, premium, standard", '"gold"'),
        ("inbound_call", '{"duration_seconds":-1}', "data.duration_seconds", "a number from 0 to 10^12", "-1"),
        ("inbound_call", '{"duration_seconds":1e13}', "data.duration_seconds", "a number from 0 to 10^12", "1e13"),
        ("inbound_call", '{"duration_seconds":1,"escalated":"no"}', "data.escalated", "true or false", '"no"'),
        ("inbound_call", '{"duration_seconds":1,"escalated":1}', "data.escalated", "true or false", "1"),
        ("service_completed", '{"services_count":-1}', "data.services_count", "a whole number from 0 to 10^12", "-1"),
        ("service_completed", '{"services_count":1.5}', "data.services_count", "a whole number from 0 to 10^12", "1.5"),
        ("service_completed", '{"property":{"city":5}}', "data.property.city", "a string", "5"),
        ("service_completed", '{"property":{"pest_issues":["a",2]}}', "data.property.pest_issues[1]", "a string", "2"),
        ("service_completed", '{"property":[]}', "data.property", "an object", "[]"),
        ("measured", '{"value":1000000000001}', "data.value", "a number of magnitude up to 10^12", "1000000000001.0"),
        ("measured", '{"value":1,"notes":{"a":-2e12}}', "data.notes.a", "a number of magnitude up to 10^12", "-2000000000000.0"),
        ("login", "[]", "data", "an object", "[]"),
        ("login", '"x"', "data", "an object", '"x"'),
    ],
)  # fmt: skip
def test_a_payload_of_the_wrong_form_is_refused_by_path(
    kind: str, data: str, path: str, expected: str, actual: str
) -> None:
    assert told(turned_away(with_data(kind, data.encode()))) == ("event_invalid", path, expected, actual)


def test_a_long_value_is_told_short() -> None:
    refused = turned_away(event(type="purchase_completed", data={"amount": "x" * 1000}))
    assert refused.actual == '"' + "x" * 78 + "…"


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        (b"12.5", 12_500_000),
        (b'"12.50"', 12_500_000),
        (b"0", 0),
        (b'"0.000001"', 1),
        (b"0.1", 100_000),
        (b"1e3", 1_000_000_000),
        (b"1000000000000", 10**18),
        (b"999999999999.999999", 999_999_999_999_999_999),
    ],
)
def test_an_amount_is_an_exact_decimal(amount: bytes, micros: int) -> None:
    assert let_in(purchase(amount)).payload.amount == micros


@pytest.mark.parametrize(
    "amount",
    [
        b"-1", b"-0.000001", b"1000000000000.000001", b"1e13", b"0.0000001", b'"NaN"', b'"Infinity"', b'"1,5"', b'""',
        b'" 1"', b"true", b"[]", b"{}", b"1e999", b"1e99999999999999999999", b'"1e999"', b"9" * 5000,
    ],
)  # fmt: skip
def test_no_other_amount_is_let_in(amount: bytes) -> None:
    refused = turned_away(purchase(amount))
    assert (refused.code, refused.path) == ("event_invalid", "data.amount")


def test_the_currency_is_the_orgs() -> None:
    assert let_in(event(type="purchase_completed", data={"amount": 1, "currency": "EUR"})).payload.currency == "EUR"
    assert let_in(event(type="purchase_completed", data={"amount": 1, "currency": None})).payload.currency is None
    refused = turned_away(event(type="purchase_completed", data={"amount": 1, "currency": "USD"}))
    assert told(refused) == ("event_invalid", "data.currency", "EUR", '"USD"')


def test_undeclared_fields_are_kept_and_ignored() -> None:
    data = b'{"amount":1,"extra":{"deep":[1e999,null]},"sentiment":"x"}'
    new = let_in(with_data("purchase_completed", data))
    assert new.data == data


def test_null_in_an_optional_field_is_absent() -> None:
    new = let_in(event(type="purchase_completed", data={"amount": 1, "order_id": None}))
    assert new.payload.order_id is None


def test_null_stands_for_a_default_and_what_is_stored_can_be_decoded_again() -> None:
    new = let_in(with_data("inbound_call", b'{"duration_seconds":12.50,"escalated":null,"x":0.10}'))
    assert new.payload.escalated is False
    assert new.data == b'{"duration_seconds":12.50,"x":0.10}'
    assert TYPES.decoders["inbound_call"].decode(new.data) == new.payload


def test_null_clears_where_the_type_says_so() -> None:
    assert let_in(event(type="profile_updated", data={"name": None})).payload.name is None
    assert let_in(event(type="profile_updated", data={})).payload.name is msgspec.UNSET


def test_an_empty_list_or_string_is_given() -> None:
    new = let_in(event(type="service_completed", data={"service_type": "", "property": {"pest_issues": []}}))
    assert (new.payload.service_type, new.payload.property.pest_issues) == ("", [])


@pytest.mark.parametrize("named", ["~ci:1", "~", "a\n", "\u200b"])
def test_a_retraction_names_an_id_that_may_come_from_outside(named: str) -> None:
    refused = turned_away(event(type="event_retracted", data={"event_id": named}))
    assert told(refused)[:3] == ("event_invalid", "data.event_id", "printable characters, not beginning with ~")


@pytest.mark.parametrize("named", ["", "x" * 129, 5, ...])
def test_a_retraction_names_one_id(named: Any) -> None:
    data = {} if named is ... else {"event_id": named}
    refused = turned_away(event(type="event_retracted", data=data))
    assert (refused.path, refused.expected) == ("data.event_id", "a string of 1 to 128 characters")


@pytest.mark.parametrize(("levels", "is_let_in"), [(63, True), (64, False), (900, False)])
def test_a_payload_nests_up_to_a_limit(levels: int, is_let_in: bool) -> None:
    admitted = with_data("login", b'{"x":' + b"[" * levels + b"]" * levels + b"}")
    if is_let_in:
        assert isinstance(let_in(admitted), NewEvent)
    else:
        assert told(turned_away(admitted))[:3] == ("event_invalid", "data", "at most 64 levels of nesting")


def test_brackets_in_strings_or_side_by_side_are_no_nesting() -> None:
    data = msgspec.json.encode({"text": "[{" * 200 + '"\\', "list": [[] for _ in range(200)]})
    assert let_in(with_data("login", data)).data == data


def test_brackets_without_end_are_refused() -> None:
    refused = turned_away(with_data("login", b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"))
    assert told(refused) == ("event_invalid", "", "at most 64 levels of nesting", "more")


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b'\\ud800"', b"\\udc00", b"\\ud800\\u0041"])
@pytest.mark.parametrize("where", [b'"order_id"', b'"extra"'])
def test_text_that_is_no_unicode_is_malformed(text: bytes, where: bytes) -> None:
    refused = turned_away(with_data("purchase_completed", b'{"amount":1,' + where + b':"' + text + b'"}'))
    assert refused.code == "malformed_json"
