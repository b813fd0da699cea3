from urllib.parse import quote

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.parameters import Page, flag, page_of, query_of, time_text, time_value
from gateway.problems import Problem
from kernel.times import DAY_US, SECOND_US, parse_rfc3339

NOW = parse_rfc3339("2026-11-21T10:00:00Z")


def query(text: str, *known: str) -> dict[str, str]:
    return query_of(make_mocked_request("GET", f"/?{text}"), known or ("at", "limit", "cursor"))


def code(problem: pytest.ExceptionInfo[Problem]) -> str:
    return problem.value.code


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-21T10:00:00Z", NOW),
        ("2026-11-21T11:00:00+01:00", NOW),
        ("2026-11-21T11:00:00 01:00", NOW),
        ("2026-11-21 10:00:00Z", NOW),
        ("2026-11-21t10:00:00.0000019z", NOW + 1),
        (str(NOW // SECOND_US), NOW),
        ("1.5", 1_500_000),
        ("-1", -SECOND_US),
        ("1e3", 1000 * SECOND_US),
    ],
)
def test_a_time_is_taken_in_both_forms(text: str, at: int) -> None:
    assert time_text(query(f"at={quote(text)}"), "at", NOW) == at
    if text[:1].isdigit() and "T" in text.upper():
        assert time_value(text, "at", NOW) == at


def test_an_unescaped_plus_reads_as_one() -> None:
    assert time_text(query("at=2026-11-21T11:00:00+01:00"), "at", NOW) == NOW


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-11-21", "2026-11-21T10:00:00", "nan", "inf", "1e400", "--1", "1_0", "2026-02-30T00:00:00Z"],
)
def test_a_malformed_time_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        time_text(query(f"at={text}"), "at", NOW)
    assert code(caught) == "invalid_time"


def test_a_time_may_be_400_days_ahead_and_no_more() -> None:
    edge = NOW + 400 * DAY_US
    assert time_value(edge // SECOND_US, "at", NOW) == edge
    with pytest.raises(Problem) as caught:
        time_value(edge // SECOND_US + 1, "at", NOW)
    assert code(caught) == "invalid_time"


@pytest.mark.parametrize("value", [float("nan"), 10**400, "x", -(10**300)])
def test_a_time_of_a_body_that_is_none_is_refused(value: float | str) -> None:
    with pytest.raises(Problem) as caught:
        time_value(value, "at", NOW)
    assert code(caught) == "invalid_time"


@pytest.mark.parametrize("text", ["att=1", "at=1&at=2", "limit=1&x"])
def test_an_unknown_or_repeated_parameter_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        query(text)
    assert code(caught) == "invalid_parameter"


def test_a_flag_is_true_or_false() -> None:
    assert flag({"atomic": "true"}, "atomic")
    assert not flag({"atomic": "false"}, "atomic")
    assert not flag({}, "atomic")
    with pytest.raises(Problem):
        flag({"atomic": "1"}, "atomic")


def page(text: str, *identity: str) -> Page:
    return page_of(query(text), *(identity or ("list",)), key=tuple[int, str])


def test_a_cursor_leads_to_the_key_it_was_made_of() -> None:
    cursor = page("limit=2").answer([1, 2], [7, "ü"])["cursor"]
    assert page(f"cursor={cursor}").after == [7, "ü"]
    assert page("limit=2").answer([1], None)["cursor"] is None


def test_the_default_limit_is_100() -> None:
    assert page("").limit == 100


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1.0", "", "٣", "99999999999999999999"])
def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    with pytest.raises(Problem) as caught:
        page(f"limit={quote(limit)}")
    assert code(caught) == "invalid_limit"


def test_a_foreign_or_broken_cursor_is_refused() -> None:
    foreign = page("", "other").answer([], [1, "a"])["cursor"]
    wrong_key = page_of(query(""), "list", key=tuple[str]).answer([], ["a"])["cursor"]
    for cursor in (foreign, wrong_key, "x", "", "é", "////", "W10"):
        with pytest.raises(Problem) as caught:
            page(f"cursor={quote(cursor)}")
        assert code(caught) == "invalid_cursor"
