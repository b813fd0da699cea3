"""What decisions settle at, told naively from the sentences of the specification; and logs to tell it about.

Everything that counts has an instant: an outside event when it was recorded or, told ahead of its time, its time; all
else when it was recorded. The instants are walked in order, and at each the question is asked anew from the whole
log. Nothing here is shared with the ledger but the payloads' structs.
"""

import json
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from bandit.events import DecisionMade, RewardReceived, activation_event, decision_event, reward_event
from bandit.policy import RewardRule
from eventstore.event import Event, NewEvent
from kernel.ids import Position
from tests.unit.bandit.logs import LEAD, NOON, a_decision

SECOND = 1_000_000
PURCHASE, MESSAGE, LOGIN = "purchase_completed", "message_received", "login"


@dataclass
class Fate:
    """What became of a decision: its kind, when, the values that counted in recorded order."""

    kind: str
    at_us: int
    values: list[float]
    provisional: float | None = None


@dataclass
class _Kept:
    made: DecisionMade
    at_us: int
    is_active: bool
    rewards: dict[str, tuple[float, str | None, bool]] = field(default_factory=dict)  # value, cause, surrogate
    provisional: float | None = None

    @property
    def deadline_us(self) -> int:
        return self.at_us + int(self.made.reward.wait_s or 0) * SECOND

    def value(self) -> float:
        values = [value for value, _, _ in self.rewards.values()]
        if not values:
            return self.made.reward.default
        exact = [Fraction(value) for value in values]
        return {
            "earliest": lambda: values[0],
            "latest": lambda: values[-1],
            "max": lambda: max(values),
            "sum": lambda: float(sum(exact)),
            "mean": lambda: float(sum(exact)) / len(values),
        }[self.made.reward.aggregation]()


def fates(events: list[Event]) -> dict[str, Fate]:
    """By decision, when all is over."""
    kept: dict[str, _Kept] = {}
    over: dict[str, Fate] = {}
    for at_us, event in _moments(events):
        _close(kept, over, before_us=at_us)
        if event.type == "decision_made":
            made = event.payload
            kept[made.decision_id] = _Kept(made, event.at_us, not made.deferred)
        elif event.type == "decision_activated":
            if (each := kept.get(event.payload.decision_id)) is not None and not each.is_active:
                each.is_active = True
                _look(kept, over, event.payload.decision_id, at_us)
        elif event.type == "reward_received":
            if (each := kept.get(event.payload.decision_id)) is not None:
                each.rewards[event.payload.id] = (event.payload.value, None, False)
                _look(kept, over, event.payload.decision_id, at_us)
        elif event.type == "event_retracted":
            named = json.loads(event.data)["event_id"]
            for each in kept.values():
                each.rewards = {name: reward for name, reward in each.rewards.items() if reward[1] != named}
        elif not _is_retracted(events, event, at_us):
            _attribute(kept, over, event, at_us)
    _close(kept, over, before_us=1 << 62)
    return over


def _moments(events: list[Event]) -> list[tuple[int, Event]]:
    """Every event with the instant at which it counts; what waited for its time comes before what is recorded then."""
    found = []
    for event in events:
        waits = not event.id.startswith("~") and event.type != "event_retracted" and event.at_us > event.recorded_us
        instant = event.at_us if waits else event.recorded_us
        found.append(
            ((instant, 0 if waits else 1, event.at_us if waits else 0, event.id if waits else "", event.version), event)
        )
    return [(key[0], event) for key, event in sorted(found, key=lambda each: each[0])]


def _is_retracted(events: list[Event], event: Event, at_us: int) -> bool:
    """Whether a retraction of it stands in the log by the instant at which it would count."""
    for other in events:
        if other.type == "event_retracted" and json.loads(other.data)["event_id"] == event.id:
            waits = event.at_us > event.recorded_us
            if (other.recorded_us < at_us) if waits else (other.version < event.version):
                return True
    return False


def _close(kept: dict[str, _Kept], over: dict[str, Fate], *, before_us: int) -> None:
    for name, each in list(kept.items()):
        if each.deadline_us < before_us:
            kind = "final" if each.is_active else "expired"
            _end(kept, over, name, kind, each.deadline_us)


def _end(kept: dict[str, _Kept], over: dict[str, Fate], name: str, kind: str, at_us: int) -> None:
    each = kept.pop(name)
    over[name] = Fate(kind, at_us, [each.value(), *(value for value, _, _ in each.rewards.values())], each.provisional)


def _look(kept: dict[str, _Kept], over: dict[str, Fate], name: str, at_us: int) -> None:
    each = kept[name]
    if not each.is_active or not each.rewards:
        return
    if each.made.reward.aggregation == "earliest":
        _end(kept, over, name, "final", at_us)
    elif each.provisional is None and any(surrogate for _, _, surrogate in each.rewards.values()):
        each.provisional = each.value()


def _attribute(kept: dict[str, _Kept], over: dict[str, Fate], event: Event, at_us: int) -> None:
    """Each open decision that the event is worth something to takes it, or leaves it to a rival of its policy."""
    worth = {name: found for name, each in kept.items() if (found := _worth(each, event))}
    takers = [name for name in worth if _takes(name, worth, kept)]
    for name in takers:
        each = kept[name]
        for reward_id, value, surrogate in worth[name]:
            if name in kept:
                each.rewards[reward_id] = (value, event.id, surrogate)
                _look(kept, over, name, at_us)


