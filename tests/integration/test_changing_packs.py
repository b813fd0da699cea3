"""A pack changes between two starts: what is stale is said, and nothing of the old definition is served."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.process import COMMAND, call, environment, free_port

PACK = """
from eventstore.fields import Count
from projections.language import *

pack = Pack("workshop")


@pack.event(by="lead")
class PieceMade(Payload, frozen=True):
    weight: Count


def worth(piece: PieceMade) -> float:
    return piece.weight * 2


pieces = events(PieceMade)
view = pack.view("pieces", "Pieces")
view["heavy"] = pieces.where("weight", ge=5).count()
view["worth"] = pieces.sum(Computed(worth))
steady = pack.view("steady", "Not changed")
steady["count"] = pieces.count()
"""
EVENTS = [
    {"id": f"e{n}", "lead": "ann", "type": "piece_made", "time": 1.7e9 + n, "data": {"weight": n}} for n in range(10)
]


class Workshop:
    def __init__(self, directory: Path) -> None:
        self.directory, self.data = directory, directory / "data"
        self.data.mkdir()
        (self.data / "leadwheel.toml").write_text('[org.default]\npacks = ["workshop"]\n')
        self.write(PACK)

    @property
    def environment(self) -> dict[str, str]:
        paths = f"{self.directory}{os.pathsep}{environment()['PYTHONPATH']}"
        return environment(PYTHONPATH=paths, PYTHONDONTWRITEBYTECODE="1")

    def write(self, text: str) -> None:
        (self.directory / "workshop.py").write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments, "--data-dir", str(self.data)],
            env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    @contextmanager
    def serving(self, *, is_killed: bool = False) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The org's address, and what the service said until it listened."""
        port = free_port()
        process = subprocess.Popen(
            [*COMMAND, "serve", "--data-dir", str(self.data), "--port", str(port)],
            env=self.environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(json.loads(line) if line.startswith("{") else {"event": line})
                if said[-1]["event"] == "listening":
                    break
            assert said[-1]["event"] == "listening", said
            yield f"http://127.0.0.1:{port}/v1/orgs/default", said
            process.send_signal(signal.SIGKILL if is_killed else signal.SIGTERM)
            assert process.wait(timeout=20) == (-signal.SIGKILL if is_killed else 0)
        finally:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    workshop = Workshop(tmp_path)
    with workshop.serving() as (url, said):
        assert stale(said) == []
        status, body = call(f"{url}/events", json.dumps(EVENTS).encode())
        assert (status, body["accepted"]) == (200, 10)
        assert values(url) == {"pieces:heavy": 5, "pieces:worth": 90.0, "steady:count": 10}
    return workshop


def values(url: str, query: str = "") -> dict[str, Any]:
    status, body = call(f"{url}/leads/ann/features{query}")
    assert status == 200, body
    found: dict[str, Any] = body["values"]
    return found


def stale(said: list[dict[str, Any]]) -> list[str]:
    return [each["views"] for each in said if each["event"] == "views_stale"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_nothing_of_an_old_definition_is_served_after_a_change(workshop: Workshop, is_killed: bool) -> None:
    workshop.write(PACK.replace("ge=5", "ge=8").replace("weight * 2", "weight * 3"))
    with workshop.serving(is_killed=is_killed) as (url, said):
        assert stale(said) == ["pieces"]
        assert values(url) == {"pieces:heavy": 2, "pieces:worth": 135.0, "steady:count": 10}
        assert values(url, "?at=1700000008") == {"pieces:heavy": 1, "pieces:worth": 108.0, "steady:count": 9}
    workshop.write(PACK)
    with workshop.serving() as (url, said):
        assert stale(said) == ["pieces"]
        assert values(url) == {"pieces:heavy": 5, "pieces:worth": 90.0, "steady:count": 10}


def test_a_new_a_changed_and_a_removed_view_are_told_apart(workshop: Workshop) -> None:
    added = '\nmore = pack.view("more", "New")\nmore["lightest"] = pieces.min("weight")\n'
    workshop.write(PACK.replace("pieces.count()", 'pieces.count().doc("other words")') + added)
    with workshop.serving() as (url, said):
        assert stale(said) == ["more"]
        assert values(url)["more:lightest"] == 0.0
    workshop.write(PACK)
    with workshop.serving() as (url, said):
        assert stale(said) == []
        assert "more:lightest" not in values(url)


def test_replay_folds_the_views_named_at_once_where_they_are_stale(workshop: Workshop) -> None:
    workshop.write(PACK.replace("ge=5", "ge=8"))
    unknown = workshop.run("replay", "--views", "pices")
    assert unknown.returncode == 1
    assert "pices" in unknown.stderr
    idle = workshop.run("replay", "--views", "steady")
    assert (idle.returncode, json.loads(idle.stdout)["events"]) == (0, 0)
    with workshop.serving() as (url, _):
        assert values(url)["pieces:heavy"] == 2


def test_a_bad_record_of_views_is_not_in_the_way(workshop: Workshop) -> None:
    (workshop.data / "views.json").write_text("{")
    with workshop.serving() as (url, said):
        assert [each["event"] for each in said if each["event"] == "views_record_unreadable"]
        assert values(url)["pieces:heavy"] == 5
    assert json.loads((workshop.data / "views.json").read_text())["default"].keys() == {"pieces", "steady"}


def test_a_mistake_ends_the_start_with_code_2_and_says_where(workshop: Workshop) -> None:
    workshop.write(PACK.replace('where("weight"', 'where("wight"'))
    done = workshop.run("serve", "--port", str(free_port()))
    assert done.returncode == 2
    line = PACK.splitlines().index('view["heavy"] = pieces.where("weight", ge=5).count()') + 1
    assert f"workshop.py:{line}: unknown field 'wight' (hint: did you mean weight?)" in done.stderr
    workshop.write(PACK)
    with workshop.serving() as (url, said):
        assert stale(said) == []
        assert values(url)["pieces:heavy"] == 5


def test_two_catalogues_are_compared_by_file(workshop: Workshop) -> None:
    before = workshop.directory / "before.json"
    before.write_text(workshop.run("catalogue", "--json").stdout)
    same = diff(workshop, before, workshop.data / "leadwheel.toml")
    assert (same.returncode, same.stdout) == (0, "")
    workshop.write(PACK.replace("ge=5", "ge=8").replace('steady["count"]', 'steady["number"]'))
    after = diff(workshop, before, workshop.data / "leadwheel.toml")
    assert after.returncode == 1
    assert after.stdout.splitlines() == ["~ pieces:heavy: definition", "+ steady:number", "- steady:count"]
    told = json.loads(diff(workshop, before, workshop.data / "leadwheel.toml", "--json").stdout)
    assert told["items"][0] == {"feature": "pieces:heavy", "kind": "changed", "what": ["definition"]}
    (workshop.directory / "bad.json").write_text("[]")
    assert diff(workshop, before, workshop.directory / "bad.json").returncode == 2
    assert diff(workshop, before, workshop.directory / "nothing.json").returncode == 2


def diff(workshop: Workshop, old: Path, new: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "catalogue", "diff", str(old), str(new), *flags],
        env=workshop.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_source_is_printed_without_any_data(workshop: Workshop) -> None:
    fold = workshop.run("catalogue", "--source", "piece_made")
    assert fold.returncode == 0
    assert fold.stdout.startswith(
        'def fold_piece_made(s, at, p, is_ordered):\n    """Moves pieces:heavy, pieces:worth, steady'
    )
    assert workshop.run("catalogue", "--source", "pieces").stdout.startswith("def view_pieces(s, at):")
    unknown = workshop.run("catalogue", "--source", "piece_mad")
    assert (unknown.returncode, "did you mean piece_made?" in unknown.stderr) == (1, True)
    assert workshop.run("catalogue", "--source", "x", "--url", "http://localhost:9").returncode == 2
    assert "│ steady:count" in workshop.run("catalogue").stdout
