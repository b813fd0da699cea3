"""What the code imports is what pyproject.toml asks for, and what CI installs: no package comes by luck."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.architecture.test_layers import MAY_IMPORT, ROOT, imported, modules

OURS = {*MAY_IMPORT, "tests", "bench", "docs"}
HANDED_OVER = {"multidict", "yarl"}  # types of aiohttp's own interface
PEERS = {"feast", "pandas"}  # what a benchmark compares with, installed by whoever compares
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def normalized(name: str) -> str:
    """A distribution's name as the packaging specifications compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for(requirements: list[str]) -> set[str]:
    return {normalized(re.split(r"[\s<>=~!;\[]", each, maxsplit=1)[0]) for each in requirements}


def not_asked_for(sources: list[str], allowed: set[str]) -> set[str]:
    """Imported names none of whose distributions is allowed; one that is not installed has its own name."""
    distributions = packages_distributions()
    names = set().union(*map(imported, sources)) - OURS - sys.stdlib_module_names
    return {name for name in names if not {normalized(each) for each in distributions.get(name, [name])} & allowed}


def sources(*folders: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for folder in folders for path in modules(folder)]


def allowed_for_users() -> set[str]:
    extras = [each for group in PROJECT["project"]["optional-dependencies"].values() for each in group]
    return asked_for([*PROJECT["project"]["dependencies"], *extras]) | HANDED_OVER


def test_the_product_imports_only_what_it_asks_for() -> None:
    assert not_asked_for(sources(*MAY_IMPORT), allowed_for_users()) == set()


def test_tests_and_benchmarks_import_only_what_a_group_asks_for() -> None:
    groups = PROJECT["dependency-groups"]
    allowed = allowed_for_users() | asked_for([*groups["dev"], *groups["docs"]])
    assert not_asked_for(sources("tests", "bench", "docs"), allowed) <= PEERS


def test_ci_installs_all_that_the_product_asks_for() -> None:
    locked = asked_for((ROOT / "requirements-ci.lock").read_text(encoding="utf-8").splitlines())
    assert asked_for(PROJECT["project"]["dependencies"]) | asked_for(PROJECT["dependency-groups"]["dev"]) <= locked


@pytest.mark.parametrize(("source", "found"), [("import leftpad", {"leftpad"}), ("import msgspec, os", set())])
def test_an_import_by_luck_is_found(source: str, found: set[str]) -> None:
    assert not_asked_for([source], {"msgspec"}) == found


def test_names_are_read_from_requirements() -> None:
    assert asked_for(["A_b>=1", "c.d[x]; python_version > '3'", "e==1"]) == {"a-b", "c-d", "e"}
