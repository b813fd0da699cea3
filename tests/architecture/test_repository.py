"""What a newcomer may rely on in every file: no place of somebody's machine, and tests that can fail."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Written in pieces, so that this file does not contain what it forbids.
MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:ro" + r"ot|wo" + r"rk|ho" + r"me|Use" + r"rs)/[\w.]")
REGISTRY = re.compile("|".join(("py" + r"pi\.org", "python" + r"hosted\.org", "find" + "-links", "index" + "-url")))


def repository_files() -> list[Path]:
    """Tracked files and new ones that no ignore rule names; outside a checkout the test has nothing to look at."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip(f"not a git checkout: {listing.stderr.strip()}")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in repository_files()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def calls(function: ast.AST) -> set[str]:
    """Last names of what a function calls, and of what it enters with ``with``."""
    named = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return {getattr(node, "attr", getattr(node, "id", "")) for node in named}


def functions_that_cannot_fail(sources: list[str]) -> list[str]:
    """Names of test functions that assert nothing, neither themselves nor through a function of the tests."""
    found = [each for source in sources for each in functions(ast.parse(source))]
    asserting = {"raises", "warns", "fail", "run_state_machine_as_test"}
    asserting |= {each.name for each in found if any(isinstance(node, ast.Assert) for node in ast.walk(each))}
    while more := {each.name for each in found if each.name not in asserting and calls(each) & asserting}:
        asserting |= more
    return [each.name for each in found if each.name.startswith("test_") and each.name not in asserting]


def test_no_file_names_a_place_of_somebodys_machine() -> None:
    assert lines_with(MACHINE_PATH) == []


def test_no_file_names_a_package_registry() -> None:
    assert lines_with(REGISTRY) == []


def test_every_test_can_fail() -> None:
    sources = [path.read_text() for path in sorted((ROOT / "tests").rglob("*.py"))]
    assert functions_that_cannot_fail(sources) == []


def pauses(source: str) -> list[int]:
    """Lines that sleep; ``sleep(0)`` only lets others have their turn."""
    named = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    asleep = [node for node in named if getattr(node.func, "attr", getattr(node.func, "id", "")) == "sleep"]
    return sorted(node.lineno for node in asleep if [ast.unparse(each) for each in node.args] != ["0"])


def test_tests_wait_for_what_they_wait_for_and_never_pause() -> None:
    paths = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path.name != "patience.py"]
    assert {path.name: found for path in paths if (found := pauses(path.read_text()))} == {}


def test_every_module_outside_the_tests_says_what_it_is() -> None:
    modules = [
        path for path in repository_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] != "tests"
    ]
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in modules}
    assert [name for name, tree in trees.items() if tree.body and ast.get_docstring(tree) is None] == []


def test_the_search_finds_a_test_that_cannot_fail() -> None:
    source = "def helper():\n    assert x\ndef test_a():\n    helper()\ndef test_b():\n    print(1)\n"
    assert functions_that_cannot_fail([source]) == ["test_b"]


@pytest.mark.parametrize("line", ["see /" + "home/someone/x", "path=/" + "work/x"])
def test_the_search_finds_a_machine_path(line: str) -> None:
    assert MACHINE_PATH.search(line)


def test_the_search_finds_a_pause_and_no_turn_given_to_others() -> None:
    assert pauses("await clock.sleep(0.1)\nawait asyncio.sleep(0)\nsleep(x)\nput_to_sleep(1)\n") == [1, 3]
