"""The README's calls: a console block is lines of ``$ command``, each followed by what it prints."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Call(NamedTuple):
    """A command and what the README says it prints; ``…`` in it stands for any text."""

    command: str
    printed: str


def calls(text: str) -> list[Call]:
    found = []
    for block in BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append(Call(command, printed.strip()))
    return found


def fits(printed: str, actual: str) -> bool:
    """Whether what was printed is what the README says, ``…`` standing for anything."""
    pattern = ".*".join(re.escape(part) for part in printed.split("…"))
    lines = "\n".join(line.rstrip() for line in actual.splitlines())  # tables fill theirs up with spaces
    return re.fullmatch(pattern, lines.strip(), re.DOTALL) is not None


def install(directory: Path) -> None:
    """Make a directory with ``leadwheel`` as installed, of this checkout: the working directory is not looked into first."""
    directory.mkdir()
    script = directory / "leadwheel"
    lines = (
        f"#!{sys.executable} -P",
        "import sys",
        f"sys.path.insert(0, {str(ROOT)!r})",
        "from gateway.cli import main",
        "main()",
    )
    script.write_text("\n".join(lines) + "\n")
    script.chmod(0o755)
