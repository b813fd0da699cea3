"""From invented leads to models by the command line alone."""

import csv
import json
from pathlib import Path

import pytest

from gateway.cli import run
from scoring.registry import load, versions
from tests.integration.process import command

FEATURES = (
    "activity:form_submit_count",
    "activity:meeting_count",
    "timing:days_since_last_activity",
    "recency:days_since_last_ib_call",
    "window:ib_call_count_14d",
    "recency:days_since_last_login",
    "demographic:title_seniority",
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which 900 leads have lived."""
    path = tmp_path_factory.mktemp("training")
    made = command("synth", "--leads", "900", "--seed", "3", "--days", "200", "--out", str(path / "log.ndjson"))
    assert made.returncode == 0, made.stderr
    data = path / "data"
    data.mkdir()
    posted = command("ingest", str(path / "log.ndjson"), "--data-dir", str(data))
    assert json.loads(posted.stdout)["rejected"] == 0, posted.stderr
    return data


def options(directory: Path) -> list[str]:
    chosen = [part for feature in FEATURES for part in ("--features", feature)]
    return ["train", "--data-dir", str(directory), *chosen]


def test_synth_is_the_same_every_time_and_tells_its_truth(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    arguments = ["synth", "--leads", "5", "--seed", "9", "--end", "2026-06-01", "--org", "acme"]
    assert run([*arguments, "--out", str(tmp_path / "log"), "--truth", str(tmp_path / "truth.csv")]) == 0
    assert run(arguments) == 0
    printed = capfdbinary.readouterr().out
    assert printed == (tmp_path / "log").read_bytes()
    first = json.loads(printed.splitlines()[0])
    assert first["source"] == "synth/acme"
    assert max(json.loads(line)["time"] for line in printed.splitlines()) < "2026-06-01"
    with (tmp_path / "truth.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert {row["lead"] for row in rows} == {f"lead-{n:06d}" for n in range(5)}
    assert all(0 <= float(row["conversion_30d"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    "arguments",
    [
        ["synth", "--leads", "0"],
        ["synth", "--end", "yesterday"],
        ["train", "--family", "weather"],
        ["train", "--config", "none"],
        ["train", "--url", "http://localhost:1"],
    ],
)
def test_what_cannot_be_asked_for_is_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    more = ["--data-dir", str(tmp_path)] if arguments[0] == "train" else []
    assert run([*arguments, *more]) == 2


def test_models_are_trained_on_a_stopped_service_and_kept_in_its_directory(directory: Path) -> None:
    done = command(*options(directory))
    assert done.returncode == 0, done.stderr
    for word in ("conversion-0001", "time_to_close-0001", "multitask-0001", "rules", "AUC", "(kept)", "churn", "calls"):
        assert word in done.stdout
    models = directory / "models" / "default"
    kept = versions(models)
    assert [each.family for each in kept] == ["conversion", "multitask", "time_to_close"]
    for each in kept:
        assert each.card.features == FEATURES
        assert load(models, each.id).card == each.card
    conversion = kept[0].card
    assert conversion.metrics["conversion"].measures["auc"].value > 0.6
    assert conversion.beats_rules is not None


def test_a_family_that_cannot_be_trained_is_exit_code_1_and_the_answer_can_be_json(directory: Path) -> None:
    only = ["--family", "conversion", "--family", "multitask", "--outcome", "referral_made", "--json"]
    done = command(*options(directory), *only)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert list(answer["refused"]) == ["conversion"]
    assert [each["card"]["family"] for each in answer["items"]] == ["multitask"]
    assert "not trained" in done.stderr
