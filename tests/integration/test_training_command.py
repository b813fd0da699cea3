"""From invented leads to models by the command line alone."""

import csv
import json
from pathlib import Path

import pytest

from gateway.cli import run
from scoring.registry import load, versions
from tests.integration.process import command

# One worker runs this module, so that its models are trained once.
pytestmark = pytest.mark.xdist_group("train")

FEATURES = (
    "activity:form_submit_count",
    "activity:meeting_count",
    "timing:days_since_last_activity",
    "recency:days_since_last_ib_call",
    "window:ib_call_count_14d",
    "recency:days_since_last_login",
    "demographic:title_seniority",
    "demographic:email_domain_type",
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which 900 leads have lived."""
    path = tmp_path_factory.mktemp("training")
    log = str(path / "log.ndjson")
    assert run(["synth", "--leads", "900", "--seed", "3", "--days", "200", "--end", "2024-06-01", "--out", log]) == 0
    data = path / "data"
    data.mkdir()
    assert run(["ingest", log, "--data-dir", str(data)]) == 0
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
        ["train", "--promote", "perhaps"],
        ["train", "--horizon", "nan"],
        ["train", "--data-dir", "/nowhere/at/all"],
    ],
)
def test_what_cannot_be_asked_for_is_exit_code_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--configuration", "none"],
        ["--horizon", "0"],
        ["--step", "0"],
        ["--outcome", "rained"],
        ["--at", "rained"],
        ["--features", "rfm:nothing"],
    ],
)
def test_what_the_service_refuses_is_exit_code_1_and_trains_nothing(tmp_path: Path, arguments: list[str]) -> None:
    assert run(["train", "--data-dir", str(tmp_path), *arguments]) == 1
    assert not (tmp_path / "models").exists()


def test_a_service_that_cannot_be_reached_is_exit_code_3() -> None:
    assert run(["train", "--url", "http://localhost:1"]) == 3


def test_a_log_that_is_too_short_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--data-dir", str(tmp_path)]) == 1
    assert "no lead has an event" in capsys.readouterr().err


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
        assert each.card.asked["features"] == list(FEATURES)
        assert load(models, each.id).card == each.card
    conversion = kept[0].card
    assert conversion.metrics["conversion"].measures["auc"].value > 0.6
    assert conversion.beats_rules is not None
    assert conversion.beats_champion is None


def test_a_family_that_cannot_be_trained_is_exit_code_1_and_the_answer_can_be_json(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = ["--family", "conversion", "--family", "multitask", "--outcome", "referral_made", "--json"]
    assert run([*options(directory), *only]) == 1
    printed = capsys.readouterr()
    job = json.loads(printed.out)
    assert (job["kind"], job["state"]) == ("train", "done")
    assert list(job["result"]["refused"]) == ["conversion"]
    assert [each.rpartition("-")[0] for each in job["result"]["models"]] == ["multitask"]
    assert "conversion: not trained" in printed.err


def test_models_are_listed_shown_promoted_and_rolled_back(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = ["--family", "conversion", "--features", "timing:days_since_last_activity"]
    assert run(["train", "--data-dir", str(directory), *only, "--promote", "always"]) == 0
    first = json.loads(_said(directory, capsys, "list"))["items"][0]
    assert (first["family"], first["state"], first["refused"]) == ("conversion", "champion", None)
    assert run(["train", "--data-dir", str(directory), *only, "--seed", "2", "--promote", "better"]) == 0
    newest, before = json.loads(_said(directory, capsys, "list"))["items"][:2]
    assert newest["card"]["beats_champion"] in (True, False)
    assert (newest["state"] == "champion") == newest["card"]["beats_champion"]
    assert "champion:conversion" in newest["card"]["metrics"]
    assert before["id"] == first["id"]
    assert json.loads(_said(directory, capsys, "promote", newest["id"]))["state"] == "champion"
    assert json.loads(_said(directory, capsys, "rollback", newest["id"]))["id"] == first["id"]
    assert run(["models", "show", first["id"], "--data-dir", str(directory)]) == 0
    shown = capsys.readouterr().out
    for word in ("champion", "AUC", "calibration", "importance", "deal_won", first["card"]["fingerprint"]):
        assert word in shown
    for refused in (["show", "conversion-0099"], ["promote", "conversion-0099"], ["rollback", newest["id"]]):
        assert run(["models", *refused, "--data-dir", str(directory)]) == 1


def _said(directory: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What ``leadwheel models`` prints, as JSON."""
    capsys.readouterr()
    assert run(["models", *arguments, "--data-dir", str(directory), "--json"]) == 0
    return capsys.readouterr().out
