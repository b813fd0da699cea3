"""Laws of scoring: contributions add up, an alert is raised once, a lead's book follows from its log alone."""

from itertools import pairwise
from math import fsum
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.event import Event, NewEvent
from eventstore.retraction import effective
from kernel.settings_scoring import CategoryWeights
from kernel.times import DAY_US, HOUR_US
from scoring.alert_rules import CompiledRule
from scoring.alerts import AlertBookKind, look, resolved_event
from scoring.events import AlertRule
from scoring.explanation import OTHER, Explanation, by_logits, by_rules
from scoring.model import PredictionType
from scoring.outcomes import CALLS, CHURN, Future, Outcome, conversion
from scoring.points import CATEGORIES
from scoring.prediction import made_event
from scoring.rules import rule_score
from scoring.trained import Models, Trained
from tests.unit.scoring.leads import (
    CATALOGUE,
    FEATURES,
    INTERACTIONS,
    KEEN,
    NOW_US,
    STREAM,
    Closing,
    Linear,
    Network,
    book_kind,
    card,
    event,
    lead,
    models,
    scorer,
    stored,
)

SOME = settings(max_examples=60, deadline=None)
NUMBERS = st.floats(-50, 50, allow_nan=False)


def total(explanation: Explanation) -> float:
    return fsum((explanation.base, *(item.contribution for item in explanation.items)))


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    """Values of the features that the rules score, null and absent ones among them."""
    found: dict[str, Any] = {}
    for category in CATEGORIES:
        for scored in category.scored:
            words = [line.operand for line in scored.lines if isinstance(line.operand, str)]
            one = st.sampled_from(words) if words else st.integers(0, 40) | st.floats(0, 3)
            if draw(st.booleans()):
                found[scored.feature] = draw(st.none() | one)
    return found


# Contributions.


@given(
    base=st.floats(0, 100),
    score=st.floats(0, 100),
    logits=st.lists(st.floats(-1e3, 1e3, allow_nan=False), max_size=30),
    most=st.integers(1, 20),
)
@SOME
def test_scaled_contributions_add_up_whatever_the_model_says(
    base: float, score: float, logits: list[float], most: int
) -> None:
    names = [f"f:{place}" for place in range(len(logits))]
    found = by_logits(base, score, names, np.array(logits), {}, most)
    assert total(found) == pytest.approx(score, abs=1e-6)
    named = [item for item in found.items if item.feature != OTHER]
    assert len(named) <= most
    sizes = [abs(item.contribution) for item in named]
    assert sizes == sorted(sizes, reverse=True)


@given(known=values(), most=st.integers(1, 40))
@SOME
def test_the_rules_contributions_and_breakdown_add_up_to_a_score_within_bounds(
    known: dict[str, Any], most: int
) -> None:
    scored = rule_score(known, CategoryWeights())
    assert -1e-9 <= scored.score <= 100 + 1e-9
    assert total(by_rules(scored, most)) == pytest.approx(scored.score, abs=1e-6)
    assert fsum(msgspec.structs.astuple(scored.breakdown)) == pytest.approx(scored.score, abs=1e-6)


@given(
    weights=st.lists(NUMBERS, min_size=len(FEATURES.columns), max_size=len(FEATURES.columns)),
    base=NUMBERS,
    known=values(),
)
@SOME
def test_contributions_of_every_type_add_up_for_any_model_and_lead(
    weights: list[float], base: float, known: dict[str, Any]
) -> None:
    law = dict(zip(FEATURES.columns, weights, strict=True))
    linear = Linear(FEATURES, law, base)
    trained = Models(
        Trained("c", card(), FEATURES, linear),
        Trained("t", card("time_to_close"), FEATURES, Closing(FEATURES, law, base)),
        Trained("m", card("multitask"), FEATURES, Network(FEATURES, linear, linear)),
    )
    for each in scorer(trained).predict([lead(known)], because="request")[0].predictions:
        assert total(each.explanation) == pytest.approx(each.score, abs=1e-6)
        assert 0 <= each.priority <= 100
        assert 0 <= each.confidence <= 1


# Alerts.

STEPS = st.tuples(
    st.sampled_from(["look", "old news", "person", "sleep"]),
    st.none() | st.integers(0, 14),
    st.integers(0, 2 * HOUR_US),
)


