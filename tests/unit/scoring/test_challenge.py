"""A new model beside the one in use: on the same later rows, or not at all."""

from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from kernel.steps import finish
from scoring.challenge import Champion, compared
from scoring.conversion import ConversionModel
from scoring.dataset import Dataset
from scoring.model import FAMILIES
from scoring.request import Request
from scoring.synth import World
from scoring.training import TrainedModels, train_on
from tests.unit.scoring.leads import CATALOGUE
from tests.unit.scoring.worlds import rows_of

# One worker runs this module, so that its models are trained once.
pytestmark = pytest.mark.xdist_group("challenge")

NOW_US = 1_800_000_000_000_000
REQUEST = Request(
    step_days=30,
    features=("timing:days_since_last_activity", "activity:meeting_count", "recency:days_since_last_ib_call"),
    asked={"step_days": 30},
)


class Trial(NamedTuple):
    dataset: Dataset
    trained: TrainedModels


def trained_on(dataset: Dataset, request: Request = REQUEST) -> TrainedModels:
    return finish(train_on(dataset, request, now_us=NOW_US, leads=1500))


@pytest.fixture(scope="module")
def trial() -> Trial:
    dataset = rows_of(World(1500, 5), CATALOGUE, REQUEST)
    return Trial(dataset, trained_on(dataset))


def test_a_model_is_not_better_than_itself_in_any_family(trial: Trial) -> None:
    models = trial.trained.models()
    assert set(models) == set(FAMILIES)
    for family, model in models.items():
        assert model.card.asked == {"step_days": 30}
        assert model.card.beats_champion is None
        found = compared(trial.dataset, model, Champion(f"{family}-0001", model), asked={"seed": 7})
        assert found.card.asked == {"seed": 7}
        assert found.card.beats_champion is False
        assert f"{family}-0001, the model in use, whose log reached into 100% of them" in found.card.notes[-1]
        for task in model.card.outcomes:
            assert found.card.metrics[f"champion:{task}"] == model.card.metrics[task]


def test_a_model_is_better_than_one_that_learned_nothing(trial: Trial) -> None:
    rng = np.random.default_rng(1)
    shuffled = msgspec.structs.replace(trial.dataset, rows=rng.permutation(trial.dataset.rows))
    request = msgspec.structs.replace(REQUEST, families=("conversion",))
    ignorant = trained_on(shuffled, request).conversion
    assert isinstance(ignorant, ConversionModel)
    model = trial.trained.conversion
    assert model is not None
    found = compared(trial.dataset, model, Champion("conversion-0001", ignorant), asked={})
    assert found.card.beats_champion is True
    auc = {name: found.card.metrics[name].measures["auc"].value for name in ("conversion", "champion:conversion")}
    assert auc["conversion"] > auc["champion:conversion"] + 0.05
    assert compared(trial.dataset, ignorant, Champion("conversion-0001", model), asked={}).card.beats_champion is False


def test_a_model_of_other_features_or_of_another_outcome_is_not_compared(trial: Trial) -> None:
    model = trial.trained.conversion
    assert model is not None
    for change, why in (
        ({"fingerprint": "0" * 16}, "it is of other features"),
        ({"outcomes": {"conversion": "rain within 3 days"}}, "it predicts something else"),
    ):
        other = ConversionModel(msgspec.structs.replace(model.card, **change), model.classifier)
        found = compared(trial.dataset, model, Champion("conversion-0001", other), asked={})
        assert found.card.beats_champion is None
        assert found.card.metrics == model.card.metrics
        assert found.card.notes[-1] == f"not compared with conversion-0001, the model in use: {why}"
