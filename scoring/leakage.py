"""Whether a column knows what it cannot have known.

Two looks, of different kinds. A column that alone tells what will come nearly without fault is *suspect*: real leads
are not that predictable. And a row made from a stream that was cut off at the row's time must equal the row made
from the whole stream; where a column differs, it has seen the future, and that is proof.
"""

from collections.abc import Callable, Sequence

import numpy as np

from eventstore.event import Event
from eventstore.system import is_system_id
from kernel.steps import finish
from scoring.dataset import Dataset, DatasetBuilder
from scoring.knowledge import Knowledge, known_since
from scoring.metrics import auc
from scoring.model import Matrix, Vector

#: A single column that ranks outcomes this well is named.
SUSPECT_AUC = 0.97
#: Fewer outcomes are separated by chance.
_FEWEST = 25


def suspects(rows: Matrix, label: Vector, columns: Sequence[str], *, limit: float = SUSPECT_AUC) -> list[str]:
    """Columns that alone rank the outcome with an AUC of at least ``limit``, one way or the other; null counts as one."""
    if min(label.sum(), len(label) - label.sum()) < _FEWEST:
        return []
    lowest = np.nan_to_num(np.nanmin(np.where(np.isnan(rows).all(axis=0), 0.0, rows), axis=0)) - 1.0
    filled = np.where(np.isnan(rows), lowest, rows)
    found = ((name, auc(filled[:, place], label)) for place, name in enumerate(columns))
    return [name for name, area in found if max(area, 1.0 - area) >= limit]


def columns_of_the_future(
    new_builder: Callable[[], DatasetBuilder],
    dataset: Dataset,
    events: Sequence[Event],
    *,
    knowledge: Knowledge = "auto",
    trigger_max_age_us: int,
) -> list[str]:
    """Columns of one lead's rows that change when everything unknown at the row's time is taken out of its stream.

    O(rows · events): for a sample of leads.
    """
    lead = dataset.leads.index(events[0].stream.id)
    known = known_since(events, knowledge, trigger_max_age_us)
    wrong: set[str] = set()
    for place in np.flatnonzero(dataset.lead == lead):
        at_us = int(dataset.at_us[place])
        cut = [e for e in events if is_system_id(e.id) or known[e.version] <= at_us]
        builder = new_builder()
        finish(builder.add(cut))
        alone = builder.finish()
        again = alone.rows[alone.at_us == at_us]
        if len(again) != 1:
            return list(dataset.features.columns)
        differs = ~np.isclose(again[0], dataset.rows[place], rtol=0, atol=0, equal_nan=True)
        wrong |= {dataset.features.columns[column] for column in np.flatnonzero(differs)}
    return sorted(wrong)
