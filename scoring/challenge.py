"""A newly trained model beside the one in use: both judged on the new one's test rows.

The rows are later than all that the new model learned from. The one in use may have learned from some of them, where the
log has grown by less than a test slice since; that is in its favour, and the card says of how many rows it is so.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from scoring import multitask, time_to_close
from scoring.conversion import TASK, ConversionModel
from scoring.dataset import Dataset
from scoring.metrics import judged, log_loss
from scoring.model import Matrix, Metrics, Vector
from scoring.multitask import MultitaskModel
from scoring.splitting import split
from scoring.time_to_close import TimeToCloseModel

Model = ConversionModel | TimeToCloseModel | MultitaskModel


class Champion(NamedTuple):
    """A model in use, under the name that it has there."""

    version: str
    model: Model


def compared(dataset: Dataset, model: Model, champion: Champion | None, *, asked: Mapping[str, Any]) -> Model:
    """The same model with a card that says what was asked for, and how it stands against the champion."""
    card = msgspec.structs.replace(model.card, asked=dict(asked))
    if champion is not None:
        reason = _incomparable(model, champion.model)
        if reason is not None:
            note = f"not compared with {champion.version}, the model in use: {reason}"
            card = msgspec.structs.replace(card, notes=(*card.notes, note))
        else:
            metrics, beats, note = _judged(dataset, model, champion)
            card = msgspec.structs.replace(
                card, metrics=card.metrics | metrics, beats_champion=beats, notes=(*card.notes, note)
            )
    return type(model).of_parts(card, model.parts())


def _incomparable(model: Model, champion: Model) -> str | None:
    if champion.fingerprint != model.fingerprint or champion.columns != model.columns:
        return "it is of other features"
    if champion.card.outcomes != model.card.outcomes:
        return "it predicts something else"
    return None


def _judged(dataset: Dataset, model: Model, champion: Champion) -> tuple[dict[str, Metrics], bool, str]:
    """The champion's figures, whether the model is likelier than it, and both in words."""
    test = split(dataset, model.card.horizon_days).test
    rows, leads = dataset.rows[test], dataset.lead[test]
    mine, theirs = _said(model, rows, model.card.horizon_days), _said(champion.model, rows, model.card.horizon_days)
    labels = {task: dataset.labels[_LABEL_OF.get(task, task)][test] for task in mine}
    metrics = {
        f"champion:{task}": judged(said, labels[task], leads, seed=model.card.seed) for task, said in theirs.items()
    }
    own, other = (
        float(np.mean([log_loss(each, labels[task]) for task, each in said.items()])) for said in (mine, theirs)
    )
    seen = float(np.mean(dataset.at_us[test] < champion.model.card.log_until_us))
    note = (
        f"log loss on the test rows {own:.4f} against {other:.4f} of {champion.version}, the model in use, whose log "
        f"reached into {seen:.0%} of them"
    )
    return metrics, own < other, note


_LABEL_OF = {time_to_close.TASK: TASK}


def _said(model: Model, rows: Matrix, horizon_days: float) -> dict[str, Vector]:
    """Task → what a model says of rows."""
    if isinstance(model, ConversionModel):
        return {TASK: model.predict_proba(rows)}
    if isinstance(model, MultitaskModel):
        return dict(
            zip(multitask.TASKS, (each.predict_proba(rows) for each in (model.churn, model.calls)), strict=True)
        )
    at = int(np.argmin(np.abs(model.edges_days - horizon_days)))
    return {time_to_close.TASK: model.curve(rows)[:, at]}