@given(
    steps=st.lists(STEPS, max_size=40),
    cooldown_s=st.sampled_from([0, 600, 3600]),
    until=st.none() | st.just("rfm.recency_days < 5"),
)
@SOME
def test_an_alert_is_never_raised_twice_without_being_resolved(
    steps: list[tuple[str, int | None, int]], cooldown_s: int, until: str | None
) -> None:
    rule = CompiledRule("quiet", 1, AlertRule("rfm.recency_days > 9", "high", cooldown_s, (), until), CATALOGUE)
    kind, hushed, now_us = AlertBookKind(), set[str](), NOW_US
    book, log = kind.new(STREAM, (), ()), list[NewEvent]()

    def append(events: list[NewEvent]) -> None:
        for new in events:
            log.append(new)
            book.fold(stored(new, len(log)))

    for what, days, passed_us in steps:
        now_us += passed_us
        episode = book.episode("quiet")
        if what == "sleep":
            book = kind.load(STREAM, msgspec.msgpack.decode(msgspec.msgpack.encode(book.dump())))
        elif what == "person":
            append([] if episode is None else [resolved_event(STREAM, "quiet", episode.number, "person", now_us)])
        else:
            known = {"rfm:recency_days": days}
            append(look(STREAM, [rule], book, known.get, now_us, hushed=hushed, is_old_news=what == "old news").events)
    raised = [new for new in log if new.type == "alert_raised"]
    assert len({new.id for new in raised}) == len(raised)
    assert [new.payload.episode for new in raised] == list(range(1, len(raised) + 1))
    for one, other in pairwise(raised):
        assert other.at_us - one.at_us >= cooldown_s * 1_000_000
        between = log[log.index(one) + 1 : log.index(other)]
        assert any(new.type == "alert_resolved" and new.payload.episode == one.payload.episode for new in between)


# The book.

TRAINED = models()
OUTCOMES: dict[PredictionType, Outcome] = {
    "CONVERSION": conversion(),
    "TIME_TO_CLOSE": conversion(),
    "CHURN": CHURN,
    "CALL_RISK": CALLS,
}
TYPES = st.sampled_from(
    [
        "login",
        "inbound_call",
        "deal_won",
        "subscription_cancelled",
        "campaign_received",
        "event_retracted",
        "prediction",
    ]
)


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """A lead's log from a prediction on: recorded in order, some events late, some a little ahead of their time."""
    log: list[Event] = []
    recorded_us = NOW_US
    drawn = [
        ("prediction", 0, 0, 0),
        *draw(st.lists(st.tuples(TYPES, st.integers(0, 50), st.integers(-3, 30), st.integers(0, 9)), max_size=25)),
    ]
    names: set[str] = set()
    for event_type, hours, late, name in drawn:
        version = len(log) + 1
        recorded_us += hours * HOUR_US
        if event_type == "prediction":
            recorded_us += 1  # a second one for the same time would be the first one again
            made = scorer(TRAINED).predict([lead(KEEN, recorded_us)], because="request")[0]
            log.append(stored(made_event(STREAM, made, recorded_us), version, recorded_us))
            continue
        event_id = f"r{version}" if event_type == "event_retracted" else f"e{name}"
        if event_id in names:
            continue
        names.add(event_id)
        # Late by days, or early by a minute; both on whole hours otherwise, so that bounds are met.
        at_us = recorded_us - late * DAY_US if late >= 0 else recorded_us + 60_000_000
        data = {"event_id": f"e{name}"} if event_type == "event_retracted" else {}
        one = event(version, event_type, at_us, event_id=event_id, recorded_us=recorded_us)
        one.data = msgspec.json.encode(data)
        log.append(one)
    return log


@given(log=logs(), sleeps=st.sets(st.integers(0, 30)))
@settings(max_examples=80, deadline=None)
def test_a_book_follows_from_the_log_alone_under_snapshots(log: list[Event], sleeps: set[int]) -> None:
    kind = book_kind()
    straight, sleepy = kind.new(STREAM, (), ()), kind.new(STREAM, (), ())
    for each in log:
        straight.fold(each)
        sleepy.fold(each)
        if each.version in sleeps:
            sleepy = kind.load(STREAM, msgspec.msgpack.decode(msgspec.msgpack.encode(sleepy.dump())))
    assert sleepy.dump() == straight.dump()
    assert sleepy.values() == straight.values()
    assert sleepy.due_us() == straight.due_us()
    end_us = NOW_US + 400 * DAY_US
    assert sleepy.effects(end_us) == straight.effects(end_us)


@given(log=logs())
@settings(max_examples=80, deadline=None)
def test_verdicts_are_what_training_would_have_learnt_of_the_same_log(log: list[Event]) -> None:
    book = book_kind().new(STREAM, (), ())
    for each in log:
        book.fold(each)
    future = Future(effective(log).events, INTERACTIONS)
    verdicts = book.effects(NOW_US + 400 * DAY_US)
    assert len(verdicts) == 5 * sum(each.type == "prediction_made" for each in log)
    for new in verdicts:
        validated = new.payload
        if validated.type == "CHURN":
            until_us = validated.made_us + 30 * DAY_US
            is_gone = not future.interactions(validated.made_us, until_us)  # the predictions say that it was active
            came = bool(future.count(CHURN.types, validated.made_us, until_us)) or is_gone
        elif validated.type == "HEALTH":
            continue
        else:
            came = OUTCOMES[validated.type].of(future, validated.made_us)
        assert validated.verdict.outcome == came, validated
