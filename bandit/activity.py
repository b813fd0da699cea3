"""What decisions are in the air: open ones by arm, and how often each arm was chosen today, of every policy.

Enter: ``decision_made`` and ``reward_settled`` as they are delivered, from whatever stream, perhaps more than once; at start the
newest of both, read by type. Leave: counts for budgets and figures. It is no part of a model, so it need not survive: it is
read again. A day begins at midnight in the organisation's time zone.

A decision is counted before its event is durable (``reserve``), so that decisions that are made at the same time
see each other's use of a budget; one that could not be written is given back (``release``).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from bandit.events import DECISION_MADE, REWARD_SETTLED, DecisionMade, RewardSettled
from eventstore.event import Event
from kernel.times import DAY_US
from projections.local_time import LocalTime

_SETTLED_KEPT: Final = 100_000


class PolicyKey(NamedTuple):
    """A policy of an organisation."""

    org: str
    policy: str


class _Today:
    """The choices of one local day, by decision."""

    def __init__(self, day: int) -> None:
        self.day = day
        self.arms: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def add(self, decision_id: str, arm: str) -> None:
        if decision_id not in self.arms:
            self.arms[decision_id] = arm
            self.counts[arm] += 1

    def remove(self, decision_id: str) -> None:
        arm = self.arms.pop(decision_id, None)
        if arm is not None:
            self.counts[arm] -= 1


class Activity:
    """Of all organisations.

    Parameters
    ----------
    local_of : the time zone of an organisation, asked once for each.
    """

    def __init__(self, local_of: Callable[[str], LocalTime]) -> None:
        self._local_of = local_of
        self._local: dict[str, LocalTime] = {}
        self._open: dict[PolicyKey, dict[str, str]] = {}
        self._pending: dict[PolicyKey, Counter[str]] = {}
        self._today: dict[PolicyKey, _Today] = {}
        self._settled: dict[tuple[str, str], None] = {}

    def fold(self, event: Event) -> None:
        """Take a delivered event, of any type."""
        if event.type == DECISION_MADE and (decision := _decision(event)) is not None:
            key = PolicyKey(event.stream.org, decision.policy)
            if decision.decision_id not in self._open.get(key, ()):  # else it was reserved here, at the same instant
                self.reserve(key, decision.decision_id, decision.arm, event.at_us)
        elif event.type == REWARD_SETTLED and (decision_id := settled_decision(event)) is not None:
            self._settle(PolicyKey(event.stream.org, event.stream.id), decision_id)

    def restore(self, made: Iterable[Event], settled: Iterable[Event]) -> None:
        """Take what was read by type at start, of one organisation: decisions back to the longest waiting time, or a day,
        and settlements as far.
        """
        over = {each for event in settled if (each := settled_decision(event)) is not None}
        self.restore_made(made, over)

    def restore_made(self, made: Iterable[Event], over: Collection[str]) -> None:
        """The same for some of the decisions of one organisation; ``over`` are ids of those that are settled."""
        for event in made:
            if (decision := _decision(event)) is not None:
                key = PolicyKey(event.stream.org, decision.policy)
                # One may have been settled while the others were read.
                is_open = decision.decision_id not in over and (key.org, decision.decision_id) not in self._settled
                self._count(key, decision.decision_id, decision.arm, event.at_us, is_open=is_open)

    def reserve(self, key: PolicyKey, decision_id: str, arm: str, at_us: int) -> None:
        """Count a decision; once, however often it is told."""
        self._count(key, decision_id, arm, at_us, is_open=(key.org, decision_id) not in self._settled)

    def _count(self, key: PolicyKey, decision_id: str, arm: str, at_us: int, *, is_open: bool) -> None:
        day = self._day(key.org, at_us)
        today = self._today.get(key)
        if today is None or today.day < day:
            today = self._today[key] = _Today(day)
        if today.day == day:
            today.add(decision_id, arm)
        opened = self._open.setdefault(key, {})
        if is_open and decision_id not in opened:
            opened[decision_id] = arm
            self._pending.setdefault(key, Counter())[arm] += 1

    def release(self, key: PolicyKey, decision_id: str) -> None:
        """Take back a decision that was not written."""
        self._close(key, decision_id)
        if key in self._today:
            self._today[key].remove(decision_id)

    def today(self, key: PolicyKey, at_us: int) -> Mapping[str, int]:
        """How often each arm was chosen on the day of an instant, today's; a later one has none yet."""
        today = self._today.get(key)
        return today.counts if today is not None and today.day == self._day(key.org, at_us) else {}

    def pending(self, key: PolicyKey) -> Mapping[str, int]:
        """Open decisions by arm, deferred ones included."""
        return +self._pending.get(key, Counter())

    def _settle(self, key: PolicyKey, decision_id: str) -> None:
        self._settled[key.org, decision_id] = None
        if len(self._settled) > _SETTLED_KEPT:
            del self._settled[next(iter(self._settled))]
        self._close(key, decision_id)

    def _close(self, key: PolicyKey, decision_id: str) -> None:
        arm = self._open.get(key, {}).pop(decision_id, None)
        if arm is not None:
            self._pending[key][arm] -= 1

    def _day(self, org: str, at_us: int) -> int:
        local = self._local.get(org)
        if local is None:
            local = self._local[org] = self._local_of(org)
        return local.local_us(at_us) // DAY_US


class _Made(msgspec.Struct, gc=False):
    """What is counted of a ``decision_made``."""

    decision_id: str
    policy: str
    arm: str


class _Settled(msgspec.Struct, gc=False):
    """What is counted of a ``reward_settled``."""

    decision_id: str
    kind: str


# Of many events that are read, a few fields: a fifth of the time of decoding all.
_MADE: Final = msgspec.json.Decoder(_Made)
_SETTLED: Final = msgspec.json.Decoder(_Settled)


def _decision(event: Event) -> _Made | DecisionMade | None:
    """The payload; None where it cannot be read: its own fold says so."""
    if isinstance(event.payload, DecisionMade):
        return event.payload
    try:
        return _MADE.decode(event.data)
    except msgspec.MsgspecError:
        return None


def settled_decision(event: Event) -> str | None:
    """The decision that a ``reward_settled`` settles for good; None for a provisional one."""
    try:
        found = event.payload if isinstance(event.payload, RewardSettled) else _SETTLED.decode(event.data)
    except msgspec.MsgspecError:
        return None
    return found.decision_id if found.kind != "provisional" else None
