"""What tests of lead scoring over HTTP share: leads of the sales pack, predictions, and the log behind them."""

import asyncio
from typing import Any
from urllib.parse import quote

from eventstore.event import Event, Stream
from gateway.jobs import Job
from kernel.times import DAY_US, HOUR_US, format_time
from tests.integration.service import NOW, Door

SCORING = "/api/lead-scoring"


def told(lead: str, event_id: str, type_: str, at_us: int = NOW, **data: Any) -> dict[str, Any]:
    return {"lead": lead, "id": event_id, "type": type_, "time": format_time(at_us), "data": data}


def hot(lead: str) -> list[dict[str, Any]]:
    """A lead that does much of what the rules value."""
    profile = {
        "name": "Ida Müller",
        "email": f"{lead}@acme.example",
        "title": "CEO",
        "company": "Acme",
        "phone": "+1 555 0100",
        "company_size": 5000,
    }
    return [
        told(lead, "created", "lead_created", NOW - 2 * DAY_US, source="web"),
        told(lead, "profile", "profile_updated", NOW - 2 * DAY_US, **profile),
        told(lead, "form", "form_submitted", NOW - DAY_US, form_id="quote"),
        told(lead, "meeting", "meeting_held", NOW - 3 * HOUR_US, meeting_id="m1"),
        *(told(lead, f"page{n}", "page_viewed", NOW - HOUR_US + n, url="/pricing") for n in range(6)),
    ]


def cold(lead: str) -> list[dict[str, Any]]:
    return [told(lead, "created", "lead_created", NOW - 80 * DAY_US, source="web")]


async def populated(door: Door, hot_leads: int = 1, cold_leads: int = 1) -> None:
    """Leads ``hot-0`` …, ``cold-0`` …"""
    leads = [hot(f"hot-{n}") for n in range(hot_leads)] + [cold(f"cold-{n}") for n in range(cold_leads)]
    await door.events(*(event for events in leads for event in events))


async def predict(door: Door, lead: str, **wanted: Any) -> dict[str, Any]:
    """A prediction that must be made."""
    status, body = await door.post(f"{SCORING}/leads/{quote(lead, safe='')}/ml/predict", wanted)
    assert status == 200, body
    answer: dict[str, Any] = body
    return answer


async def made(door: Door, lead: str, org: str = "default") -> list[Event]:
    """The predictions in a lead's stream."""
    return [event for event in await log(door, lead, org) if event.type == "prediction_made"]


async def log(door: Door, lead: str, org: str = "default") -> list[Event]:
    return await door.service.store.read(Stream(org, "lead", lead))


async def bulk(door: Door, **wanted: Any) -> Job:
    """A bulk job that must be started."""
    status, body = await door.post(f"{SCORING}/default/ml/bulk-predict", wanted)
    assert status == 202, body
    return door.service.jobs.get("default", body["jobId"])


async def ended(door: Door, job: Job) -> dict[str, Any]:
    """A job's document once it has ended."""
    assert job.task is not None
    await asyncio.wait([job.task])
    status, body = await door.get(f"{SCORING}/default/ml/jobs/{job.id}")
    assert status == 200, body
    answer: dict[str, Any] = body
    return answer
