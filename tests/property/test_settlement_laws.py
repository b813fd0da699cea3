"""Settlements are a function of the log: whatever the clock, restarts and lost confirmations do in between."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bandit.events import RewardSettled
from bandit.ledger import SETTLE_GRACE_US, LedgerKind
from eventstore.event import Event, NewEvent
from projections.companion import Companions, _before, is_first
from tests.property.settlements import Fate, fates, logs
from tests.unit.bandit.logs import LEAD, NOON, types_of

KIND = LedgerKind(types_of)
END_US = NOON + 10**12


class Living:
    """A lead's companions as a service keeps them: told events, asked for effects, stopped and started again."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.companions: Companions | None = None
        self.log: dict[str, NewEvent] = {}

    def fold(self, event: Event) -> None:
        if is_first([KIND], event):
            self.companions = self.companions or Companions(LEAD, [KIND])
            self.companions.start(event, *_before(self.told))
        self.told.append(event)
        if self.companions is not None:
            self.companions.fold(event)

    def look(self, now_us: int, *, is_confirmed: bool) -> None:
        if self.companions is None:
            return
        effects = self.companions.effects(now_us)
        for each in effects:
            known = self.log.setdefault(each.id, each)
            assert (known.data, known.at_us, known.stream) == (each.data, each.at_us, each.stream)
        if is_confirmed:
            self.companions.written(effects)

    def restart(self, *, from_nothing: bool) -> None:
        if self.companions is None:
            return
        if from_nothing:
            told, self.told, self.companions = self.told, [], None
            for event in told:
                self.fold(event)
            return
        dumped = msgspec.msgpack.decode(msgspec.msgpack.encode(self.companions.dump()))
        self.companions = Companions(LEAD, [KIND]) if dumped else None
        if self.companions is not None:
            self.companions.load(dumped)


def lived(events: list[Event], data: st.DataObject | None = None) -> Living:
    living = Living()
    for place, event in enumerate(events):
        living.fold(event)
        if data is None:
            continue
        next_us = events[place + 1].recorded_us if place + 1 < len(events) else END_US
        for what in data.draw(st.lists(st.sampled_from(["look", "lose", "restart", "refold"]), max_size=2)):
            if what in ("look", "lose"):
                now_us = data.draw(
                    st.integers(event.recorded_us, min(next_us, event.recorded_us + 10**8) + SETTLE_GRACE_US)
                )
                living.look(now_us, is_confirmed=what == "look")
            else:
                living.restart(from_nothing=what == "refold")
    for _ in range(3):
        living.look(END_US, is_confirmed=True)
    return living


def told(living: Living) -> dict[str, Fate]:
    found: dict[str, Fate] = {}
    early: dict[str, float] = {}
    for event in living.log.values():
        settled: RewardSettled = event.payload
        if settled.kind == "provisional":
            early[settled.decision_id] = settled.reward
        else:
            found[settled.decision_id] = Fate(settled.kind, settled.settled_us, [settled.reward], None)
    for name, value in early.items():
        found[name].provisional = value
    return found


@given(logs())
@settings(max_examples=250, deadline=None)
def test_settlements_are_what_the_specification_says(events: list[Event]) -> None:
    expected = {
        name: Fate(fate.kind, fate.at_us, fate.values[:1], fate.provisional) for name, fate in fates(events).items()
    }
    found = told(lived(events))
    assert found == expected
    assert found.keys() == {event.payload.decision_id for event in events if event.type == "decision_made"}


@given(logs(), st.data())
@settings(max_examples=150, deadline=None)
def test_clock_restarts_and_lost_confirmations_change_no_settlement(events: list[Event], data: st.DataObject) -> None:
    assert {name: each.data for name, each in lived(events, data).log.items()} == {
        name: each.data for name, each in lived(events).log.items()
    }
