"""Ranked lists of 200,000 leads, what keeping them costs an event, and what the change feed costs while nobody listens.

The peer of a page is the budget of 20 ms; that of an event is the same service without the part that is measured.
"""

import asyncio
import http.client
import inspect
import json
import random
import statistics
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import actors.host
from actors.host import ActorHost
from actors.ingest import Ingest
from actors.limits import ActorLimits
from actors.wheel import TimerWheel
from bench.harness import LOAD_CORE, Claim, Server, in_turns, leadwheel, pin_self, report, run_main, say, scratch
from eventstore.event import NewEvent, Stream
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots
from gateway.app import Paths, open_service
from gateway.feed.following import Following
from gateway.lists.org_lists import OrgLists, Question
from kernel.clock import SystemClock
from kernel.ids import IdSource
from kernel.settings import ListsSettings, OrgSettings
from kernel.settings_sources import load_settings
from kernel.times import DAY_US
from projections.catalogue import Catalogue
from projections.refolding import FoldedEntities

LEADS = 200_000
EVENTS_OF_A_LEAD = 3
BATCH = 5_000
PAGES = 60
ROUNDS = 5
EVENTS = 20_000
SORT = "sort=-behavior:engagement_score"
COLUMNS = ("behavior:engagement_score", "rfm:monetary_total", "rfm:recency_days", "temporal:preferred_hour_of_day")

_FIRST = ("Ann", "Bob", "Carla", "Dora", "Emil", "Fritz", "Gina", "Hugo", "Ines", "Jan")
_COMPANIES = ("Acme", "Globex", "Initech", "Umbrella", "Hooli", "Stark", "Wayne", "Wonka")


def main() -> None:
    pin_self(LOAD_CORE)
    costs = event_costs()
    with scratch() as directory:
        fill(directory)
        with leadwheel(directory) as server:
            pages, figures = measure_pages(server)
    slowest = max(pages.values())
    report(
        "ranking",
        [
            Claim("slowest kind of page, p95", slowest, 20.0, "ms", is_upper_bound=True),
            Claim(
                "an event while nobody listens", costs["absent_us"] / costs["silent_us"], 0.97, "of one without a feed"
            ),
        ],
        {**{f"{name}_p95_ms": took for name, took in pages.items()}, **figures, **costs},
    )


# Pages.


def fill(directory: Path) -> None:
    """A data directory of 200,000 leads with names, purchases and conversations."""
    say(f"ranking: {LEADS:,} leads with {EVENTS_OF_A_LEAD} events each")

    async def run() -> None:
        clock = SystemClock()
        service = await open_service(load_settings(), paths=Paths(directory), clock=clock)
        types = service.orgs["default"].catalogue.event_types
        began_s = time.monotonic()
        batch: list[NewEvent] = []
        for number in range(LEADS):
            batch += events_of(number, clock.now_us(), types)
            if len(batch) >= BATCH or number == LEADS - 1:
                await service.ingest.submit(batch)
                batch = []
        say(f"  filled in {time.monotonic() - began_s:.0f} s")
        await service.close()

    asyncio.run(run())


def events_of(number: int, now_us: int, types: Any) -> list[NewEvent]:
    chance = random.Random(number)
    company = chance.choice(_COMPANIES)
    name = f"{chance.choice(_FIRST)} {number}"
    profile = {
        "name": name,
        "email": f"user{number}@{company.lower()}{number % 997}.com",
        "company": f"{company} {number % 997}",
    }
    drawn: list[tuple[str, dict[str, Any]]] = [
        ("profile_updated", profile),
        ("purchase_completed", {"amount": round(chance.uniform(1, 500), 2)}),
        ("conversation_started", {"conversation_id": f"c{number}"}),
    ]
    stream = Stream("default", "lead", f"lead-{number:06d}")
    made = []
    for place, (kind, data) in enumerate(drawn):
        body = json.dumps(data).encode()
        at_us = now_us - chance.randrange(60 * DAY_US)
        made.append(NewEvent(stream, f"e{place}", kind, at_us, body, types.decoders[kind].decode(body)))
    return made


