"""Explanations, histories and prompt blocks over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gateway.app import open_service
from kernel.clock import VirtualClock
from kernel.errors import SettingsError
from kernel.settings_sources import load_settings
from kernel.times import DAY_US, HOUR_US, SECOND_US, format_time
from tests.integration.process import command
from tests.integration.service import NOW, Door, purchase, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


def event(lead: str, name: str, kind: str, ago_us: int, **data: Any) -> dict[str, Any]:
    return {"lead": lead, "id": name, "type": kind, "time": format_time(NOW - ago_us), "data": data}


# Explain.


async def test_an_explanation_is_written_to_the_letter(door: Door) -> None:
    await door.events(purchase("42", "1", 10, NOW - 100 * DAY_US), purchase("42", "2", 20, NOW - 3 * DAY_US))
    status, body = await door.get("leads/42/explain/rfm:frequency_purchases_90d")
    assert status == 200
    assert list(body) == [
        *("feature", "as_of", "value", "sentence", "definition", "window"),
        *("events", "event_count", "next_change", "next_value"),
    ]
    assert body == {
        "feature": "rfm:frequency_purchases_90d",
        "as_of": "2026-11-21T10:00:00.000000Z",
        "value": 1,
        "sentence": "Purchases in 90 days: 1 purchase, from one event between 2026-08-23 10:00 UTC and "
        "2026-11-21 10:00 UTC, the purchase_completed of 2026-11-18 10:00 UTC.",
        "definition": "count(purchase_completed) over 90d",
        "window": {"from": "2026-08-23T10:00:00.000000Z", "to": "2026-11-21T10:00:00.000000Z"},
        "events": [{"id": "2", "type": "purchase_completed", "time": "2026-11-18T10:00:00.000000Z"}],
        "event_count": 1,
        "next_change": "2027-02-16T10:00:00.000000Z",
        "next_value": 0,
    }


async def test_every_feature_of_a_lead_and_of_its_market_is_explained_as_it_is_served(door: Door) -> None:
    await door.events(
        purchase("a", "1", 10, NOW - 3 * DAY_US, data={"amount": 5, "conversation_id": "c", "channel": "web"}),
        event("a", "2", "session_completed", DAY_US, session_id="s", tutor_id="t", duration_minutes=30),
        event("a", "3", "service_completed", DAY_US, satisfaction_score=4),
        event("a", "4", "interaction", HOUR_US, action="view"),
        event("a", "5", "profile_updated", HOUR_US, email="a@b.edu"),
        {"subject": "algebra", "type": "tutor_available", "data": {"tutor_id": "t", "hours": 2}},
    )
    served = await door.values("a", "?views=*")
    for reference, value in served.items():
        status, body = await door.get(f"leads/a/explain/{reference}")
        assert status == 200, reference
        assert (body["feature"], body["value"]) == (reference, value)
    _, body = await door.get("leads/a/explain/market:tutor_count_algebra")
    assert [each["type"] for each in body["events"]] == ["tutor_available"]
    assert "in algebra" in body["sentence"]


async def test_the_newest_hundred_events_are_named_and_all_if_asked(door: Door) -> None:
    await door.events(*(event("a", f"e{n:03d}", "login", n * HOUR_US) for n in range(150)))
    _, body = await door.get("leads/a/explain/temporal:preferred_hour_of_day")
    assert (len(body["events"]), body["event_count"]) == (100, 150)
    assert body["events"][0]["id"] == "e000"
    _, body = await door.get("leads/a/explain/temporal:preferred_hour_of_day?all=true")
    assert [each["id"] for each in body["events"]] == [f"e{n:03d}" for n in range(150)]


async def test_the_events_named_posted_to_another_lead_give_it_the_value(door: Door) -> None:
    posted = [
        event("a", "1", "campaign_received", 20 * DAY_US, campaign_id="x"),
        event("a", "2", "campaign_received", 19 * DAY_US, campaign_id="y"),
        event("a", "3", "campaign_opened", 18 * DAY_US, campaign_id="y"),
        event("a", "4", "campaign_clicked", 1 * DAY_US, campaign_id="z"),
        event("a", "5", "login", 1 * DAY_US),
    ]
    await door.events(*posted)
    for reference in ("campaign:campaign_ignored", "campaign:campaign_open_rate", "rfm:recency_days"):
        _, body = await door.get(f"leads/a/explain/{reference}?all=true")
        named = {each["id"] for each in body["events"]}
        lead = reference.partition(":")[2]
        await door.events(*({**each, "lead": lead} for each in posted if each["id"] in named))
        assert (await door.values(lead, f"?features={reference}"))[reference] == body["value"]


async def test_another_time_and_what_was_known_then_are_explained(door: Door) -> None:
    await door.events(purchase("a", "1", 10, NOW - 3 * DAY_US))
    door.clock.advance(3600)
    await door.events(purchase("a", "2", 20, NOW - 2 * DAY_US))
    path = "leads/a/explain/rfm:monetary_total"
    _, body = await door.get(f"{path}?at={format_time(NOW - 2 * DAY_US - 1)}")
    assert (body["value"], body["next_change"], body["next_value"]) == (10, format_time(NOW - 2 * DAY_US), 30)
    _, body = await door.get(f"{path}?known_at={format_time(NOW)}")
    assert (body["value"], [each["id"] for each in body["events"]], body["next_change"]) == (10, ["1"], None)
    _, body = await door.get(f"leads/a/explain/rfm:recency_days?at={format_time(NOW + 30 * DAY_US)}")
    assert (body["value"], body["next_value"]) == (32, 33)
    assert (await door.get(f"{path}?at=0"))[1]["value"] == 0


async def test_retracted_events_are_behind_nothing(door: Door) -> None:
    await door.events(purchase("a", "1", 10, NOW - DAY_US), purchase("a", "2", 20, NOW - DAY_US))
    await door.events(event("a", "r", "event_retracted", 0, event_id="2"))
    _, body = await door.get("leads/a/explain/rfm:monetary_total")
    assert (body["value"], [each["id"] for each in body["events"]]) == (10, ["1"])


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("leads/a/explain/rfm:nothing", 404, "feature_not_found"),
        ("leads/a/explain/market:tutor_count_alchemy", 404, "feature_not_found"),
        ("leads/a/explain/market:tutor_count", 404, "feature_not_found"),
        ("leads/nobody/explain/rfm:recency_days", 404, "lead_not_found"),
        ("leads/nobody/explain/market:tutor_count_algebra", 404, "lead_not_found"),
        ("leads/a/explain/rfm:recency_days?at=yesterday", 422, "invalid_time"),
        ("leads/a/explain/rfm:recency_days?all=maybe", 422, "invalid_parameter"),
        ("leads/a/explain/rfm:recency_days?view=x", 422, "invalid_parameter"),
        ("leads/nobody/features/history", 404, "lead_not_found"),
        ("leads/a/features/history?features=rfm:nothing", 422, "unknown_feature"),
        ("leads/a/features/history?views=nothing", 422, "unknown_feature"),
        ("leads/a/features/history?from=yesterday", 422, "invalid_time"),
        ("leads/a/features/history?to=2029-01-01T00:00:00Z", 422, "invalid_time"),
        ("leads/a/features/history?from=2026-11-21T09:00:00Z&to=2026-11-21T08:00:00Z", 422, "invalid_parameter"),
        ("leads/a/features/history?step=1", 422, "invalid_parameter"),
        ("leads/a/features/history?from=0001-01-01T00:00:00Z&step=0.000001", 422, "invalid_parameter"),
        *(
            (f"leads/a/features/history?step={quote(step)}", 422, "invalid_parameter")
            for step in ("0", "-1", "x", "nan", "inf", "1e999", "0.0000001", "1_0", "")
        ),
        *(
            (f"leads/a/prompt?max_chars={chars}", 422, "invalid_parameter")
            for chars in ("-1", "x", "1000000", "1.5", "")
        ),
        ("leads/a/prompt?maxchars=1", 422, "invalid_parameter"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_code(door: Door, path: str, status: int, code: str) -> None:
    await door.events(purchase("a", "1"))
    answered, body = await door.get(path)
    assert (answered, body["code"]) == (status, code)


# History.


async def test_a_history_is_rows_of_values_in_the_order_of_names(door: Door) -> None:
    await door.events(purchase("a", "1", 10, NOW - 2 * DAY_US), purchase("a", "2", 20, NOW - DAY_US))
    span = f"from={format_time(NOW - 3 * DAY_US)}&to={format_time(NOW)}"
    asked = "features=rfm:monetary_total,rfm:recency_days"
    status, body = await door.get(f"leads/a/features/history?{asked}&{span}&step=86400")
    assert status == 200
    assert body == {
        "names": ["rfm:monetary_total", "rfm:recency_days"],
        "items": [
            {"at": "2026-11-18T10:00:00.000000Z", "values": [0.0, None]},
            {"at": "2026-11-19T10:00:00.000000Z", "values": [10.0, 0]},
            {"at": "2026-11-20T10:00:00.000000Z", "values": [30.0, 0]},
            {"at": "2026-11-21T10:00:00.000000Z", "values": [30.0, 1]},
        ],
    }


async def test_every_row_is_what_a_read_at_its_time_answers(door: Door) -> None:
    await door.events(*(purchase("a", str(n), n, NOW - n * 11 * HOUR_US) for n in range(20)))
    await door.events(event("a", "r", "event_retracted", 0, event_id="3"))
    span = f"from={format_time(NOW - 10 * DAY_US)}&to={format_time(NOW + 2 * DAY_US)}&step=43210.5"
    _, body = await door.get(f"leads/a/features/history?{span}")
    assert len(body["items"]) == 24
    for item in body["items"]:
        values = await door.values("a", f"?at={item['at']}")
        assert dict(zip(body["names"], item["values"], strict=True)) == values


async def test_a_history_without_bounds_is_the_last_thirty_days_by_day(door: Door) -> None:
    await door.events(purchase("a", "1"))
    _, body = await door.get("leads/a/features/history?views=rfm")
    assert [item["at"] for item in body["items"]] == [format_time(NOW - n * DAY_US) for n in range(30, -1, -1)]


async def test_ten_thousand_steps_are_taken_and_one_more_is_not(door: Door) -> None:
    await door.events(purchase("a", "1"))
    path = "leads/a/features/history?features=rfm:recency_days&step=1&to=" + format_time(NOW)
    status, body = await door.get(f"{path}&from={format_time(NOW - 9999 * SECOND_US)}")
    assert (status, len(body["items"])) == (200, 10_000)
    status, body = await door.get(f"{path}&from={format_time(NOW - 10_000 * SECOND_US)}")
    assert status == 422
    assert body["errors"][0]["path"] == "step"


async def test_a_history_as_it_was_known_then_lacks_what_came_late(door: Door) -> None:
    await door.events(purchase("a", "1", 10, NOW - 2 * DAY_US))
    door.clock.advance(3600)
    await door.events(purchase("a", "2", 20, NOW - DAY_US))
    path = f"leads/a/features/history?features=rfm:monetary_total&to={format_time(NOW)}&from={format_time(NOW)}"
    assert (await door.get(path))[1]["items"][0]["values"] == [30]
    assert (await door.get(f"{path}&known_at={format_time(NOW)}"))[1]["items"][0]["values"] == [10]


# Prompt.

SERVICE = {
    "satisfaction_score": 4.5,
    "services_count": 8,
    "property": {"city": "Austin", "state": "TX", "property_type": "single_family_home", "square_feet": 2500},
}
LINES = [
    "Average satisfaction: 4.5 of 5",
    "Services completed: 8",
    "Lifetime value: HIGH",
    "Property: single family home, Austin, TX, 2500 sq ft",
    "First service: 2026-11-20",
]


async def prompt(door: Door, path: str, accept: str = "*/*") -> tuple[int, str, str]:
    response = await door.raw("GET", path, headers={"Accept": accept})
    return response.status, response.content_type, await response.text()


async def test_a_block_is_plain_text_of_known_facts(door: Door) -> None:
    await door.events(event("a", "1", "service_completed", DAY_US, **SERVICE))
    assert await prompt(door, "leads/a/prompt") == (200, "text/plain", "\n".join(LINES))
    assert (await prompt(door, "leads/a/prompt?max_chars=60"))[2] == "\n".join(LINES[:2])
    assert (await prompt(door, "leads/a/prompt?max_chars=0"))[2] == ""
    assert (await prompt(door, f"leads/a/prompt?at={format_time(NOW - 2 * DAY_US)}"))[2] == ""


async def test_a_block_is_json_for_who_accepts_it(door: Door) -> None:
    await door.events(event("a", "1", "service_completed", DAY_US, **SERVICE))
    status, body = await door.get("leads/a/prompt?max_chars=35", headers={"Accept": "application/json"})
    assert status == 200
    assert body == {
        "lead": "a",
        "as_of": "2026-11-21T10:00:00.000000Z",
        "text": LINES[0],
        "facts": [
            {"label": "Average satisfaction", "value": "4.5 of 5", "features": ["customer:satisfaction_avg"]},
        ],
        "omitted": 4,
    }
    for accept in ("application/json, text/plain, */*", "APPLICATION/JSON; q=0.9"):
        assert (await prompt(door, "leads/a/prompt", accept))[1] == "application/json"
    for accept in ("text/plain, application/json;q=0.1", "application/json;q=0", "text/html", "application/json;q=x"):
        assert (await prompt(door, "leads/a/prompt", accept))[1] == "text/plain"


@pytest.mark.parametrize("lead", ["nobody", "a/b", "ü", "%", "x" * 256])
async def test_an_unknown_lead_has_an_empty_block(door: Door, lead: str) -> None:
    path = f"leads/{quote(lead, safe='')}/prompt"
    assert await prompt(door, path) == (200, "text/plain", "")
    status, body = await door.get(path, headers={"Accept": "application/json"})
    assert (status, body["lead"], body["text"], body["facts"], body["omitted"]) == (200, lead, "", [], 0)


async def test_whatever_breaks_inside_the_caller_has_an_empty_block_and_the_operator_a_count(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await door.events(event("a", "1", "service_completed", DAY_US, **SERVICE))
    monkeypatch.setattr(door.service.store, "read", None)
    assert await prompt(door, "leads/a/prompt") == (200, "text/plain", "")
    assert door.service.prompt_failures == 1
    metrics = await (await door.raw("GET", "/metrics")).text()
    assert "leadwheel_prompt_failures_total 1.0" in metrics


async def test_a_template_of_the_settings_takes_the_place_of_the_default(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text(
        "{% for fact in facts[:2] %}* {{ fact.label }} = {{ fact.value }}\n{% endfor %}"
    )
    file = tmp_path / "leadwheel.toml"
    file.write_text('[org.default]\nprompt_template = "short.txt"\n')
    async with running(load_settings(file)) as door:
        await door.events(event("a", "1", "service_completed", DAY_US, **SERVICE))
        told = (await prompt(door, "leads/a/prompt"))[2]
    assert told == "* Average satisfaction = 4.5 of 5\n* Services completed = 8"


@pytest.mark.parametrize(("content", "said"), [(None, "readable"), ("{% for %}", "renders"), ("{{ fact }}", "renders")])
async def test_a_template_that_is_of_no_use_stops_the_start(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "mine.txt").write_text(content)
    settings = load_settings(flags={"org.default.prompt_template": str(tmp_path / "mine.txt")})
    with pytest.raises(SettingsError, match=said) as caught:
        await open_service(settings, paths=None, clock=VirtualClock(NOW))
    assert caught.value.key == "org.default.prompt_template"


# The command line.


def test_the_command_line_shows_a_history(tmp_path: Path) -> None:
    file, directory = tmp_path / "events.ndjson", tmp_path / "data"
    file.write_text('{"lead":"a","type":"purchase_completed","time":1.7e9,"data":{"amount":5}}\n')
    directory.mkdir()
    data = ["--data-dir", str(directory)]
    assert command("ingest", str(file), *data).returncode == 0
    asked = ["features", "a", *data, "--at", "1700172800", "--history", "--step", "86400"]
    asked += ["--since", "1699900000", "--features", "rfm:monetary_total,rfm:recency_days"]
    shown = command(*asked)
    assert shown.returncode == 0
    lines = [line for line in shown.stdout.splitlines() if "│" in line]
    assert [line.split("│")[3].strip() for line in lines] == ["0", "5", "-", "0", "1"]
    assert '"items":[{"at":"2023-11-13T18:26:40.000000Z","values":[0.0,null]}' in command(*asked, "--json").stdout
    refused = command("features", "a", *data, "--step", "5")
    assert (refused.returncode, "--history" in refused.stderr) == (2, True)
