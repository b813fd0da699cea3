"""A newcomer's run: the demo lives its year, and the README's calls print what the README says."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.readme_blocks import ROOT, Call, calls, fits
from tests.patience import comes_true

# One worker runs this module, so that the year is lived once.
pytestmark = pytest.mark.xdist_group("readme")

CALLS = calls((ROOT / "README.md").read_text(encoding="utf-8"))
LEADWHEEL = [sys.executable, "-m", "gateway.cli"]

#: Counted apart from our code: receipts r with r + 7 d by the end and no click of that campaign in [r, r + 7 d).
IGNORED = 6197


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("demo")
    run = [*LEADWHEEL, "demo", "--once", "--data-dir", str(directory)]
    finished = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert finished.returncode == 0, finished.stderr
    return directory, finished.stdout


@pytest.fixture(scope="module")
def address(demo: tuple[Path, str]) -> Iterator[str]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"localhost:{sock.getsockname()[1]}"
    command = [*LEADWHEEL, "demo", "--data-dir", str(demo[0]), "--port", address.rpartition(":")[2]]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_ready(f"http://{address}/readyz", process)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0


def wait_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    def is_ready() -> bool:
        assert process.poll() is None, "the service ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except OSError:
            return False

    assert comes_true(is_ready, 60), f"{url} did not get ready"


def test_the_summary_says_what_happened(demo: tuple[Path, str]) -> None:
    _, summary = demo
    assert "55,934 events of 2,379 households" in summary
    assert f"{IGNORED:,} campaign_ignored events" in summary
    assert "0 dead letters" in summary
    assert "curl" in summary


def test_a_second_run_changes_nothing_and_says_the_same(demo: tuple[Path, str]) -> None:
    directory, summary = demo
    run = [*LEADWHEEL, "demo", "--once", "--data-dir", str(directory)]
    again = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout == summary


def test_the_readme_has_calls_to_try() -> None:
    assert len(CALLS) >= 6
    assert all(call.printed for call in CALLS)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_calls_of_the_readme_print_what_the_readme_says(address: str) -> None:
    failed = []
    for call in CALLS:
        command = call.command.replace("localhost:8780", address)
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
        if done.returncode or not fits(call.printed, done.stdout):
            failed.append((call.command, call.printed, done.stdout or done.stderr))
    assert failed == []


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.command[:60])
def test_what_the_readme_prints_is_json(call: Call) -> None:
    assert json.loads(call.printed.replace(",…}", "}").replace("…", "0"))


def test_a_difference_is_noticed() -> None:
    assert fits('{"a": 1, "at": "…"}', '{"a": 1, "at": "2018"}\n')
    assert not fits('{"a": 1, "at": "…"}', '{"a": 2, "at": "2018"}\n')