def measure_pages(server: Server) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of the 95th percentile, by kind of page, seen by a client; and what building took."""
    client = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)

    def get(query: str) -> tuple[int, Any]:
        client.request("GET", f"/v1/orgs/default/leads?{query}")
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())

    features = f"features={','.join(COLUMNS)}"
    began_s = time.monotonic()
    while get(f"{SORT}&{features}")[0] == 503:
        time.sleep(0.05)
    built_s = time.monotonic() - began_s
    say(f"  built in {built_s:.1f} s")
    kinds: dict[str, Callable[[int], str]] = {
        "first": lambda n: f"{SORT}&{features}",
        "thousand": lambda n: f"{SORT}&{features}&limit=1000",
        "ties": lambda n: "sort=temporal:preferred_hour_of_day",
        "filtered": lambda n: f"{SORT}&filter=rfm:monetary_total%3E={n}&filter=rfm:recency_days%3C=20",
        "rare": lambda n: f"{SORT}&filter=rfm:monetary_total%3E=499.{n % 100:02d}",
        "search": lambda n: f"{SORT}&q={quote(f'{_FIRST[n % 10]} {n}')}",
        "search_everyone": lambda n: f"{SORT}&q=com",
    }
    taken: dict[str, float] = {}
    for name, query in kinds.items():
        taken[name] = percentile([timed_ms(lambda n=n, query=query: get(query(n))) for n in range(PAGES)])  # type: ignore[misc]
    taken["next"] = percentile(paging_ms(get))
    for name, took in taken.items():
        say(f"  page {name}: {took:.1f} ms")
    return taken, {"build_s": built_s}


def timed_ms(call: Callable[[], tuple[int, Any]]) -> float:
    began_ns = time.perf_counter_ns()
    status, _ = call()
    took_ms = (time.perf_counter_ns() - began_ns) / 1e6
    if status != 200:
        raise RuntimeError(f"a page answered {status}")
    return took_ms


def paging_ms(get: Callable[[str], tuple[int, Any]]) -> list[float]:
    """Of the pages that follow a first one."""
    _, body = get(f"{SORT}&limit=1000")
    taken = []
    for _ in range(PAGES):
        cursor = body["cursor"]
        began_ns = time.perf_counter_ns()
        _, body = get(f"{SORT}&limit=1000&cursor={cursor}")
        taken.append((time.perf_counter_ns() - began_ns) / 1e6)
    return taken


def percentile(taken_ms: list[float]) -> float:
    return statistics.quantiles(taken_ms, n=20)[-1]


# Events.


class World:
    """Log, actors, intake; in memory, so that nothing but the processor counts."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.clock = SystemClock()
        self.catalogue = catalogue
        self.store = MemoryEventStore(types=catalogue.event_types, clock=self.clock)
        self.host = ActorHost(
            store=self.store,
            snapshots=MemorySnapshots(),
            folds=FoldedEntities(lambda org: catalogue, self.clock),
            clock=self.clock,
            wheel=TimerWheel(start_us=self.clock.now_us()),
            limits=ActorLimits(),
        )
        self.ingest = Ingest(store=self.store, host=self.host)

    async def take(self) -> float:
        """Microseconds of processor time per event."""
        now_us = self.clock.now_us()
        events = [
            e for n in range(EVENTS // EVENTS_OF_A_LEAD) for e in events_of(n, now_us, self.catalogue.event_types)
        ]
        began_s = time.process_time()
        for start in range(0, len(events), 1_000):
            await self.ingest.submit(events[start : start + 1_000])
        return (time.process_time() - began_s) / len(events) * 1e6


def event_costs() -> dict[str, float]:
    """Microseconds per event: without the feed's code, with it and nobody listening, with lists, with a listener."""
    catalogue = Catalogue("default", OrgSettings())
    present, absent = ActorHost.hand_out, hand_out_without_taps()

    def side(run: Callable[[World], Awaitable[float]], hand_out: Any = present) -> Callable[[], float]:
        def turn() -> float:
            ActorHost.hand_out = hand_out  # type: ignore[method-assign]
            try:
                return asyncio.run(run(World(catalogue)))  # type: ignore[arg-type]
            finally:
                ActorHost.hand_out = present  # type: ignore[method-assign]

        return turn

    sides = {"absent_us": side(World.take, absent), "silent_us": side(World.take)}
    costs = in_turns(4 * ROUNDS, **sides)
    return costs | in_turns(ROUNDS, with_lists_us=side(with_lists), with_listener_us=side(with_listener))


def hand_out_without_taps() -> Any:
    """The host's method as it would be if nobody could listen."""
    source = textwrap.dedent(inspect.getsource(ActorHost.hand_out))
    lines = source.splitlines()
    place = next(index for index, line in enumerate(lines) if "in self._taps" in line)
    namespace = dict(vars(actors.host))
    exec("\n".join(lines[:place] + lines[place + 2 :]), namespace)
    return namespace["hand_out"]


async def with_lists(world: World) -> float:
    """Events and their way into a table of four features, refreshed every thousand events."""
    lists = OrgLists(
        catalogue=world.catalogue,
        store=world.store,
        host=world.host,
        clock=world.clock,
        ids=IdSource(world.clock),
        settings=ListsSettings(build_wait_s=60),
        pinned=COLUMNS,
        drain=lambda: None,
    )

    def tap(events: Any) -> None:
        lists.mark([event.stream for event in events])

    await lists.page(Question(COLUMNS[0], False, (), None, ()), 1, None)
    world.host.tap(tap)
    submit = world.ingest.submit

    async def submit_and_refresh(events: Any) -> Any:
        receipt = await submit(events)
        await lists.refresh()
        return receipt

    world.ingest.submit = submit_and_refresh  # type: ignore[method-assign]
    return await world.take()


async def with_listener(world: World) -> float:
    """Events, and every change of all leads found out."""
    following = Following(
        catalogue=world.catalogue,
        store=world.store,
        host=world.host,
        clock=world.clock,
        publish=lambda lead, change: None,
        passed=lambda event: None,
        leads_max=10_000,
        tick_s=0.1,
    )
    following.follow_all()
    world.host.tap(following.deliver)
    submit = world.ingest.submit

    async def submit_and_follow(events: Any) -> Any:
        receipt = await submit(events)
        await following.work()
        return receipt

    world.ingest.submit = submit_and_follow  # type: ignore[method-assign]
    return await world.take()


if __name__ == "__main__":
    run_main(main)
