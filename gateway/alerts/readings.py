"""What an org's alert rules read: features of a lead at a glance, of the market, and predictions.

Only the views that a rule is about are computed, and nothing is kept of them.
"""

from collections.abc import Mapping
from typing import Any

from eventstore.system import EVENT_RETRACTED
from gateway.market import Market
from gateway.orgs import Org
from gateway.scoring.predicting import book_of
from projections.aggregators.runtime import NEVER
from projections.entity import FoldedEntity
from projections.ranking.glance import Glance
from scoring.alert_rules import PREDICTION_PREFIX


class Reading:
    """Reads one lead after another.

    Attributes
    ----------
    types : events that may change what is read; of retractions nobody knows beforehand.
    reads_leads, reads_market : whether any rule is about features of leads, or of the market.
    """

    def __init__(self, org: Org, references: frozenset[str]) -> None:
        catalogue = org.catalogue
        self._market = {name: catalogue.market.places[name] for name in references if name in catalogue.market.places}
        self._own = sorted(references - self._market.keys())
        self.reads_leads, self.reads_market = bool(self._own), bool(self._market)
        self._glance = Glance(catalogue, self._own)
        mask = sum(1 << view for view in catalogue.select(features=self._own).views)
        touching = {name for name, step in catalogue.steps.items() if step.touched & mask}
        self.types = frozenset(touching | {EVENT_RETRACTED}) if self._own else frozenset()

    def values(self, entity: FoldedEntity, now_us: int, market: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
        """Values by reference, as of a time, and until when those of the lead hold if nothing happens."""
        values, change_us = self._glance.values(entity, now_us) if self._own else ([], NEVER)
        found = {**dict(zip(self._own, values, strict=True)), **market, **self.predictions(entity)}
        return found, None if change_us >= NEVER else change_us

    def predictions(self, entity: FoldedEntity) -> dict[str, Any]:
        """Predictions of a lead by reference; none where it has none."""
        book = book_of(entity)
        return {} if book is None else {PREDICTION_PREFIX + name: value for name, value in book.values().items()}

    async def market(self, market: Market) -> tuple[dict[str, Any], int | None]:
        """The market's values as of now, and until when they hold."""
        subjects = {subject for subject, _ in self._market.values()}
        fragments = {subject: await market.fragment(subject) for subject in sorted(subjects)}
        changes = [each.next_change_us for each in fragments.values() if each.next_change_us is not None]
        values = {name: fragments[subject].values[row] for name, (subject, row) in self._market.items()}
        return values, min(changes, default=None)
