"""Who imports whom, and where time and chance come from: proved by a walk over the syntax trees."""

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Package → the packages of ours that it may import, besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "kernel": set(),
    "eventstore": {"kernel"},
    "projections": {"kernel", "eventstore"},
    "actors": {"kernel", "eventstore", "projections"},
    "bandit": {"kernel", "eventstore", "projections"},
    "scoring": {"kernel", "eventstore", "projections"},
    "gateway": {"kernel", "eventstore", "projections", "actors", "bandit", "scoring"},
}
#: Room of ``gateway.nodes`` → what of ``gateway.nodes`` it may import, besides itself.
ROOMS: dict[str, set[str]] = {"forwarding": set(), "group": set(), "changelog": set(), "across": {"forwarding"}}
#: What only kernel may name: the wall clock, chance, the environment. Keys are secrets, not chance.
TIME_AND_CHANCE = {
    *(f"time.{name}{suffix}" for name in ("time", "monotonic", "perf_counter") for suffix in ("", "_ns")),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("random", "uuid.uuid1", "uuid.uuid4", "uuid.uuid7", "os.environ", "os.environb", "os.getenv", "os.urandom"),
}


def modules(package: str) -> Iterator[Path]:
    return (ROOT / package).rglob("*.py")


def imported(source: str) -> set[str]:
    """Top-level names of the packages that a module imports, at whatever depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names.add((node.module or "").split(".")[0])
    return names


def rooms_imported(source: str) -> set[str]:
    """What of ``gateway.nodes`` a module imports: names of rooms, and of modules beside them."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "gateway.nodes":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gateway.nodes."):
            found.add((node.module or "").split(".")[2])
    return found


def modules_imported(source: str, known: Iterable[str]) -> set[str]:
    """Which of the known modules a module imports by their dotted names, for its types only or for more."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found.intersection(known)


def uses_of_time_and_chance(source: str) -> list[str]:
    """Dotted names, with aliases resolved, that belong to the forbidden ones."""
    tree, aliases = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            head, _, rest = ast.unparse(node).partition(".")
            dotted = f"{aliases.get(head, head)}.{rest}".rstrip(".")
            bare = dotted.removeprefix("datetime.")
            if aliases.get(head) and ({dotted, bare} & TIME_AND_CHANCE or dotted.startswith("random.")):
                found.append(f"line {node.lineno}: {dotted}")
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_left(package: str) -> None:
    forbidden = MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    wrong = {str(path.relative_to(ROOT)): imported(path.read_text()) & forbidden for path in modules(package)}
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_nodes_stand_on_those_below(room: str) -> None:
    paths = list(modules(f"gateway/nodes/{room}"))
    assert len(paths) > 2
    wrong = {path.name: rooms_imported(path.read_text()) - ROOMS[room] - {room} for path in paths}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_the_walk_sees_rooms_and_what_stands_beside_them() -> None:
    source = "from gateway.nodes import node\nfrom gateway.nodes.group.layout import Layout\nfrom gateway.nodes.across import lists"
    assert rooms_imported(source) == {"node", "group", "across"}


@pytest.mark.parametrize("package", [package for package in MAY_IMPORT if package != "projections"])
def test_no_module_needs_what_needs_it(package: str) -> None:
    """Not for its types either. In projections an expression and the writer of its source know each other."""
    sources = {".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text() for path in modules(package)}
    TopologicalSorter({name: modules_imported(source, sources) for name, source in sources.items()}).prepare()


def test_the_walk_sees_circles_of_types() -> None:
    whole = "from gateway.part import Part"
    part = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gateway import whole"
    known = {"gateway.whole": whole, "gateway.part": part}
    with pytest.raises(CycleError):
        TopologicalSorter({name: modules_imported(source, known) for name, source in known.items()}).prepare()


@pytest.mark.parametrize("package", [package for package in MAY_IMPORT if package != "kernel"])
def test_time_chance_and_environment_are_asked_in_the_kernel_only(package: str) -> None:
    wrong = {str(path.relative_to(ROOT)): uses_of_time_and_chance(path.read_text()) for path in modules(package)}
    assert {path: uses for path, uses in wrong.items() if uses} == {}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_init_imports_nothing(package: str) -> None:
    inits = [path for path in modules(package) if path.name == "__init__.py"]
    assert [str(path.relative_to(ROOT)) for path in inits if imported(path.read_text())] == []


def test_the_walk_sees_imports_inside_functions() -> None:
    assert imported("def f():\n    from gateway.app import x\n") == {"gateway"}


@pytest.mark.parametrize(
    "source",
    [
        "import time\nx = time.time()",
        "from time import monotonic as clock\nclock()",
        "import datetime as dt\ndt.datetime.now(dt.UTC)",
        "from datetime import date\ndate.today()",
        "import random\nrandom.Random(1)",
        "from uuid import uuid4\nuuid4()",
        "import os\nos.environ['X']",
    ],
)
def test_the_walk_sees_time_and_chance_under_any_name(source: str) -> None:
    assert uses_of_time_and_chance(source) != []


def test_the_walk_lets_innocent_names_pass() -> None:
    assert uses_of_time_and_chance("import os\nos.path.join('a')\ntime = row.time\nclock.now()\n") == []
