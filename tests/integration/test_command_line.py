import gzip
import json
from pathlib import Path

import pytest

from gateway.cli import run
from tests.integration.process import call, command, serving

EVENTS = "".join(
    json.dumps({"lead": str(n % 3), "type": "purchase_completed", "time": 1.7e9 + n, "data": {"amount": n}}) + "\n"
    for n in range(9)
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


def test_a_file_posted_twice_changes_nothing(directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson.gz"
    file.write_bytes(gzip.compress(EVENTS.encode()))
    first = command("ingest", str(file), "--data-dir", str(directory))
    assert (first.returncode, json.loads(first.stdout)) == (
        0,
        {"accepted": 9, "duplicates": 0, "rejected": 0, "dead": 0},
    )
    again = command("ingest", str(file), "--data-dir", str(directory))
    assert json.loads(again.stdout) == {"accepted": 0, "duplicates": 9, "rejected": 0, "dead": 0}

    shown = command("features", "1", "--data-dir", str(directory), "--views", "rfm", "--json")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["values"]["rfm:monetary_total"] == 1 + 4 + 7
    table = command("features", "1", "--data-dir", str(directory), "--at", "2023-11-15T00:00:00Z")
    assert "rfm:monetary_total" in table.stdout
    assert "2023-11-15T00:00:00" in table.stdout

    verified = command("verify", "--data-dir", str(directory))
    assert (verified.returncode, json.loads(verified.stdout)["checked"]) == (0, 3)
    replayed = command("replay", "--data-dir", str(directory))
    assert (replayed.returncode, json.loads(replayed.stdout)["events"]) == (0, 9)


def test_refused_rows_are_named_and_the_exit_code_says_so(directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("lead,type,time,data.amount\na,purchase_completed,1,5\nb,purchase_completed,1,-5\n")
    done = command("ingest", str(file), "--data-dir", str(directory))
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"accepted": 1, "duplicates": 0, "rejected": 1, "dead": 0}
    assert "line 3" in done.stderr
    assert "data.amount" in done.stderr


def test_usage_and_settings_are_exit_code_2(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ["--data-dir", str(directory)]
    for wrong in (
        ["dance"],
        ["features"],
        ["serve", *data, "--port", "x"],
        ["ingest", str(tmp_path / "nothing"), *data],
        ["features", "1", "--data-dir", str(tmp_path / "nothing")],
        ["keys", "create", *data, "--scopes", "dance"],
    ):
        assert run(wrong) == 2, wrong
    capsys.readouterr()
    assert run(["serve", *data, "--host", "0.0.0.0"]) == 2
    assert "loopback" in capsys.readouterr().err
    monkeypatch.setenv("LEADWHEEL_SERVER__PRT", "1")
    assert run(["serve", *data]) == 2
    shown = capsys.readouterr().err
    assert "server.prt" in shown
    assert "did you mean port" in shown


def test_an_unknown_lead_is_exit_code_1_and_an_unreachable_service_3(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["features", "nobody", "--data-dir", str(directory)]) == 1
    shown = capsys.readouterr()
    assert (shown.out, "nobody" in shown.err) == ("", True)
    assert run(["features", "a", "--url", "http://127.0.0.1:9"]) == 3
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_settings_are_printed_with_their_source(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "leadwheel.toml").write_text("[org.acme.scoring.default.language_model]\napi_key = 'hush'\n")
    monkeypatch.setenv("LEADWHEEL_SERVER__PORT", "99")
    assert run(["settings", "--data-dir", str(directory)]) == 0
    shown = capsys.readouterr().out
    assert "port = 99  # environment LEADWHEEL_SERVER__PORT" in shown
    assert "hush" not in shown
    assert 'api_key = "********"' in shown


def test_keys_are_made_while_the_service_runs_and_every_command_works_on_it(directory: Path, tmp_path: Path) -> None:
    data = ("--data-dir", str(directory))
    with serving(directory) as (url, _):
        second = command("features", "1", *data)
        assert second.returncode == 3
        assert "in use" in second.stderr
        made = command("keys", "create", *data, "--org", "acme", "--scopes", "admin")
        key = made.stdout.strip()
        assert (made.returncode, len(key)) == (0, 40)
        there = ("--url", url, "--key", key, "--org", "acme")
        file = tmp_path / "events.ndjson"
        file.write_text(EVENTS)
        assert json.loads(command("ingest", str(file), *there).stdout)["accepted"] == 9
        assert "rfm:monetary_total" in command("features", "1", *there).stdout
        assert json.loads(command("catalogue", *there, "--json").stdout)["items"]
        assert json.loads(command("verify", *there, "--sample", "2").stdout)["differing"] == []
        assert json.loads(command("settings", *there).stdout)["org"].keys() == {"acme"}
        assert call(f"{url}/v1/orgs/acme/catalogue")[0] == 401
        listed = command("keys", "list", *data)
        assert key[:8] in listed.stdout
        assert key not in listed.stdout
        assert command("keys", "revoke", key[:8], *data).returncode == 0
        assert command("keys", "revoke", key[:8], *data).returncode == 1
        refused = command("features", "1", *there, LEADWHEEL_ORG__ACME__CURRENCY="EUR")
        assert refused.returncode == 1
        assert "key" in refused.stderr
