"""The README's calls: a console block is lines of ``$ command``, each followed by what it prints."""

import re
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
    return re.fullmatch(pattern, actual.strip(), re.DOTALL) is not None
