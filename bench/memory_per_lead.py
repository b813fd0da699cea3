"""What an awake lead costs, and whether a process held to 10,000 awake leads grows while 100,000 pass through it.

The peer of the first is the least that could hold the same events: a list of (time, value) tuples for each lead.

First part: resident memory of this process before and after a host has 10,000 leads awake with 50 events of two packs
each, no encoded answer held. Second part: 5 million events of 100,000 leads posted to a service that may hold 10,000
awake and remember as many streams' heads; after each tenth its resident memory, once without the pages of mapped files,
which the bound is about, and once with them: LMDB maps its file, and its pages count as resident until the system wants
them back.
"""

import asyncio
import sys
from collections.abc import Sequence

import msgspec

from actors.host import ActorHost
from actors.limits import ActorLimits
from actors.wheel import TimerWheel
from bench.events import END_US, batches, lead_events
from bench.harness import (
    LOAD_CORE,
    Claim,
    fetch,
    leadwheel,
    pin_self,
    private_bytes,
    report,
    rss_bytes,
    run_main,
    say,
    scratch,
    settled_rss_bytes,
    write_settings,
)
from bench.posting import post_all
from eventstore.event import Event, Stream
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots
from kernel.clock import VirtualClock
from kernel.ids import Position
from kernel.settings import DEFAULT_ORG, OrgSettings
from kernel.times import DAY_US, parse_rfc3339
from projections.catalogue import Catalogue
from projections.refolding import FoldedEntities

AWAKE, PER_LEAD = 10_000, 50
PASSING, TENTHS = 100_000, 10


def main() -> None:
    pin_self(LOAD_CORE)
    say(f"memory_per_lead: {AWAKE:,} leads awake, {PER_LEAD} events each")
    lead_bytes, list_bytes = asyncio.run(one_lead_bytes())
    say(f"  {lead_bytes:,.0f} bytes a lead; then {PASSING:,} leads with {PASSING * PER_LEAD:,} events pass through")
    over_time, with_mapped = passing_mb()
    settled, last = over_time[TENTHS // 5], over_time[-1]
    report(
        "memory_per_lead",
        [
            Claim("awake lead", lead_bytes / 1000, 6, "KB", is_upper_bound=True),
            Claim(
                "after 100,000 leads, of what it was after 30,000", last / settled, 1.1, "times", is_upper_bound=True
            ),
        ],
        {
            "list_of_tuples_bytes": list_bytes,
            "private_mb_over_time": over_time,
            "resident_mb_over_time": with_mapped,
        },
    )


async def one_lead_bytes() -> tuple[float, float]:
    """Bytes of one awake lead in its host, and of plain lists of its times and values."""
    catalogue = Catalogue(DEFAULT_ORG, OrgSettings(packs=("commerce", "browsing")))
    clock = VirtualClock(at_us=END_US)
    host = ActorHost(
        store=MemoryEventStore(types=catalogue.event_types, clock=clock),
        snapshots=MemorySnapshots(),
        folds=FoldedEntities(lambda _: catalogue, clock),
        clock=clock,
        wheel=TimerWheel(start_us=END_US),
        limits=ActorLimits(),
    )
    await host.start()
    await host.deliver(stored_events(AWAKE))  # what is made once per process is made now
    before = settled_rss_bytes()
    for number in range(AWAKE):
        await host.deliver(stored_events(number))
    ours = (settled_rss_bytes() - before) / AWAKE
    statistics = host.statistics()
    if statistics.awake != AWAKE + 1 or statistics.counts.folded != (AWAKE + 1) * PER_LEAD:
        raise RuntimeError(f"not all leads are awake with all their events: {statistics}")
    before = settled_rss_bytes()
    lists = [[(event.at_us, float(event.version)) for event in stored_events(number)] for number in range(AWAKE)]
    plain = (settled_rss_bytes() - before) / len(lists)
    await host.stop()
    return ours, plain


def stored_events(number: int) -> Sequence[Event]:
    """The events of a lead as the log would hand them out, recorded as they happened."""
    stream = Stream(DEFAULT_ORG, "lead", f"lead-{number:06d}")
    return [
        Event(
            stream=stream,
            number=number + 1,
            version=version,
            position=Position(number * PER_LEAD + version),
            id=sent["id"],
            type=sys.intern(sent["type"]),
            at_us=(at_us := parse_rfc3339(sent["time"])),
            recorded_us=min(at_us, END_US + DAY_US),
            data=msgspec.json.encode(sent["data"]),
        )
        for version, sent in enumerate(lead_events(number, PER_LEAD), 1)
    ]


def passing_mb() -> tuple[list[float], list[float]]:
    """Resident memory of the service after each tenth of the leads, in MB: the private part, and all of it."""
    figures: list[float] = []
    resident: list[float] = []
    held = ("[actors]", f"max_awake = {AWAKE}", "[store]", f"heads_max = {AWAKE}")
    with scratch() as directory, leadwheel(write_settings(directory, *held)) as server:
        pid = server.process.pid
        for first in range(0, PASSING, PASSING // TENTHS):
            last = first + PASSING // TENTHS
            rate = post_all(server.url, batches(range(first, last), PER_LEAD))
            figures.append(round(private_bytes(pid) / 2**20, 1))
            resident.append(round(rss_bytes(pid) / 2**20, 1))
            mapped_mb = resident[-1] - figures[-1]
            say(
                f"  {last:,} leads: {figures[-1]:,.0f} MB and {mapped_mb:,.0f} MB of mapped files, {rate:,.0f} events/s"
            )
        fetch(f"{server.url}/v1/orgs/default/leads/lead-000000/features")
    return figures, resident


if __name__ == "__main__":
    run_main(main)
