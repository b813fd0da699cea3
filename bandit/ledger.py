"""The ledger of a stream's decisions: a companion that knows which are open, counts their rewards, and settles them.

Enters: every event of the stream, by version. Leaves: settlements, for the policies' streams. What a decision settles
at follows from the log alone:

- a rule counts an outside event whose time lies in (decision, decision + within] and which was recorded by the deadline, the
  decision's time + wait; an event of the future counts from its time on;
- an event that is retracted by the deadline never counted; one that is retracted later did;
- a posted reward counts if it was recorded by the deadline; recorded again under its id, it is revised, at its place;
- ``earliest`` settles at the first reward, everything else at the deadline;
- a deferred decision keeps its rewards, and settles as soon as it is activated and anything else would have; not
  activated by the deadline, it expires;
- of several open decisions of one policy that an event rewards, each takes it or leaves it by its own attribution:
  the last made, the first, or all.

The clock only says when to look: effects are named ``SETTLE_GRACE_US`` after their deadline, when all that was recorded
by it has been delivered, so it makes no difference how late the service looks. State: open decisions with the bytes of
their event, the last week's choices (for limits per lead), ids that are retracted, and settlements not written yet.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from bandit.events import (
    DECISION_ACTIVATED,
    DECISION_MADE,
    REWARD_RECEIVED,
    DecisionActivated,
    DecisionMade,
    RewardReceived,
    SettlementKind,
    decode_decision,
    decode_settlement,
    payload_of,
    policy_stream,
    settlement_event,
)
from bandit.policy import DAY_S, wait_us
from bandit.rewards import RuleBook, in_window
from bandit.settling import settlement
from eventstore.event import Event, NewEvent, Stream
from eventstore.retraction import retracted_by
from eventstore.system import EVENT_RETRACTED, is_system_id
from eventstore.types import EventTypes
from kernel.ids import Position
from kernel.times import SECOND_US

WEEK_US: Final = 7 * DAY_S * SECOND_US
#: After a deadline, until what was recorded by it is surely delivered.
SETTLE_GRACE_US: Final = 5 * SECOND_US
_BEFORE: Final = -(1 << 62)
_NEVER: Final = 1 << 62
# Named at once; the rest is due when these are written.
_EFFECTS_MAX: Final = 200
_CLOSED_KEPT: Final = 32


class Counted(msgspec.Struct, array_like=True, gc=False):
    """A reward that counts so far. ``cause`` is the event behind it by a rule, None for one that was posted."""

    id: str
    value: float
    at_us: int
    cause: str | None = None
    is_surrogate: bool = False


class OpenDecision:
    """A decision that is not settled. ``data`` is its event's; ``rewards`` are in the order in which they were recorded."""

    __slots__ = ("_made", "at_us", "data", "deadline_us", "is_active", "is_taught", "rewards")

    def __init__(self, data: bytes, made: DecisionMade, at_us: int) -> None:
        self.data, self.at_us = data, at_us
        self.deadline_us = at_us + wait_us(made.reward)
        self.is_active = not made.deferred
        self.is_taught = False
        self.rewards: list[Counted] = []
        self._made = made

    @property
    def made(self) -> DecisionMade:
        return self._made

    @property
    def learns(self) -> bool:
        """Whether what it settles at will teach the model, as things stand."""
        return self.is_active and self._made.reason != "holdout"


class Closed(msgspec.Struct, array_like=True, gc=False):
    """A decision that was settled lately. ``by`` is the reward that settled it at once; ``learns``: what it settled at teaches."""

    decision_id: str
    settled_us: int
    by: str | None
    learns: bool


class Choice(msgspec.Struct, array_like=True, gc=False):
    """What was chosen for the lead within the last week."""

    at_us: int
    policy: str
    arm: str
    channel: str | None


class _Ahead(msgspec.Struct, array_like=True, gc=False):
    """An outside event whose time is still to come."""

    at_us: int
    id: str
    type: str
    recorded_us: int
    data: bytes


class _SavedDecision(msgspec.Struct, array_like=True, gc=False):
    data: bytes
    at_us: int
    is_active: bool
    is_taught: bool
    rewards: list[Counted]


class _Saved(msgspec.Struct, array_like=True):
    clock_us: int
    open: list[_SavedDecision]
    ahead: list[_Ahead]
    retracted: list[str]
    choices: list[Choice]
    closed: list[Closed]
    effects: list[tuple[str, bytes]]  # policy and payload: the rest of the event follows from them


class WeekCounts(NamedTuple):
    """Decisions of one policy for one lead within the last seven days."""

    total: int
    arms: Counter[str]
    channels: Counter[str]


NO_DECISIONS: Final = WeekCounts(0, Counter(), Counter())


