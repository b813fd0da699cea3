"""The bandit from a terminal: on a stopped directory and on a running service, with its exit codes."""

import json
import subprocess
from pathlib import Path

import pytest

from gateway.cli import run
from tests.integration.deciding import ARMS
from tests.integration.process import COMMAND, call, command, environment, serving

POLICY = {"arms": ARMS, "floor": 0.3, "reward": {"wait_s": 60, "aggregation": "earliest"}}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "offers.json"
    path.write_text(json.dumps(POLICY))
    return path


def test_a_policy_decides_on_a_stopped_directory(
    directory: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data-dir", str(directory)]
    assert run(["policy", "put", "offers", str(file), *data]) == 0
    assert capsys.readouterr().out == "policy offers, version 1\n"
    assert run(["policy", "put", "offers", str(file), *data, "--json"]) == 0
    stored = json.loads(capsys.readouterr().out)
    assert (stored["version"], stored["floor"], stored["baseline"]) == (1, 0.3, "mail")

    assert run(["decide", "offers", "42", "--decision-id", "d1", "--context", '{"hour": 9}', *data, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["decision_id"], len(made["ranking"])) == ("d1", 3)
    assert run(["decide", "offers", "42", "--decision-id", "d1", *data]) == 0
    table = capsys.readouterr().out
    assert f"d1: {made['arm']} ({made['reason']})" in table
    assert run(["decide", "offers", "--exclude", "mail,wait", "--defer", *data, "--json"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["arm"] == "call"

    assert run(["decision", "d1", "--replay", *data, "--json"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["replay"] == {
        "arm": made["arm"],
        "probability": made["probability"],
        "reason": made["reason"],
        "same": True,
    }
    assert (document["lead"], document["context"], document["state"]) == ("42", {"hour": 9}, "open")
    assert "drawn again" in shown.err
    assert "the same" in shown.err
    assert run(["decision", other["decision_id"], *data]) == 0
    assert "deferred" in capsys.readouterr().out

    assert run(["policy", "get", "offers", *data]) == 0
    assert "offers, version 1" in capsys.readouterr().out
    assert run(["policy", "get", "offers", *data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == stored
    assert run(["policy", "list", *data]) == 0
    assert "mail, call, wait" in capsys.readouterr().out
    assert run(["policy", "list", *data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"items": [stored], "cursor": None}

    assert run(["replay", "--policies", *data]) == 0
    (model,) = json.loads(capsys.readouterr().out)["policies"]
    assert (model["policy"], model["updates"], model["same"]) == ("offers", 0, True)


def test_what_is_refused_or_not_there_is_exit_code_1_and_wrong_usage_2(
    directory: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data-dir", str(directory)]
    assert run(["policy", "put", "offers", str(file), *data]) == 0
    capsys.readouterr()
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(POLICY | {"baseline": "nobody"}))
    for arguments, said in (
        (["policy", "put", "offers", str(wrong)], "baseline"),
        (["policy", "get", "nothing"], "nothing"),
        (["decide", "nothing", "42"], "nothing"),
        (["decide", "offers", "--exclude", "mail,call,wait"], "no arm"),
        (["decide", "offers", "--context", "{"], "JSON"),
        (["decide", "offers", ".."], "lead"),
        (["decision", "nothing"], "nothing"),
        (["decision", "nothing", "--replay"], "nothing"),
    ):
        assert run([*arguments, *data]) == 1, arguments
        shown = capsys.readouterr()
        assert shown.out == "", arguments
        assert said in shown.err, (arguments, shown.err)
    for arguments in (
        ["policy"],
        ["policy", "put", "offers"],
        ["policy", "put", "offers", str(tmp_path / "nowhere")],
        ["policy", "dance"],
        ["decide"],
        ["decision"],
        ["policy", "list", "--data-dir", str(tmp_path / "nowhere")],
    ):
        assert run([*arguments, *([] if "--data-dir" in arguments else data)]) in (0, 2), arguments
        capsys.readouterr()
    assert run(["policy", "put", "offers", str(tmp_path / "nowhere"), *data]) == 2
    assert run(["policy", "list", "--url", "http://127.0.0.1:9"]) == 3
    assert run(["decide", "offers", "--url", "http://127.0.0.1:9"]) == 3


def test_every_fault_of_a_policy_is_named(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(POLICY | {"baseline": "nobody", "guardrails": {"per_day": {"fax": 1}}}))
    assert run(["policy", "put", "offers", str(wrong), "--data-dir", str(directory)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    for fault in ("baseline: expected one of the arms", "guardrails.per_day.fax: expected one of the arms"):
        assert fault in shown.err


def test_a_running_service_is_told_over_http_with_a_key(directory: Path, file: Path) -> None:
    data = ("--data-dir", str(directory))
    with serving(directory) as (url, _):
        keys = {
            scope: command("keys", "create", *data, "--org", "acme", "--scopes", scope).stdout.strip()
            for scope in ("admin", "decide", "read")
        }
        there = {scope: ("--url", url, "--org", "acme", "--key", key) for scope, key in keys.items()}
        second = command("policy", "list", *data)
        assert second.returncode == 3
        assert "in use" in second.stderr
        refused = command("policy", "put", "offers", str(file), *there["decide"])
        assert (refused.returncode, refused.stdout) == (1, "")
        assert command("policy", "put", "offers", str(file), *there["admin"]).returncode == 0
        made = json.loads(command("decide", "offers", "42", *there["decide"], "--json").stdout)
        base = f"{url}/v1/orgs/acme/decisions/{made['decision_id']}"
        assert call(f"{base}/reward", b'{"value": 1}', keys["decide"])[1]["learned"] is True
        shown = command("decision", made["decision_id"], "--replay", *there["read"])
        assert shown.returncode == 0
        assert "settled" in shown.stdout
        replayed = command("replay", "--policies", *there["admin"])
        (model,) = json.loads(replayed.stdout)["policies"]
        assert (replayed.returncode, model["updates"], model["same"]) == (0, 1, True)
    stopped = command("replay", "--policies", *data, "--org", "acme", "--json")
    assert json.loads(stopped.stdout)["result"]["policies"][0]["updates"] == 1


def test_a_policy_comes_from_standard_input(directory: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "policy", "put", "offers", "-", "--data-dir", str(directory)],
        input=json.dumps(POLICY),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "policy offers, version 1\n")
