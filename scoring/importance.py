"""Which features a model lives on: how much its AUC falls when a feature's values are shuffled among held-out rows.

A category's columns are shuffled together, as one feature. A feature that says what others say, too, looks less
important than it is.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kernel.steps import Steps
from scoring.metrics import auc
from scoring.model import Importance, Matrix, Vector

#: Rows looked at; more would say the same more slowly.
MAX_ROWS = 2000
_REPEATS = 3


def importances(
    predict: Callable[[Matrix], Vector],
    rows: Matrix,
    label: Vector,
    groups: Mapping[str, Sequence[int]],
    *,
    seed: int,
) -> Steps[tuple[Importance, ...]]:
    """The greatest first; features that do not vary among the rows are 0. One step per feature."""
    rng = np.random.default_rng(seed)
    if len(rows) > MAX_ROWS:
        chosen = rng.choice(len(rows), MAX_ROWS, replace=False)
        rows, label = rows[chosen], label[chosen]
    before = auc(predict(rows), label)
    found: list[Importance] = []
    if np.isnan(before):
        return ()
    for feature, places in groups.items():
        columns = list(places)
        if not _varies(rows[:, columns]):
            found.append(Importance(feature, 0.0, 0.0))
            continue
        falls = []
        for _ in range(_REPEATS):
            shuffled = rows.copy()
            shuffled[:, columns] = rows[rng.permutation(len(rows))][:, columns]
            falls.append(before - auc(predict(shuffled), label))
        found.append(Importance(feature, float(np.mean(falls)), float(np.std(falls))))
        yield
    return tuple(sorted(found, key=lambda each: (-each.importance, each.feature)))


def _varies(columns: Matrix) -> bool:
    is_null = np.isnan(columns)
    filled = np.where(is_null, 0.0, columns)
    return bool((filled != filled[0]).any() or (is_null != is_null[0]).any())