class Ledger:
    """The decisions of one stream.

    Attributes
    ----------
    open : by decision id, in the order in which they were recorded.
    """

    def __init__(
        self, stream: Stream, book: RuleBook, ahead: Iterable[Event] = (), awaited: Iterable[str] = ()
    ) -> None:
        self.stream = stream
        self.open: dict[str, OpenDecision] = {}
        self._book = book
        self._clock_us = _BEFORE
        self._next_us: int | None = None  # what _next said, until something is opened, closed, or put ahead
        self._ahead = [_ahead(event) for event in ahead]
        self._retracted = set(awaited)
        self._choices: list[Choice] = []
        self._closed: list[Closed] = []
        self._effects: dict[str, NewEvent] = {}

    # The companion.

    def fold(self, event: Event) -> None:
        self.reach(event.recorded_us)
        if is_system_id(event.id):
            self._system(event)
        elif event.type == EVENT_RETRACTED:
            self._retract(retracted_by(event))
        elif event.id not in self._retracted:
            if event.at_us > event.recorded_us:
                self._ahead.append(_ahead(event))
                self._next_us = None
            elif self.open:
                self._reward(event, event.recorded_us)

    def due_us(self) -> int | None:
        if self._effects:
            return min(effect.at_us for effect in self._effects.values())
        return self._next() + SETTLE_GRACE_US if self.open else None

    def effects(self, now_us: int) -> list[NewEvent]:
        self.reach(now_us - SETTLE_GRACE_US)
        return list(self._effects.values())[:_EFFECTS_MAX]

    def written(self, events: Sequence[NewEvent]) -> None:
        for event in events:
            self._effects.pop(event.id, None)

    def dump(self) -> Any | None:
        choices = [each for each in self._choices if each.at_us > self._clock_us - WEEK_US]
        if not (self.open or self._effects or choices):
            return None  # what is ahead or retracted, a new companion is told
        saved = _Saved(
            clock_us=self._clock_us,
            open=[_SavedDecision(d.data, d.at_us, d.is_active, d.is_taught, d.rewards) for d in self.open.values()],
            ahead=self._ahead,
            retracted=sorted(self._retracted),
            choices=choices,
            closed=self._closed,
            effects=[(effect.stream.id, effect.data) for effect in self._effects.values()],
        )
        return msgspec.to_builtins(saved, builtin_types=(bytes,))

    # Questions.

    def week(self, policy: str, at_us: int) -> WeekCounts:
        """What was decided for this lead in (at − 7 days, at]."""
        chosen = [each for each in self._choices if each.policy == policy and at_us - WEEK_US < each.at_us <= at_us]
        channels = Counter(each.channel for each in chosen if each.channel is not None)
        return WeekCounts(len(chosen), Counter(each.arm for each in chosen), channels)

    def closed(self, decision_id: str) -> Closed | None:
        """A decision that was settled lately; None for any other, also one settled long ago."""
        return next((each for each in self._closed if each.decision_id == decision_id), None)

    # Time.

    def reach(self, at_us: int) -> None:
        """Let time come to an instant: what waited for it counts, and what was due before it settles, in order."""
        if at_us <= self._clock_us:
            return
        self._clock_us = at_us
        if at_us < self._next():
            return
        self._next_us = None
        while True:
            ahead = min(self._ahead, key=lambda each: (each.at_us, each.id), default=None)
            first = min(self.open.values(), key=lambda each: each.deadline_us, default=None)
            if ahead is not None and ahead.at_us <= at_us and (first is None or ahead.at_us <= first.deadline_us):
                self._ahead.remove(ahead)
                self._reward(_event(self.stream, ahead), ahead.at_us)
            elif first is not None and first.deadline_us < at_us:
                self._settle(first, first.deadline_us, None)
            else:
                break

    def _next(self) -> int:
        """The first instant that changes anything if nothing else happens. Asked for with each event of the lead."""
        if self._next_us is None:
            deadlines = [decision.deadline_us + 1 for decision in self.open.values()]
            self._next_us = min([*deadlines, *(each.at_us for each in self._ahead)], default=_NEVER)
        return self._next_us

    # Events of the system.

    def _system(self, event: Event) -> None:
        if event.type not in (DECISION_MADE, DECISION_ACTIVATED, REWARD_RECEIVED):
            return
        try:
            payload = payload_of(event)
        except msgspec.MsgspecError:  # written by another version: its reader says so, this fold goes on
            return
        if isinstance(payload, DecisionMade):
            self._make(event, payload)
        elif isinstance(payload, DecisionActivated):
            self._activate(payload.decision_id, event.recorded_us)
        elif isinstance(payload, RewardReceived):
            decision = self.open.get(payload.decision_id)
            if decision is not None:
                self._count(decision, Counted(payload.id, payload.value, event.at_us), event.recorded_us)

    def _make(self, event: Event, made: DecisionMade) -> None:
        if self._choices and self._choices[0].at_us <= event.recorded_us - WEEK_US:
            self._choices = [each for each in self._choices if each.at_us > event.recorded_us - WEEK_US]
        self._choices.append(Choice(event.at_us, made.policy, made.arm, made.channel))
        opened = self.open[made.decision_id] = OpenDecision(event.data, made, event.at_us)
        if self._next_us is not None:
            self._next_us = min(self._next_us, opened.deadline_us + 1)

    def _activate(self, decision_id: str, at_us: int) -> None:
        decision = self.open.get(decision_id)
        if decision is not None and not decision.is_active:
            decision.is_active = True
            self._learn_early(decision, at_us)

    # Rewards.

    def _reward(self, event: Event, at_us: int) -> None:
        """Let an outside event reward the open decisions whose rules are about it; ``at_us``: when it begins to count."""
        found = [
            (decision, counted)
            for decision in self.open.values()
            if decision.at_us < event.at_us and (counted := self._rewards_of(decision, event))
        ]
        for decision, counted in found:
            made = decision.made
            rivals = [other for other, _ in found if other.made.policy == made.policy]
            if _takes(made.reward.attribution, decision, rivals):
                for each in counted:
                    if made.decision_id in self.open:  # ``earliest``: the first rule's settled it
                        self._count(decision, each, at_us)

    def _rewards_of(self, decision: OpenDecision, event: Event) -> list[Counted]:
        return [
            Counted(f"~{event.id}/{number}", value, event.at_us, event.id, rule.surrogate)
            for number, rule in enumerate(decision.made.reward.rules)
            if rule.on == event.type
            and in_window(rule, decision.at_us, event.at_us)
            and (value := self._book.value(rule, event)) is not None
        ]

    def _count(self, decision: OpenDecision, reward: Counted, at_us: int) -> None:
        place = next((i for i, each in enumerate(decision.rewards) if each.id == reward.id), None)
        if place is None:
            decision.rewards = [*decision.rewards, reward]
        else:
            decision.rewards[place] = reward
        if decision.is_active:
            self._learn_early(decision, at_us)

    def _learn_early(self, decision: OpenDecision, at_us: int) -> None:
        if not decision.rewards:
            return
        if decision.made.reward.aggregation == "earliest":
            self._settle(decision, at_us, decision.rewards[0].id)
        elif not decision.is_taught and any(each.is_surrogate for each in decision.rewards):
            decision.is_taught = True
            self._name(decision, "provisional", at_us)

    def _retract(self, event_id: str) -> None:
        self._retracted.add(event_id)
        self._next_us = None
        self._ahead = [each for each in self._ahead if each.id != event_id]
        for decision in self.open.values():
            if any(each.cause == event_id for each in decision.rewards):
                decision.rewards = [each for each in decision.rewards if each.cause != event_id]

    # Settlements.

    def _settle(self, decision: OpenDecision, at_us: int, by: str | None) -> None:
        made = decision.made
        del self.open[made.decision_id]
        self._next_us = None
        self._closed = [*self._closed, Closed(made.decision_id, at_us, by, decision.learns)][-_CLOSED_KEPT:]
        self._name(decision, "final" if decision.is_active else "expired", at_us)

    def _name(self, decision: OpenDecision, kind: SettlementKind, at_us: int) -> None:
        values = [each.value for each in decision.rewards]
        settled = settlement(decision.made, kind, decided_us=decision.at_us, settled_us=at_us, values=values)
        event = settlement_event(policy_stream(self.stream.org, decision.made.policy), settled)
        self._effects[event.id] = event


