"""The tutorials are walked as a reader would: files written, commands run, a real service, and what each prints."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.readme_blocks import ROOT, Call, calls, fits, install
from tests.docs.test_readme import wait_ready
from tests.integration.process import free_port

TUTORIAL = ROOT / "docs" / "tutorial" / "own-pack.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall(TUTORIAL.read_text(encoding="utf-8"))
#: The module that the page builds, part by part.
MODULE = "\n\n".join(text for kind, text in BLOCKS if kind == "python")


class Reader:
    """Someone in an empty directory who types what the page says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.service: subprocess.Popen[bytes] | None = None
        bin_directory = directory / "bin"
        install(bin_directory)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LEADWHEEL_")},
            "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def type(self, call: Call) -> str:
        command = call.command.replace("localhost:8780", f"localhost:{self.port}")
        if command.endswith(" &"):
            self.serve(command.removesuffix(" &"))
            return "…"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout or done.stderr

    def serve(self, command: str) -> None:
        self.service = subprocess.Popen(
            ["bash", "-c", f"exec {command} --port {self.port}"],
            cwd=self.directory, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_ready(f"http://localhost:{self.port}/readyz", self.service)

    def stop(self) -> None:
        if self.service is not None:
            self.service.send_signal(signal.SIGTERM)
            assert self.service.wait(timeout=15) == 0


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    try:
        yield reader
    finally:
        if reader.service is not None and reader.service.poll() is None:
            reader.service.kill()
            reader.service.wait()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_pack_of_the_tutorial_is_built_run_read_and_changed_as_the_page_says(reader: Reader) -> None:
    (reader.directory / "academy-data").mkdir()
    (reader.directory / "academy.py").write_text(MODULE)
    failed = []
    typed = 0
    for kind, text in BLOCKS:
        if kind == "toml":
            (reader.directory / "academy-data" / "leadwheel.toml").write_text(text)
        if kind == "json":
            (reader.directory / "events.json").write_text(text)
        for call in calls(f"```console\n{text}```\n") if kind == "console" else []:
            printed = reader.type(call)
            typed += 1
            if not fits(call.printed, printed):
                failed.append(f"{call.command}\n  expected: {call.printed}\n  printed:  {printed}")
    assert failed == [], "\n".join(failed)
    assert typed >= 12
    reader.stop()


def test_the_example_is_the_module_that_the_tutorial_builds() -> None:
    assert (ROOT / "examples" / "academy" / "academy.py").read_text(encoding="utf-8") == MODULE
