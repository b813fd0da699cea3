"""The calls of the how-to pages, against a service of their own, print what the pages say."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.readme_blocks import ROOT, calls, fits
from tests.integration.process import serving

PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_calls_of_a_page_print_what_it_says(page: Path, tmp_path: Path) -> None:
    found = calls(page.read_text(encoding="utf-8"))
    assert found
    failed = []
    with serving(tmp_path) as (address, _):
        for call in found:
            command = call.command.replace("localhost:8780", address.removeprefix("http://"))
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
            if done.returncode or not fits(call.printed, done.stdout):
                failed.append((call.command, call.printed, done.stdout or done.stderr))
    assert failed == []
