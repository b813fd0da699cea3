"""A service in a process of its own, for tests of starting, stopping and the command line."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "gateway.cli"]
ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEADWHEEL_")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **more}


def command(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(**more), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def call(url: str, body: bytes | None = None, key: str | None = None) -> tuple[int, Any]:
    """Status and decoded body of one request."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@contextmanager
def serving(directory: Path, *arguments: str, **more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A running service's address and process; it is killed at the end if it still runs."""
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--data-dir", str(directory), "--port", str(port), *arguments],
        env=environment(**more),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if '"listening"' in line:
                break
        else:
            raise AssertionError("the service ended before it listened: " + "".join(said[-20:]))
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
