"""A glance at a lead: a few of its values at an instant, and who it is, keeping nothing.

A read of the entity would compute every view that is out of date. A table needs one or two of them, of very many leads,
and all as of the same instant.
"""

from collections.abc import Sequence
from typing import Any

from projections.aggregators.runtime import NEVER
from projections.catalogue import Entities
from projections.entity import FoldedEntity

Identity = tuple[str | None, str | None, str | None]


class Glance:
    """Reads the same features of one lead after another.

    Parameters
    ----------
    entities : the features of leads, of one org.
    references : which of them, in the order of the values. Raises ``UnknownFeature``.
    """

    def __init__(self, entities: Entities, references: Sequence[str]) -> None:
        selection = entities.select(features=references)
        places = {view: place for place, view in enumerate(selection.views)}
        self._views = [entities.compiled.views[entities.compiled.view_names[view]] for view in selection.views]
        self._picks = [(places[view], index) for view, index in selection.picks]

    def values(self, entity: FoldedEntity, now_us: int) -> tuple[list[Any], int]:
        """The values as of a time, or of the newest event if that is later, and until when they hold."""
        now_us = entity.reach(now_us)
        found = [view(entity.state, now_us) for view in self._views]
        change = min((each for _, each in found), default=NEVER)
        if entity.waiting:
            change = min(change, entity.waiting[0].at_us)
        return [found[view][0][index] for view, index in self._picks], change


def identity_of(entity: FoldedEntity) -> Identity:
    """Name, e-mail and company, as the org's packs know them."""
    compiled = entity.entities.compiled
    if compiled.identity is None:
        return None, None, None
    name, email, company = compiled.identity(entity.state, entity.folded_us)[0]
    return name, email, company
