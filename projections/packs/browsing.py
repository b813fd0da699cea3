"""Browsing: what a visitor of a listing site does with its items."""

from dataclasses import dataclass
from typing import Literal

from eventstore.fields import Text
from eventstore.types import Payload
from kernel.settings import OrgSettings
from kernel.times import HOUR_US
from projections.expressions import Expr, apply, when
from projections.instants import days_between, since
from projections.language import Pack, View, Window, events
from projections.signals import HOUR, WEEKDAY

pack = Pack("browsing", "Views, clicks and inquiries on a listing site")

Action = Literal["view", "click", "inquiry", "message", "schedule"]
ACTIONS: tuple[Action, ...] = ("view", "click", "inquiry", "message", "schedule")


@pack.event(by="lead")
class Interaction(Payload, frozen=True):
    action: Action
    item: Text | None = None


@dataclass(frozen=True)
class WeightedMedian:
    """Median of values that occur with given counts; the mean of the middle two where they are even in number."""

    values: tuple[float, ...]

    def __call__(self, *counts: int) -> float:
        ordered = sorted(zip(self.values, counts, strict=True))
        total = sum(counts)
        return (self._at(ordered, (total - 1) // 2) + self._at(ordered, total // 2)) / 2

    def _at(self, ordered: list[tuple[float, int]], place: int) -> float:
        for value, count in ordered:
            if place < count:
                return float(value)
            place -= count
        raise ValueError("median of nothing")


interactions = events(Interaction)
by_action = {action: interactions.where("action", eq=action) for action in ACTIONS}


def _plain(weight: float) -> float:
    """A whole number as such: sums of them are whole, too."""
    return int(weight) if weight == int(weight) else weight


@pack.configured("interaction", "How the lead browses")
def interaction(view: View, settings: OrgSettings) -> None:
    browsing = settings.browsing
    weights = [_plain(getattr(browsing.engagement_weights, action)) for action in ACTIONS]
    counts = [by_action[action].count() for action in ACTIONS]
    total = interactions.count()
    opens, closes = browsing.business_hours
    sessions = interactions.sessions(gap=Window(round(browsing.max_interaction_gap_hours * HOUR_US), "gap"))
    first, last = interactions.first_time(), interactions.last_time()

    def known(expr: Expr) -> Expr:
        return when(total >= browsing.min_interactions, when(total > 0, expr))

    weight = sum((count * each for count, each in zip(counts, weights, strict=True)), start=counts[0] * 0)
    few = f"fewer than {browsing.min_interactions} interactions"

    view["total_interactions"] = known(total).doc("interactions", unit="interactions", null=few)
    view["unique_action_types"] = known(interactions.distinct("action").count()).doc("distinct actions", null=few)
    view["days_since_first"] = known(since(first)).doc("whole days since the first interaction", unit="days", null=few)
    view["days_since_last"] = known(since(last)).doc("whole days since the last interaction", unit="days", null=few)
    view["interaction_timespan_days"] = known(days_between(first, last)).doc(
        "whole days from the first to the last interaction", unit="days", range="0 or more", null=few
    )
    for action, count in zip(ACTIONS, counts, strict=True):
        view[f"{action}_frequency"] = known(count / total).doc(
            f"share of the interactions that are of action {action}", range="0 to 1", null=few
        )
    view["peak_hour"] = known(interactions.mode(HOUR)).doc(
        "most frequent local hour", unit="hour", range="0 to 23", null=few
    )
    view["peak_day"] = known(interactions.mode(WEEKDAY)).doc(
        "most frequent local weekday, 0 = Monday", unit="weekday", range="0 to 6", null=few
    )
    view["weekend_ratio"] = known(interactions.where(WEEKDAY, isin=(5, 6)).count() / total).doc(
        "share on Saturday or Sunday", range="0 to 1", null=few
    )
    view["business_hours_ratio"] = known(interactions.where(HOUR, ge=opens, lt=closes).count() / total).doc(
        f"share from {opens}:00 to {closes}:00 local time, any day", range="0 to 1", null=few
    )
    view["engagement_score_total"] = known(weight).doc("sum of the actions' weights", unit="points", null=few)
    view["engagement_score_avg"] = known(weight / total).doc("mean weight of an action", unit="points", null=few)
    view["engagement_score_median"] = known(apply(WeightedMedian(tuple(weights)), *counts, returns="float")).doc(
        "median weight of an action", unit="points", null=few
    )
    view["total_sessions"] = known(sessions.count()).doc(
        f"runs of interactions without a gap of more than {browsing.max_interaction_gap_hours:g} hours",
        unit="sessions",
        null=few,
    )
    view["avg_session_length_minutes"] = known(sessions.mean_minutes()).doc(
        "mean time from a session's first to its last interaction", unit="minutes", null=few
    )
    view["avg_actions_per_session"] = known(total / sessions.count()).doc(
        "interactions per session", unit="interactions", null=few
    )
