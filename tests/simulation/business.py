"""A business in a virtual world: leads of two tastes, three ways to talk to them, and purchases that come days later.

It is run as the service runs the core: one log; a ledger for each lead, looked at when it is due; the policy's entity;
decisions with its read copy. ``crash`` drops all that is in memory. What comes back comes from snapshots, taken now and then,
and from the log; effects that were on their way are written or lost.
"""

import heapq
import random
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from bandit.checking import CompiledPolicy, compile_policy
from bandit.deciding import Request, decide
from bandit.events import DECISION_MADE, DecisionMade, PolicyDefined, decision_event, policy_defined_event
from bandit.guardrails import Known
from bandit.ledger import Ledger, LedgerKind
from bandit.policy import Policy
from bandit.policy_entity import Cadence, PolicyEntity
from bandit.policy_folds import PolicyFolds
from eventstore.event import Event, NewEvent, Stream
from eventstore.snapshots import Snapshot
from kernel.ids import Position
from kernel.steps import finish
from kernel.times import DAY_US, HOUR_US
from tests.unit.bandit.logs import CATALOGUE, NOON, POLICY, types_of

COLUMNS = ("profile:thrift", "profile:hurry")
#: The chance of a purchase of 100 by arm, for those who would rather save and those who are in a hurry.
LAW = {"discount": (0.55, 0.10), "express": (0.05, 0.45), "silence": (0.15, 0.15)}
KIND = LedgerKind(types_of)


@dataclass
class World:
    """Everything outside the service: the leads' tastes, and chance."""

    seed: int
    leads: int = 200
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def taste(self, lead: int) -> int:
        return lead % 2

    def context(self, lead: int) -> Any:
        thrift = 1.0 if self.taste(lead) == 0 else 0.0
        return np.array([thrift, 5.0 * (1.0 - thrift) + self.chance.random() * 0.1])

    def expected(self, lead: int, arm: str) -> float:
        return LAW[arm][self.taste(lead)]


class Service:
    """The core, its log and its snapshots; time is handed in."""

    def __init__(self, policy: Policy) -> None:
        self.log: dict[Stream, list[Event]] = {}
        self.ids: dict[tuple[Stream, str], Event] = {}
        self.saved: dict[Stream, tuple[int, Any]] = {}
        self.snapshot: Snapshot | None = None
        self.folds = PolicyFolds(Cadence(every_updates=200, every_us=DAY_US))
        self.ledgers: dict[Stream, Ledger] = {}
        self.policy: CompiledPolicy = compile_policy("offers", 1, policy, COLUMNS, CATALOGUE)
        self.entity = self.folds.new(POLICY, 1)
        self.expected = 0.0
        self.regrets: list[float] = []  # of each decision: what the best arm for that lead would have brought more
        self.append([policy_defined_event(POLICY, PolicyDefined(1, policy, list(COLUMNS)), NOON)], NOON)

    # The log.

    def append(self, events: list[NewEvent], now_us: int) -> None:
        for each in self.store(events, now_us):
            self.deliver(each)

    def store(self, events: list[NewEvent], now_us: int) -> list[Event]:
        stored = []
        for new in events:
            known = self.ids.get((new.stream, new.id))
            if known is not None:
                assert known.data == new.data, f"{new.id} was written before with another content"
                continue
            stream = self.log.setdefault(new.stream, [])
            version = len(stream) + 1
            event = Event(
                new.stream, 1, version, Position(len(self.ids) + 1), new.id, new.type, new.at_us, now_us, new.data
            )
            stream.append(event)
            self.ids[new.stream, new.id] = event
            stored.append(event)
        return stored

    def deliver(self, event: Event) -> None:
        if event.stream == POLICY:
            if event.version == self.entity.version + 1 and not self.entity.fold(event):
                self.entity = finish(self.folds.refold(POLICY, 1, self.log[POLICY]))
        elif event.stream in self.ledgers or event.type == DECISION_MADE:
            self.ledger(event.stream, upto=event.version - 1).fold(event)

    # Actors, awake or woken.

    def ledger(self, stream: Stream, upto: int | None = None) -> Ledger:
        found = self.ledgers.get(stream)
        if found is None:
            version, dumped = self.saved.get(stream, (0, None))
            found = KIND.new(stream, (), ()) if dumped is None else KIND.load(stream, dumped)
            for event in self.log.get(stream, [])[version:upto]:
                found.fold(event)
            self.ledgers[stream] = found
        return found

    def tick(self, now_us: int) -> list[NewEvent]:
        """The effects that are due."""
        due = [each for each in self.ledgers.values() if (at := each.due_us()) is not None and at <= now_us]
        return [event for ledger in due for event in ledger.effects(now_us)]

    def confirm(self, effects: list[NewEvent]) -> None:
        for ledger in self.ledgers.values():
            ledger.written(effects)

    def decide(self, world: World, lead: int, number: int, now_us: int) -> DecisionMade:
        stream = Stream("acme", "lead", str(lead))
        known = Known({}.get, world.context(lead), week=self.ledger(stream).week("offers", now_us))
        made = decide(self.policy, self.entity.model(now_us), Request(lead=str(lead)), known, f"d{number}")
        self.append([decision_event(stream, made, now_us)], now_us)
        self.expected += world.expected(lead, made.arm)
        best = max(world.expected(lead, arm) for arm in LAW)
        self.regrets.append(best - world.expected(lead, made.arm))
        return made

    # Misfortune.

    def save(self, chance: random.Random) -> None:
        self.snapshot = self.entity.dump()
        for stream, ledger in self.ledgers.items():
            if chance.random() < 0.5:
                dumped = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.dump()))
                self.saved[stream] = (len(self.log[stream]), dumped)

    def crash(self, chance: random.Random) -> None:
        """All memory is gone; the caches are as they were last saved, or gone, too."""
        if chance.random() < 0.3:
            self.saved, self.snapshot = {}, None
        self.ledgers = {}
        self.entity = self.woken()
        for stream, events in self.log.items():  # the index of deadlines says whom to wake
            if stream != POLICY and any(event.type == DECISION_MADE for event in events):
                self.ledger(stream)

    def woken(self) -> PolicyEntity:
        entity = self.folds.new(POLICY, 1) if self.snapshot is None else self.folds.load(POLICY, self.snapshot)
        for event in self.log[POLICY][entity.version :]:
            assert entity.fold(event)
        return entity