def _takes(name: str, worth: dict[str, Any], kept: dict[str, _Kept]) -> bool:
    mine = kept[name]
    rivals = [other for other in worth if kept[other].made.policy == mine.made.policy]
    by_time = sorted(rivals, key=lambda other: (kept[other].at_us, rivals.index(other)))
    match mine.made.reward.attribution:
        case "last":
            return by_time[-1] == name
        case "first":
            return by_time[0] == name
    return True


def _worth(each: _Kept, event: Event) -> list[tuple[str, float, bool]]:
    found = []
    for number, rule in enumerate(each.made.reward.rules):
        is_inside = each.at_us < event.at_us <= each.at_us + int(rule.within_s) * SECOND
        if rule.on == event.type and is_inside and (value := _value(rule, json.loads(event.data))) is not None:
            found.append((f"~{event.id}/{number}", value, rule.surrogate))
    return found


def _value(rule: RewardRule, data: dict[str, Any]) -> float | None:
    """The three expressions that the strategies write."""
    match rule.value:
        case "amount / 100":
            return data["amount"] / 100
        case "sentiment":
            return data.get("sentiment")
    return float(rule.value)


# Logs.

_RULES = [
    RewardRule(PURCHASE, 30, "amount / 100"),
    RewardRule(PURCHASE, 8, "-2"),
    RewardRule(MESSAGE, 12, "sentiment"),
    RewardRule(MESSAGE, 20, "0.25", surrogate=True),
    RewardRule(LOGIN, 60, "1"),
]


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """A lead's stream: decisions under a few policies, events early, late and ahead of time, retractions, posts."""
    events: list[Event] = []
    recorded_us = NOON
    decisions = 0
    for place in range(draw(st.integers(1, 25))):
        recorded_us += draw(st.sampled_from([0, 1, SECOND, 3 * SECOND, 10 * SECOND, 61 * SECOND]))
        what = draw(st.sampled_from("dddeeeeeeerpppa"))
        if what == "d":
            new = _decision(draw, decisions, recorded_us)
            decisions += 1
        elif what == "e":
            new = _outside(draw, place, recorded_us)
        elif what == "r":
            name = f"e{place + draw(st.integers(-3, 2))}"
            new = _new(f"r{place}", "event_retracted", recorded_us, {"event_id": name})
        else:
            decision_id = f"d{draw(st.integers(0, max(0, decisions - 1)))}"
            new = _post(draw, what, decision_id, recorded_us)
        stored = Event(
            LEAD,
            1,
            place + 1,
            Position(place + 1),
            new.id,
            new.type,
            new.at_us,
            recorded_us,
            new.data,
            payload=new.payload,
        )
        if stored.id not in {each.id for each in events}:
            stored.version = len(events) + 1
            events.append(stored)
    return events


def _decision(draw: st.DrawFn, number: int, at_us: int) -> NewEvent:
    made = a_decision(
        f"d{number}",
        deferred=draw(st.sampled_from([False, False, True])),
        policy=draw(st.sampled_from(["offers", "offers", "tone"])),
        rules=draw(st.lists(st.sampled_from(_RULES), max_size=3, unique_by=id)),
        wait_s=60,
        default=draw(st.sampled_from([0.0, -1.0])),
        aggregation=draw(st.sampled_from(["earliest", "latest", "sum", "max", "mean"])),
        attribution=draw(st.sampled_from(["last", "first", "all"])),
    )
    return decision_event(LEAD, made, at_us - draw(st.sampled_from([0, 0, 2 * SECOND])))


def _outside(draw: st.DrawFn, place: int, recorded_us: int) -> NewEvent:
    at_us = recorded_us - draw(
        st.sampled_from([0, 1, SECOND, 5 * SECOND, 30 * SECOND, -SECOND, -4 * SECOND, -20 * SECOND])
    )
    kind = draw(st.sampled_from([PURCHASE, PURCHASE, MESSAGE, MESSAGE, LOGIN]))
    data: dict[str, Any] = {PURCHASE: {"amount": draw(st.integers(0, 1000))}, LOGIN: {}}.get(
        kind, {"conversation_id": "c"}
    )
    if kind == MESSAGE and draw(st.booleans()):
        data["sentiment"] = draw(st.sampled_from([0.1, 0.5, 1.0]))
    return _new(f"e{place}", kind, at_us, data)


def _post(draw: st.DrawFn, what: str, decision_id: str, at_us: int) -> NewEvent:
    if what == "a":
        return activation_event(LEAD, decision_id, at_us)
    reward_id = draw(st.sampled_from(["a", "b", "c"]))
    return reward_event(
        LEAD, RewardReceived(decision_id, reward_id, draw(st.sampled_from([-1.0, 0.0, 0.1, 3.0]))), at_us
    )


def _new(name: str, kind: str, at_us: int, data: dict[str, Any]) -> NewEvent:
    return NewEvent(LEAD, name, kind, at_us, json.dumps(data).encode(), None)
