"""Alerts of one lead: raised once, over when it is over, quiet after old news."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from eventstore.event import NewEvent
from eventstore.types import EventTypes
from kernel.times import HOUR_US, SECOND_US
from scoring.alert_rules import CompiledRule
from scoring.alerts import AlertBook, AlertBookKind, Look, acknowledged_event, look, resolved_event
from scoring.events import SCORING_TYPES, AlertRule
from tests.unit.scoring.leads import CATALOGUE, NOW_US, STREAM, stored

TYPES = EventTypes(SCORING_TYPES)


def compiled(name: str = "quiet", **fields: Any) -> CompiledRule:
    rule = AlertRule(**{"when": "rfm.recency_days > 10", "cooldown_s": 3600, "severity": "high", **fields})
    return CompiledRule(name, 1, rule, CATALOGUE)


class Watched:
    """One lead, its alert book, and rules."""

    def __init__(self, *rules: CompiledRule) -> None:
        self.rules: Sequence[CompiledRule] = rules or (compiled(),)
        self.book: AlertBook | None = None
        self.hushed: set[str] = set()
        self.version = 0

    def append(self, *events: NewEvent) -> None:
        for event in events:
            self.version += 1
            if self.book is None and event.type in AlertBookKind.starters:
                self.book = AlertBookKind().new(STREAM, (), ())
            if self.book is not None:
                self.book.fold(stored(event, self.version))

    def look(self, values: Mapping[str, Any], after_us: int = 0, **options: Any) -> Look:
        found = look(STREAM, self.rules, self.book, values.get, NOW_US + after_us, hushed=self.hushed, **options)
        self.append(*found.events)
        return found

    def types(self, days: int | None, after_us: int = 0, **options: Any) -> list[str]:
        return [event.type for event in self.look({"rfm:recency_days": days}, after_us, **options).events]


def test_an_alert_is_raised_once_while_its_rule_holds() -> None:
    watched = Watched()
    assert watched.types(5) == []
    assert watched.types(11) == ["alert_raised"]
    assert watched.types(12, 2 * HOUR_US) == []


def test_an_alert_says_what_it_is_about() -> None:
    (raised,) = Watched(compiled(sinks=("ops",))).look({"rfm:recency_days": 11}).events
    assert (raised.payload.rule, raised.payload.severity, raised.payload.episode) == ("quiet", "high", 1)
    assert (raised.payload.when, raised.payload.sinks) == ("rfm.recency_days > 10", ("ops",))
    assert raised.payload.values == {"rfm:recency_days": 11}
    assert TYPES.payload_of(stored(raised, 1)) == raised.payload


def test_an_alert_ends_by_itself_when_its_rule_no_longer_holds() -> None:
    watched = Watched()
    watched.types(11)
    (resolved,) = watched.look({"rfm:recency_days": 1}).events
    assert (resolved.type, resolved.payload.by) == ("alert_resolved", "itself")
    assert watched.types(1) == []


def test_a_value_that_becomes_null_ends_it_too() -> None:
    watched = Watched()
    watched.types(11)
    assert watched.types(None) == ["alert_resolved"]


def test_hysteresis_keeps_it_open_between_two_values() -> None:
    watched = Watched(compiled(until="rfm.recency_days < 5"))
    watched.types(11)
    assert watched.types(7) == []
    assert watched.types(11) == []
    assert watched.types(4) == ["alert_resolved"]


def test_another_alert_waits_for_the_cooldown_and_says_until_when() -> None:
    watched = Watched()
    watched.types(11)
    watched.types(1, SECOND_US)
    found = watched.look({"rfm:recency_days": 11}, 2 * SECOND_US)
    assert (found.events, found.due_us) == ([], NOW_US + HOUR_US)
    assert watched.types(11, HOUR_US - 1) == []
    (again,) = watched.look({"rfm:recency_days": 11}, HOUR_US).events
    assert (again.type, again.payload.episode) == ("alert_raised", 2)


def test_what_a_person_resolved_is_not_raised_before_the_cooldown() -> None:
    watched = Watched()
    watched.types(11)
    watched.append(resolved_event(STREAM, "quiet", 1, "person", NOW_US + 1))
    assert watched.types(11, 2) == []
    assert watched.types(11, HOUR_US) == ["alert_raised"]


def test_old_news_raises_nothing_until_the_rule_has_not_held_for_once() -> None:
    watched = Watched()
    assert watched.types(11, is_old_news=True) == []
    assert watched.types(12) == []
    assert watched.types(3) == []
    assert watched.types(11) == ["alert_raised"]


def test_old_news_ends_alerts() -> None:
    watched = Watched()
    watched.types(11)
    assert watched.types(1, is_old_news=True) == ["alert_resolved"]


def test_an_alert_whose_rule_is_gone_ends() -> None:
    watched = Watched()
    watched.types(11)
    watched.rules = ()
    (resolved,) = watched.look({"rfm:recency_days": 11}).events
    assert (resolved.type, resolved.payload.by) == ("alert_resolved", "rule")
    assert watched.look({}).events == []


def test_rules_do_not_disturb_each_other() -> None:
    watched = Watched(compiled("a"), compiled("b", when="rfm.recency_days > 20"))
    assert [e.payload.rule for e in watched.look({"rfm:recency_days": 15}).events] == ["a"]
    assert [e.payload.rule for e in watched.look({"rfm:recency_days": 25}).events] == ["b"]
    assert [e.payload.rule for e in watched.look({"rfm:recency_days": 15}).events] == ["b"]


def test_predictions_are_read_by_their_names() -> None:
    watched = Watched(compiled(when="prediction.churn_risk_30d > 0.6 && rfm.recency_days >= 0"))
    assert watched.look({"prediction:churn_risk_30d": 0.7, "rfm:recency_days": 0}).events != []
    assert watched.look({"prediction:churn_risk_30d": None, "rfm:recency_days": 0}).events[0].type == "alert_resolved"


def test_looking_twice_before_the_log_has_it_gives_the_same_ids() -> None:
    values = {"rfm:recency_days": 11}
    first, second = (look(STREAM, [compiled()], None, values.get, NOW_US + after) for after in (0, 5))
    assert [event.id for event in first.events] == [event.id for event in second.events]


def test_acknowledging_leaves_the_alert_open() -> None:
    watched = Watched()
    watched.types(11)
    watched.append(acknowledged_event(STREAM, "quiet", 1, NOW_US))
    assert watched.book is not None
    assert watched.book.open_rules() == ["quiet"]


def test_the_book_reads_back_what_it_wrote() -> None:
    watched = Watched(compiled("a"), compiled("b"))
    watched.look({"rfm:recency_days": 15})
    assert watched.book is not None
    watched.append(resolved_event(STREAM, "b", 1, "person", NOW_US))
    again = AlertBookKind().load(STREAM, msgspec.msgpack.decode(msgspec.msgpack.encode(watched.book.dump())))
    assert again.open_rules() == ["a"]
    assert again.episode("b") == watched.book.episode("b")
    assert (again.due_us(), again.effects(NOW_US)) == (None, [])
    with pytest.raises(ValueError, match="Expected"):
        AlertBookKind().load(STREAM, {"a": 1})


def test_what_is_no_alert_is_passed_over() -> None:
    book = AlertBookKind().new(STREAM, (), ())
    broken = stored(resolved_event(STREAM, "quiet", 1, "person", NOW_US), 1)
    broken.data = b"{}"
    book.fold(broken)
    book.fold(stored(resolved_event(STREAM, "quiet", 1, "person", NOW_US), 2))
    assert book.open_rules() == []
