"""The calls of the how-to pages, against a service of their own, print what the pages say."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from gateway.demo.complete_journey import read_events
from tests.docs.readme_blocks import ROOT, calls, fits, install
from tests.integration.process import call, environment, serving

PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
#: A file that a page has written: its name, and the fence after it.
FILE = re.compile(r"^`([\w.-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Households of the demo that a page is about; all of them would take longer to load than the page to read.
HOUSEHOLDS = {"decide": {"1", "8", "718", "2489"}}

#: What changes nothing. It may be asked again: what an event causes is written up to a second after it was answered, and
#: whoever reads a page types more slowly.
QUESTION = re.compile(r"leadwheel \w+ (get|list)\b|curl (?!.*-[dX] )")
ASKED_AGAIN = 20


def write_files(text: str, *, here: Path, data: Path) -> None:
    """The files of a page: settings where the service looks for them, others where the commands are typed."""
    for name, content in FILE.findall(text):
        ((data if name == "leadwheel.toml" else here) / name).write_text(content)


def load(address: str, households: set[str]) -> None:
    events = [each.envelope for each in read_events() if each.lead in households]
    status, answer = call(f"{address}/v1/orgs/default/events", msgspec.json.encode(events))
    assert (status, answer["accepted"]) == (200, len(events))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_calls_of_a_page_print_what_it_says(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = calls(text)
    assert found
    here, data = tmp_path / "here", tmp_path / "data"
    here.mkdir()
    data.mkdir()
    write_files(text, here=here, data=data)
    install(tmp_path / "bin")
    reader = environment(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", COLUMNS="120")
    failed = []
    with serving(data) as (address, _):
        if page.stem in HOUSEHOLDS:
            load(address, HOUSEHOLDS[page.stem])
        for each in found:
            command = each.command.replace("localhost:8780", address.removeprefix("http://"))
            for _ in range(ASKED_AGAIN if QUESTION.match(command) else 1):
                done = subprocess.run(
                    ["bash", "-c", command],
                    cwd=here, env=reader, capture_output=True, text=True, timeout=30, check=False,
                )  # fmt: skip
                if done.returncode == 0 and fits(each.printed, done.stdout):
                    break
            else:
                failed.append((each.command, each.printed, done.stdout or done.stderr))
    assert failed == []
