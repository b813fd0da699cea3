"""Alerts over random lives: each begins and ends in turn, whoever looks when, and whatever ends in between."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.host import ActorHost
from actors.ingest import Ingest
from actors.limits import ActorLimits
from actors.wheel import TimerWheel
from eventstore.event import NewEvent, Stream
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots
from eventstore.types import EventTypes
from gateway.alerts.org_alerts import OrgAlerts
from gateway.alerts.watching import Alerts
from gateway.engine import Engine
from gateway.market import Markets
from gateway.orgs import Org, limits_of
from gateway.sharing import WHOLE
from kernel.clock import VirtualClock
from kernel.ids import IdSource
from kernel.settings import AlertsSettings, OrgSettings, ServerSettings, Settings
from kernel.times import DAY_US, SECOND_US
from projections.catalogue import Catalogue
from projections.refolding import FoldedEntities
from scoring.alerts import resolved_event
from scoring.events import SCORING_TYPES, AlertRule
from scoring.ranking import Ranking

START_US = 1_790_000_000 * SECOND_US
SETTINGS = OrgSettings(packs=("commerce",))
CATALOGUE = Catalogue("default", SETTINGS)
LEADS = ("ann", "bob", "old")  # the last one has old news only
RULES = {
    "big": AlertRule("rfm.monetary_total > 100.0", cooldown_s=0),
    "mean": AlertRule("rfm.monetary_avg_ticket > 60.0", cooldown_s=7200, until="rfm.monetary_avg_ticket < 50.0"),
    "quiet": AlertRule("rfm.recency_days >= 2 && rfm.monetary_total > 50.0", cooldown_s=86_400),
}
CHANGED = AlertRule("rfm.monetary_total > 40.0", cooldown_s=60)


class World:
    """One org's alerts over a log that outlives them."""

    def __init__(self, marked_max: int) -> None:
        self.clock = VirtualClock(START_US)
        self.store = MemoryEventStore(types=EventTypes([*CATALOGUE.event_types, *SCORING_TYPES]), clock=self.clock)
        self.marked_max = marked_max
        self.count = 0
        self.changed: set[str] = set()  # rules that were defined otherwise since somebody looked here
        self.start()

    def start(self) -> None:
        """Begin with nothing but the log."""
        store, clock = self.store, self.clock
        self.org = Org(
            "default", SETTINGS, CATALOGUE, limits=limits_of(ServerSettings()), clock=clock, ids=IdSource(clock, 1)
        )
        self.host = ActorHost(
            store=store,
            snapshots=MemorySnapshots(),
            folds=FoldedEntities(lambda _: CATALOGUE, clock, lambda _: self.org.companions),
            clock=clock,
            wheel=TimerWheel(start_us=clock.now_us()),
            limits=ActorLimits(),
        )
        self.ingest = Ingest(store=store, host=self.host)
        orgs: Any = _Orgs(self.org)
        engine = Engine(
            settings=Settings(alerts=AlertsSettings(marked_max=self.marked_max)),
            clock=clock,
            ids=IdSource(clock, 2),
            orgs=orgs,
            store=store,
            host=self.host,
            ingest=self.ingest,
            part=WHOLE,
            is_leading=True,
        )
        scores: Any = _NoScores()
        markets = Markets(lambda _: CATALOGUE, awake=_nobody, wake=_nobody, store=store, clock=clock)
        self.alerts = Alerts(engine, scores=scores, markets=markets, shared_store=store)
        self.host.tap(lambda events: [self.alerts.fold(event) for event in events])

    async def of(self) -> OrgAlerts:
        return await self.alerts.of(self.org)

    async def define(self, name: str, rule: AlertRule | None) -> None:
        alerts = await self.of()
        if rule is not None or alerts.rules.get(name) is not None:
            if alerts.rules.get(name) != rule:
                self.changed.add(name)
            alerts.rules_changed(
                await alerts.rules.define(name, rule, ingest=self.ingest, store=self.store, clock=self.clock)
            )

    async def post(self, *purchases: tuple[str, int, bool]) -> None:
        events = []
        for lead, amount, is_old in purchases:
            self.count += 1
            at_us = self.clock.now_us() - (3 * DAY_US if is_old else 0)
            data = msgspec.json.encode({"amount": amount})
            payload = CATALOGUE.event_types.decoders["purchase_completed"].decode(data)
            stream = Stream("default", "lead", lead)
            events.append(NewEvent(stream, f"p{self.count}", "purchase_completed", at_us, data, payload))
        await self.ingest.record(events)

    async def resolve(self) -> None:
        """A person ends the newest alert that is open."""
        alert = next((each for each in (await self.of()).board.newest_first() if each.state != "resolved"), None)
        if alert is not None:
            stream = Stream("default", "lead", alert.lead)
            await self.ingest.record([resolved_event(stream, alert.rule, alert.episode, "person", self.clock.now_us())])

    async def told(self) -> dict[tuple[str, str], list[tuple[str, int, int]]]:
        """What was written of each lead and rule: type, episode, when."""
        found: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
        for event in await self.store.read_log(limit=100_000):
            if event.type in ("alert_raised", "alert_resolved"):
                data = msgspec.json.decode(event.data)
                place = (event.stream.id, data["rule"])
                found.setdefault(place, []).append((event.type, data["episode"], event.at_us))
        return found


