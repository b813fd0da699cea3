"""The yardstick: every feature computed plainly and slowly from the sentences of its specification.

Enters: the events of one entity as a multiset in any order (``Fact``), a time to read at, the org's
settings. Leaves: a dictionary ``view:name`` to value. It imports nothing of the program under test, uses
exact fractions throughout and rounds once, at the end.
"""

from tests.oracle.changes import Change, changes_between, first_change, first_subject_change, subject_changes_between
from tests.oracle.facts import Fact, Settings, Value, facts_from
from tests.oracle.features import (
    campaigns_ignored,
    ignored_event_id,
    lead_features,
    market_features,
    subject_features,
)

__all__ = [
    "Change",
    "Fact",
    "Settings",
    "Value",
    "campaigns_ignored",
    "changes_between",
    "facts_from",
    "first_change",
    "first_subject_change",
    "ignored_event_id",
    "lead_features",
    "market_features",
    "subject_changes_between",
    "subject_features",
]
