"""The command refuses to start with a package bandit that is not ours."""

import os
import subprocess
import sys
from pathlib import Path

from gateway.entry import foreign_bandit

ROOT = Path(__file__).parents[3]
COMMAND = "import sys; sys.argv = ['leadwheel', '--version']; from gateway.entry import main; main()"


def run(path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", COMMAND], env=environment, capture_output=True, text=True, cwd="/")


def test_ours_is_found() -> None:
    assert foreign_bandit() is None


def test_a_linter_that_is_found_first_is_refused_by_name(tmp_path: Path) -> None:
    package = tmp_path / "bandit"
    package.mkdir()
    (package / "__init__.py").write_text("")
    done = run(f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 2
    assert str(package) in done.stderr
    assert "uninstall" in done.stderr
    assert done.stdout == ""


def test_behind_ours_it_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "bandit").mkdir()
    (tmp_path / "bandit" / "__init__.py").write_text("")
    assert run(f"{ROOT}{os.pathsep}{tmp_path}").returncode == 0
