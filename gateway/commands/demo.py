"""``leadwheel demo``: a year of a grocery chain's real households through the service, then the service itself."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from eventstore.event import Stream
from gateway import server
from gateway.app import Paths, open_service
from gateway.client import Client, attached
from gateway.commands.common import DONE, results, settings_of
from gateway.commands.ingest import progress_bar
from gateway.demo import summary, year
from gateway.demo.complete_journey import CURRENCY, END_TEXT, END_US, TIMEZONE, TimedEvent, read_events
from gateway.demo.summary import Summary
from gateway.service import Service
from kernel.clock import SystemClock, VirtualClock
from kernel.ids import Position
from kernel.settings import DEFAULT_ORG, Settings
from kernel.settings_sources import FILE_NAME
from kernel.times import SECOND_US, format_time

DIRECTORY = Path("demo-data")
SETTINGS = f"""# Written by `leadwheel demo`: the households are local to the stores' time zone.
[org.{DEFAULT_ORG}]
timezone = "{TIMEZONE}"
currency = "{CURRENCY}"
"""
PAGE = 1000


def demo(*, once: bool = False, data_dir: Path = DIRECTORY, port: int | None = None) -> int:
    """Live a year of real data, print what happened, then serve it.

    The data: Complete Journey (84.51°, CC0), 2,379 households of a grocery chain in 2017. A directory in which the year
    was lived to its end is served as it is.

    Parameters
    ----------
    once
        End after the summary.
    data_dir
        Directory of the data; made if it is missing.
    port
        Port to serve on afterwards.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    if not (data_dir / FILE_NAME).exists():
        (data_dir / FILE_NAME).write_text(SETTINGS, encoding="utf-8")
    settings = settings_of(data_dir, None, {"server.port": port})
    lived = summary.load(data_dir)
    if lived is None:
        lived = asyncio.run(live_year(settings, data_dir))
        lived.save(data_dir)
    show(lived, settings, is_served=not once)
    return DONE if once else server.run(settings, data_dir)


def show(lived: Summary, settings: Settings, *, is_served: bool) -> None:
    """The summary, the table, and the calls to try."""
    for line in lived.lines():
        results.print(line, soft_wrap=True)
    results.print(lived.table())
    url = f"http://localhost:{settings.server.port}"
    results.print("Try:" if is_served else "Try, after leadwheel demo without --once:")
    for call in summary.calls(url):
        results.print(f"  {call}", soft_wrap=True, markup=False)


async def live_year(settings: Settings, directory: Path) -> Summary:
    """The year through a service on a clock that follows the events."""
    events = read_events()
    clock = VirtualClock(at_us=events[0].at_us)
    # Its ticker does not run on its own: the year's steps tick it, so that nothing depends on how fast they go.
    service = await open_service(settings, paths=Paths(directory), clock=clock, is_trusting=True, is_ticking=False)
    try:
        await _go_on(service, clock)
        async with attached(service, DEFAULT_ORG) as client:
            return await _live(service, client, clock, events)
    finally:
        await service.close()


async def _go_on(service: Service, clock: VirtualClock) -> None:
    """A year that was interrupted goes on no earlier than what was recorded last; what is there already is a duplicate."""
    last = await service.store.last_position()
    for event in await service.store.read_log(after=Position(max(0, last - 1))):
        clock.set(max(clock.now_us(), event.recorded_us))


async def _live(service: Service, client: Client, clock: VirtualClock, events: list[TimedEvent]) -> Summary:
    real = SystemClock()
    began_us = real.monotonic_us()
    with progress_bar() as progress:
        task = progress.add_task("", total=len(events), events=0)

        def note(at_us: int, posted: int) -> None:
            progress.update(task, description=format_time(at_us)[:10], completed=posted, events=posted)

        async def settle() -> None:
            await service.ticker.tick()
            while service.ticker.is_behind(clock.now_us()):
                await service.ticker.tick()

        lived = await year.live(events, clock=clock, client=client, settle=settle, until_us=END_US, progress=note)
    lived_us = real.monotonic_us() - began_us
    leads, ignored = await _count(service)
    began_us = real.monotonic_us()
    features = await _read_all(client, leads)
    read_us = real.monotonic_us() - began_us
    return Summary(
        events=lived.accepted,
        leads=len(leads),
        campaign_ignored=ignored,
        duplicates=lived.duplicates,
        dead=lived.dead,
        lived_s=lived_us / SECOND_US,
        vectors=len(leads),
        features=features,
        read_s=read_us / SECOND_US,
        leads_shown={lead: await _shown(client, lead) for lead in summary.SAMPLE},
    )


async def _count(service: Service) -> tuple[list[str], int]:
    """Leads with events from outside, and campaign_ignored events, as they stand in the log."""
    leads: dict[Stream, None] = {}
    ignored, after = 0, Position(0)
    while page := await service.store.read_log(after=after, limit=PAGE):
        for event in page:
            if event.type == "campaign_ignored":
                ignored += 1
            else:
                leads[event.stream] = None
        after = page[-1].position
    return [stream.id for stream in leads], ignored


async def _read_all(client: Client, leads: list[str]) -> int:
    """Read every lead's full vector; how many features it has."""
    count = 0
    for start in range(0, len(leads), PAGE):
        body = msgspec.json.encode({"leads": leads[start : start + PAGE], "views": ["*"]})
        answer = await client.send("POST", "/features", body=body)
        count = len(answer["names"])
    return count


async def _shown(client: Client, lead: str) -> dict[str, Any]:
    query = {"features": ",".join(summary.SHOWN), "at": END_TEXT}
    return summary.values_of(await client.get(f"/leads/{lead}/features", query))