class LedgerKind:
    """Makes the ledgers of all streams: handed to the folds of leads and of decisions."""

    name = "decisions"
    starters = frozenset({DECISION_MADE})

    def __init__(self, types_of: Callable[[str], EventTypes]) -> None:
        self._book = RuleBook(types_of)

    @property
    def book(self) -> RuleBook:
        return self._book

    def new(self, stream: Stream, waiting: Sequence[Event], awaited: Iterable[str]) -> Ledger:
        return Ledger(stream, self._book, waiting, awaited)

    def load(self, stream: Stream, dumped: Any) -> Ledger:
        """Raises ``ValueError``."""
        try:
            saved = msgspec.convert(dumped, _Saved, builtin_types=(bytes,))
            return _loaded(Ledger(stream, self._book), saved)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from error


def _takes(attribution: str, decision: OpenDecision, rivals: Sequence[OpenDecision]) -> bool:
    match attribution:
        case "all":
            return True
        case "first":
            return decision is min(rivals, key=lambda each: each.at_us)
        case _:
            return decision is max(reversed(rivals), key=lambda each: each.at_us)


def _loaded(ledger: Ledger, saved: _Saved) -> Ledger:
    ledger._clock_us = saved.clock_us
    for each in saved.open:
        decision = OpenDecision(each.data, decode_decision(each.data), each.at_us)
        decision.is_active, decision.is_taught, decision.rewards = each.is_active, each.is_taught, each.rewards
        ledger.open[decision.made.decision_id] = decision
    ledger._ahead, ledger._retracted = saved.ahead, set(saved.retracted)
    ledger._choices, ledger._closed = saved.choices, saved.closed
    for policy, data in saved.effects:
        event = settlement_event(policy_stream(ledger.stream.org, policy), decode_settlement(data))
        ledger._effects[event.id] = event
    return ledger


def _ahead(event: Event) -> _Ahead:
    return _Ahead(event.at_us, event.id, event.type, event.recorded_us, event.data)


def _event(stream: Stream, ahead: _Ahead) -> Event:
    return Event(stream, 0, 0, Position(0), ahead.id, ahead.type, ahead.at_us, ahead.recorded_us, ahead.data)
