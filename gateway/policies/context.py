"""What a decision knows of its lead: the columns of the policy's service, and whatever its conditions are about.

A service may be changed after a policy was defined: the policy's columns stay what they were, and are found by their
names among those of today; one that there is no more is null.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bandit.checking import CompiledPolicy
from bandit.learners.learner import FloatVector
from bandit.settling import Translation
from gateway.market import Market
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.scoring.predicting import book_of
from projections.entity import FoldedEntity
from projections.market import Span
from scoring.alert_rules import PREDICTION_PREFIX

_EMPTY = np.empty(0)
_NAN = float("nan")


class ContextPlan:
    """What to read for one version of a policy, under one version of its service.

    Attributes
    ----------
    subjects : of the market, that have to be read too.
    limits_weeks : whether what was decided for a lead before is to be known.
    """

    def __init__(self, policy: CompiledPolicy, span: Span | None, reads: Span | None) -> None:
        self.policy = policy
        self._span, self._reads = span, reads
        self._reads_predictions = any(name.startswith(PREDICTION_PREFIX) for name in policy.reads)
        week = policy.policy.guardrails.per_lead_week
        self.limits_weeks = week.total is not None or bool(week.arms) or bool(week.channels)
        given = () if span is None else span.column_names
        self._translation = Translation.between(given, policy.columns)
        both = [each for each in (span, reads) if each is not None]
        self.subjects = tuple(dict.fromkeys(subject for each in both for subject in each.subjects))

    def vector(self, entity: FoldedEntity, market: Mapping[str, Sequence[Any]]) -> FloatVector:
        """The numbers of the policy's columns, NaN for null. The entity was read."""
        if not self.policy.columns:
            return _EMPTY
        if self._span is None:
            return np.full(len(self.policy.columns), np.nan)
        numbers = self._span.vector(values_of(self._span, entity, market))
        # Half the time that numpy takes for a list of objects.
        packed = struct.pack(f"<{len(numbers)}d", *[_NAN if each is None else each for each in numbers])
        return self._translation.of(np.frombuffer(packed, dtype="<f8"))

    def conditions(self, entity: FoldedEntity, market: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """The values that the policy's conditions are about, by reference."""
        found: dict[str, Any] = {}
        if self._reads is not None:
            found |= zip(self._reads.names, values_of(self._reads, entity, market), strict=True)
        if self._reads_predictions and (book := book_of(entity)) is not None:
            found |= {PREDICTION_PREFIX + name: value for name, value in book.values().items()}
        return found


def context_plan(org: Org, policy: CompiledPolicy) -> ContextPlan:
    """How to read for a policy today. A service that is gone, or asks for what is gone, is as if it were empty."""
    references = [name for name in policy.reads if not name.startswith(PREDICTION_PREFIX)]
    reads = org.catalogue.span(features=references) if references else None
    return ContextPlan(policy, service_span(org, policy.policy.context), reads)


def service_span(org: Org, name: str | None) -> Span | None:
    """The features of a service, if there is one and all of them are in the catalogue."""
    found = None if name is None else org.services.get(name)
    if found is None:
        return None
    try:
        return org.services.span(found)
    except Problem:
        return None


def values_of(span: Span, entity: FoldedEntity, market: Mapping[str, Sequence[Any]]) -> list[Any]:
    """The values of a span, in its order. ``market`` has those of each of its subjects."""
    own = entity.values(span.own)
    if span.is_own:
        return own
    values: list[Any] = []
    for run in span.runs:
        if run.is_own:
            values += own[run.start : run.stop]
        else:
            values += [market[subject][row] for subject, row in span.market[run.start : run.stop]]
    return values


async def market_values(market: Market, subjects: Sequence[str]) -> dict[str, Sequence[Any]]:
    """The values of these subjects as of now."""
    return {subject: (await market.fragment(subject)).values for subject in subjects}