class _Orgs:
    def __init__(self, org: Org) -> None:
        self._org = org

    def values(self) -> Iterator[Org]:
        return iter([self._org])

    def catalogue_of(self, _: str) -> Catalogue:
        return CATALOGUE


class _NoScores:
    async def of(self, _: Org) -> Any:
        return SimpleNamespace(ranking=lambda _: Ranking())


def _nobody(*_: Any) -> Any:
    raise AssertionError("no rule is about the market")


AMOUNTS = st.integers(1, 90)
POSTS = st.lists(
    st.tuples(st.sampled_from(LEADS[:2]), AMOUNTS, st.booleans()) | st.tuples(st.just("old"), AMOUNTS, st.just(True)),
    min_size=1,
    max_size=4,
)
STEPS = st.lists(
    st.tuples(st.just("post"), POSTS)
    | st.tuples(st.just("pass"), st.sampled_from([0.001, 1.0, 3600.0, 86_400.0, 3 * 86_400.0]))
    | st.tuples(st.just("tick"), st.integers(1, 3))
    | st.tuples(st.just("define"), st.sampled_from([*RULES, "changed", "gone"]))
    | st.tuples(st.sampled_from(["settle", "crash", "resolve"]), st.none()),
    max_size=25,
)


async def live(steps: list[tuple[str, Any]], marked_max: int) -> World:
    world = World(marked_max)
    for name, rule in RULES.items():
        await world.define(name, rule)
    world.changed.clear()
    for step, what in steps:
        match step:
            case "post":
                await world.post(*what)
            case "pass":
                world.clock.advance(what)
            case "tick":
                for _ in range(what):
                    await world.alerts.tick()
            case "define" if what == "changed":
                await world.define("big", CHANGED)
            case "define" if what == "gone":
                await world.define("quiet", None)
            case "define":
                await world.define(what, RULES[what])
            case "settle":
                await world.alerts.settle()
            case "crash":
                await world.alerts.close()
                world.start()
            case "resolve":
                await world.resolve()
    await world.alerts.settle()
    return world


async def check(world: World) -> None:
    alerts = await world.of()
    told = await world.told()
    for (lead, rule), written in told.items():
        expected = [(kind, n) for n in range(1, len(written) + 1) for kind in ("alert_raised", "alert_resolved")]
        assert [(kind, episode) for kind, episode, _ in written] == expected[: len(written)], (lead, rule)
    # Old news raises nothing, unless the rule is another one since: then it is looked at for every lead.
    assert not any(lead == "old" and rule in {"big", "mean"} - world.changed for lead, rule in told)
    for lead in LEADS:
        await check_lead(world, alerts, lead, {rule: written for (each, rule), written in told.items() if each == lead})


async def check_lead(world: World, alerts: OrgAlerts, lead: str, told: dict[str, list[tuple[str, int, int]]]) -> None:
    """What holds has an open alert, unless it is hushed or cools down; what does not hold has none, unless held open."""
    stream = Stream("default", "lead", lead)
    entity = cast("Any", await world.host.entity(stream))
    if entity is None:
        return
    values, _ = alerts.reading.values(entity, world.clock.now_us(), {})
    for rule in alerts.rules.in_force:
        written = told.get(rule.name, [])
        is_open = bool(written) and written[-1][0] == "alert_raised"
        raised_us = [at_us for kind, _, at_us in written if kind == "alert_raised"]
        if rule.when.holds(values.get):
            is_cooling = bool(raised_us) and world.clock.now_us() < raised_us[-1] + rule.rule.cooldown_s * SECOND_US
            is_hushed = rule.name in alerts.hushed.get(stream, ())
            assert is_open or is_cooling or is_hushed, (lead, rule.name, written)
        elif rule.until is None or rule.until.holds(values.get):
            assert not is_open, (lead, rule.name, written)


@given(steps=STEPS, marked_max=st.sampled_from([1, 2, 100]))
@settings(deadline=None, max_examples=60)
def test_an_alert_is_raised_once_and_ends_once_whatever_happens_in_between(
    steps: list[tuple[str, Any]], marked_max: int
) -> None:
    async def run() -> None:
        world = await live(steps, marked_max)
        try:
            await check(world)
        finally:
            await world.alerts.close()

    asyncio.run(run())