def lived(world: World, policy: Policy, decisions: int, *, crash_rate: float = 0.0, days: float = 120.0) -> Service:
    """A year in a business: decisions spread over the days, purchases days later, crashes in between."""
    chance, misfortune = world.chance, random.Random(world.seed + 1)
    service = Service(policy)
    agenda: list[tuple[int, int, str, int]] = []
    for number in range(decisions):
        at_us = NOON + round(chance.random() * days * DAY_US)
        heapq.heappush(agenda, (at_us, number, "decide", chance.randrange(world.leads)))
    end_us = NOON + round((days + 30) * DAY_US)
    next_tick_us = NOON
    while agenda or next_tick_us < end_us:
        if not agenda or agenda[0][0] >= next_tick_us:
            tick(service, next_tick_us, misfortune, crash_rate)
            next_tick_us += 6 * HOUR_US
            continue
        at_us, number, what, lead = heapq.heappop(agenda)
        if what == "decide":
            made = service.decide(world, lead, number, at_us)
            if chance.random() < world.expected(lead, made.arm):
                bought_us = at_us + round((0.5 + 6 * chance.random()) * DAY_US)
                told_us = bought_us + round(chance.choice([0, 0, 0, 0.3]) * DAY_US)
                heapq.heappush(agenda, (told_us, number, f"bought {bought_us}", lead))
        else:
            data = msgspec.json.encode({"amount": 100})
            stream, bought_us = Stream("acme", "lead", str(lead)), int(what.split()[1])
            service.append([NewEvent(stream, f"p{number}", "purchase_completed", bought_us, data, None)], at_us)
    return service


def tick(service: Service, now_us: int, misfortune: random.Random, crash_rate: float) -> None:
    """What the clock does: effects are appended; a crash comes before, between append and delivery, or after."""
    is_crash = misfortune.random() < crash_rate
    effects = service.tick(now_us)
    if is_crash:
        told = effects[: misfortune.randint(0, len(effects))]
        service.store(told, now_us)
        service.crash(misfortune)
        effects = service.tick(now_us)
    service.append(effects, now_us)
    if misfortune.random() < 0.9:
        service.confirm(effects)
    if misfortune.random() < 0.05:
        service.save(misfortune)
