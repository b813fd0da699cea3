"""Packs written to a file for one test, under names that no other test uses."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from kernel.settings import OrgSettings
from projections.catalogue import Catalogue

HEAD = """
from typing import Literal

from msgspec import UNSET, UnsetType

from eventstore.fields import Amount, Count, Id, Number, Text
from projections.language import *

pack = Pack("{name}", "A test's")


@pack.event(by="lead")
class {camel}Booked(Payload, frozen=True):
    seats: Count
    price: Amount | None = None
    score: Number | None = None
    plan: Literal["solo", "team"] | None = None
    note: Text | None = None
    flag: bool = False
    tags: list[Text] | None = None
    stars: Literal[1, 2, 3] | None = None


demos = events({camel}Booked)
view = pack.view("{name}", "A test's")
"""

_numbers = count(1)


class Written:
    """A module that is there while the test runs."""

    def __init__(self, directory: Path, body: str, *, head: str = HEAD, name: str | None = None) -> None:
        self.name = name or f"probed{next(_numbers)}"
        self.path = directory / f"{self.name}.py"
        filled = head.replace("{name}", self.name).replace("{camel}", self.name.capitalize())
        self.path.write_text(filled + body.replace("{name}", self.name).replace("{camel}", self.name.capitalize()))

    @property
    def event(self) -> str:
        return f"{self.name}_booked"

    def line(self, text: str) -> int:
        """The line on which a text stands."""
        return next(i for i, line in enumerate(self.path.read_text().splitlines(), 1) if text in line)

    def catalogue(self, **settings: object) -> Catalogue:
        return Catalogue("default", OrgSettings(**{"packs": (self.name,), **settings}))  # type: ignore[arg-type]


@contextmanager
def importable(directory: Path) -> Iterator[None]:
    """Modules of a directory can be imported, and are forgotten afterwards."""
    sys.path.insert(0, str(directory))
    before = set(sys.modules)
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(directory)):
                del sys.modules[name]
