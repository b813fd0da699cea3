from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from kernel.times import DAY_US, format_time
from scoring.accuracy import Accuracy, Figures
from scoring.events import PredictionValidated, Verdict
from tests.unit.scoring.leads import KEEN, NOW_US, lead, models, scorer


def validated(
    probability: float, outcome: bool, *, previous: Verdict | None = None, **options: Any
) -> PredictionValidated:
    fields: dict[str, Any] = {"source": "rules", "tier": "top", "type": "CONVERSION", "configuration": "default"}
    verdict = Verdict("outcome", (probability >= 0.5) == outcome, outcome)
    return PredictionValidated(
        prediction="p",
        probability=probability,
        made_us=options.pop("made_us", NOW_US),
        verdict=options.pop("verdict", verdict),
        previous=previous,
        **{**fields, **options},
    )


def tallied(*events: PredictionValidated) -> Accuracy:
    accuracy = Accuracy()
    for each in events:
        accuracy.validated(each)
    return accuracy


def test_nothing_predicted_has_no_figures() -> None:
    report = Accuracy().report("default")
    assert (report.total, report.validated, report.accuracy, report.auc, report.since) == (0, 0, None, None, None)
    assert report.by_tier["top"] == Figures(0, 0, 0, None, None, None, None)


def test_the_report_has_the_keys_of_the_interface() -> None:
    shown = msgspec.to_builtins(Accuracy().report("default"))
    assert list(shown) == [
        "total",
        "validated",
        "accurate",
        "accuracy",
        "auc",
        "brier",
        "calibrationError",
        "byTier",
        "bySource",
        "since",
    ]
    assert list(shown["byTier"]) == ["top", "high", "medium", "low"]
    assert list(shown["bySource"]) == ["model", "rules", "llm"]


def test_predictions_are_counted_by_configuration_and_type() -> None:
    accuracy = Accuracy()
    made = scorer(models()).predict([lead(KEEN)], because="request")[0]
    accuracy.made(made, NOW_US)
    accuracy.made(made, NOW_US - DAY_US)
    report = accuracy.report("default")
    assert (report.total, report.validated, report.since) == (2, 0, format_time(NOW_US - DAY_US))
    assert accuracy.report("default", "CHURN").total == 2
    assert accuracy.report("other").total == 0
    assert report.by_source["model"].total == 2


def test_figures_are_those_that_textbooks_compute() -> None:
    draw = np.random.default_rng(5)
    said = np.round(draw.random(2000), 4)
    came = draw.random(2000) < said**2
    accuracy = tallied(*(validated(float(p), bool(y)) for p, y in zip(said, came, strict=True)))
    report = accuracy.report("default")
    assert report.auc == pytest.approx(roc_auc_score(came, said), abs=1e-9)
    assert report.brier == pytest.approx(brier_score_loss(came, said), abs=1e-9)
    order = np.argsort(said, kind="stable")
    bins = [(said[part].mean(), came[part].mean()) for part in np.array_split(order, 10)]
    assert report.calibration_error == pytest.approx(np.mean([abs(p - y) for p, y in bins]), abs=0.005)
    assert report.accuracy == pytest.approx(((said >= 0.5) == came).mean())


def test_auc_counts_ties_half_and_needs_both_outcomes() -> None:
    assert tallied(validated(0.4, True), validated(0.4, False)).report("default").auc == 0.5
    assert tallied(validated(0.4, True)).report("default").auc is None


def test_a_verdict_that_replaces_another_takes_it_back() -> None:
    person = Verdict("person", True, True)
    first = validated(0.7, True, verdict=person)
    second = validated(0.7, False, previous=person)
    assert tallied(first, second).report("default") == tallied(validated(0.7, False)).report("default")


def test_the_order_of_verdicts_does_not_matter() -> None:
    events = [validated(p / 10, p % 3 == 0) for p in range(11)]
    assert tallied(*events).report("default") == tallied(*reversed(events)).report("default")


def test_figures_are_kept_by_tier_source_and_month() -> None:
    accuracy = tallied(
        validated(0.9, True), validated(0.1, True, tier="low", source="model", made_us=NOW_US - 60 * DAY_US)
    )
    report = accuracy.report("default")
    assert (report.by_tier["top"].accuracy, report.by_tier["low"].accuracy) == (1, 0)
    assert (report.by_source["rules"].accuracy, report.by_source["model"].accuracy) == (1, 0)
    assert [figures.accuracy for figures in accuracy.by_month("default").values()] == [0, 1]


def test_the_error_of_a_source_is_known_once_enough_is_validated() -> None:
    accuracy = tallied(*(validated(1.0, True) for _ in range(3)))
    assert accuracy.calibration_error("default", "CONVERSION", "rules", 4) is None
    assert accuracy.calibration_error("default", "CONVERSION", "rules", 3) == 0
    assert accuracy.calibration_error("default", "CONVERSION", "model", 1) is None


def test_tallies_read_back_what_they_wrote() -> None:
    accuracy = tallied(validated(0.9, True), validated(0.1, False, tier="low"))
    accuracy.made(scorer().predict([lead(KEEN)], because="request")[0], NOW_US)
    again = Accuracy.load(msgspec.msgpack.decode(msgspec.msgpack.encode(accuracy.dump())))
    assert again.report("default") == accuracy.report("default")
