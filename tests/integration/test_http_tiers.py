"""Ranked lists of the leads of one tier."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.service import Door, purchase, running

PREDICT = "/api/lead-scoring/leads/{}/ml/predict"
LEADS = [f"lead-{n}" for n in range(6)]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def tiers(door: Door) -> dict[str, str]:
    """Leads of several tiers: some with a purchase alone, some that did more, one without any prediction."""
    await door.events(*(purchase(lead, "p1", 10 + n) for n, lead in enumerate([*LEADS, "unknown"])))
    for lead in LEADS[:3]:
        profile = {"name": "Ann", "title": "CEO", "company": "Acme", "phone": "1", "email": "ann@acme.com"}
        more = [{"lead": lead, "id": "pr", "type": "profile_updated", "data": {**profile, "company_size": 500}}]
        for kind in ("meeting_scheduled", "meeting_held", "form_submitted", "page_viewed", "deal_won", "login"):
            more += [{"lead": lead, "id": f"{kind}{n}", "type": kind, "data": {}} for n in range(4)]
        await door.events(*more)
    found = {}
    for lead in LEADS:
        status, body = await door.post(PREDICT.format(lead), {"ruleBasedOnly": True})
        assert status == 200, body
        found[lead] = body["tier"]
    return found


async def listed(door: Door, query: str) -> list[str]:
    status, body = await door.get(f"leads{query}")
    assert status == 200, body
    assert body["cursor"] is None
    return [item["lead"] for item in body["items"]]


async def test_a_list_holds_the_leads_of_a_tier(door: Door) -> None:
    of = await tiers(door)
    assert len(set(of.values())) > 1
    for tier in ("top", "high", "medium", "low"):
        assert await listed(door, f"?tier={tier}") == [lead for lead in LEADS if of[lead] == tier]
    assert "unknown" in await listed(door, "")


async def test_a_tier_goes_together_with_sort_filter_search_and_pages(door: Door) -> None:
    of = await tiers(door)
    tier = of[LEADS[0]]
    mine = [lead for lead in LEADS if of[lead] == tier]
    assert len(mine) >= 3
    ranked = f"?tier={tier}&sort=-rfm:monetary_total"
    assert await listed(door, ranked) == mine[::-1]
    assert await listed(door, f"{ranked}&filter=rfm:monetary_total%3E10") == mine[:0:-1]
    assert await listed(door, f"{ranked}&q=LEAD-1") == ["lead-1"]
    found, cursor = [], ""
    while True:
        status, page = await door.get(f"leads{ranked}&limit=1{cursor}")
        assert status == 200
        found += [item["lead"] for item in page["items"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert found == mine[::-1]
    status, problem = await door.get(f"leads?tier=low&sort=-rfm:monetary_total{cursor}")
    assert (status, problem["code"]) == (422, "invalid_cursor")


async def test_an_unknown_tier_is_refused(door: Door) -> None:
    status, problem = await door.get("leads?tier=hot")
    assert (status, problem["code"]) == (422, "invalid_parameter")
    assert problem["errors"][0]["path"] == "tier"
