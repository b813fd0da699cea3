"""A mistake in a pack ends the start with file, line, what is wrong, and a hint."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import run
from gateway.commands.common import results
from kernel.errors import DefinitionError, DuplicateFeature
from kernel.settings import OrgSettings
from projections.catalogue import Catalogue
from tests.unit.projections.packs import Written, importable


@pytest.fixture(autouse=True)
def found(tmp_path: Path) -> Iterator[None]:
    sys.dont_write_bytecode = True
    with importable(tmp_path):
        yield


#: A line that is wrong, and what must be said of it: the problem, and the hint.
MISTAKES = {
    "an unknown field": ('view["x"] = demos.sum("seat")', "unknown field 'seat'", "did you mean seats?"),
    "an unknown field of a filter": (
        'view["x"] = demos.where("plam", eq="solo").count()',
        "'plam'",
        "did you mean plan?",
    ),
    "an unknown field of a pair": (
        'view["x"] = demos.then(demos, by="quote").count()',
        "unknown field 'quote'",
        "did you mean note?",
    ),
    "a text as a number": (
        'view["x"] = demos.mean("note")',
        "'note' is a text, not a number",
        "numbers of {name}_booked: seats, price, score, flag, stars",
    ),
    "a list as a key": (
        'view["x"] = demos.distinct("tags")',
        "'tags' is a list",
        "those of {name}_booked: seats, price",
    ),
    "a type that does not fit": (
        'view["x"] = demos.latest("note", returns="int")',
        "is a text, not a int",
        "expected string",
    ),
    "a number compared with a text": (
        'view["x"] = demos.where("seats", ge="3").count()',
        "compared with '3'",
        "a number",
    ),
    "a word that the field never is": (
        'view["x"] = demos.where("plan", eq="teem").count()',
        "compared with 'teem'",
        "one of solo, team",
    ),
    "a flag compared with a number": (
        'view["x"] = demos.where("flag", eq=1).count()',
        "'flag' is compared with 1",
        "a flag",
    ),
    "arithmetic with a text": ('view["x"] = demos.latest("plan") + 1', "+ needs numbers, not a string", "count()"),
    "sides of two types": ('view["x"] = when(demos.count() > 0, "many", 0)', "both sides", "two numbers, or two texts"),
    "a window of nothing": ('view["x"] = demos.count().over(0)', "longer than nothing", ""),
    "a window that is a text": ('view["x"] = demos.count().over("7d")', "a window is a number of days", ""),
    "a window of half a day": ('view["x"] = demos.count().over(days(0.5))', "a whole number of days", ""),
    "two windows on one": ('view["x"] = demos.count().over(7).over(30)', "has a window already", ""),
    "a window on a streak": ('view["x"] = demos.streak().over(7)', "Streak is over a lifetime", ""),
    "several windows and one name": ('view["x"] = demos.count().over(7, 30)', "its name needs {w}", "x_{w}"),
    "a duplicate name": ('view["twice"] = demos.count()\nview["twice"] = demos.count()', "defined twice", "first at"),
    "a name that is none": ('view["X y"] = demos.count()', "not a feature's name: 'X y'", "small letters"),
    "no name at all": ("view.add(demos.count() + 1)", "has no name of its own", ""),
    "a feature before its line": ('view["x"] = view["later"] + 1', "later is not declared before this line", ""),
    "an unknown feature": ('view["x"] = feature("rfm:recency_day") + 1', "unknown feature 'rfm:recency_day'", ""),
    "a circle": (
        'view["one"] = feature("{name}:two") + 1\nview["two"] = feature("{name}:one") + 1',
        "circular expression: {name}:one -> {name}:two -> {name}:one",
        "compute one of them from events",
    ),
    "itself": ('view["one"] = feature("{name}:one") + 1', "circular expression: {name}:one -> {name}:one", ""),
    "a reference of another type": (
        'view["plan"] = demos.latest("plan")\nview["x"] = feature("{name}:plan") + 1',
        "{name}:plan is a string, not a float",
        'returns="string"',
    ),
    "a quantile that is none": ('view["x"] = demos.quantile("seats", 90)', "a quantile is from 0 to 1", ""),
    "no event": ('view["x"] = demos.last_n("seats", 0)', "at least 1 event", ""),
    "a class that is no event": (
        'class Loose(Payload, frozen=True):\n    n: Count\n\n\nview["x"] = events(Loose).count()',
        "unknown event type loose",
        "@pack.event",
    ),
    "something that is no class": ('view["x"] = events("demo_booked").count()', "events() takes payload types", ""),
    "something that is no expression": ('view["x"] = 3', "must be an expression, not 3", ""),
    "a second view of one name": ('again = pack.view("{name}", "Again")', "defined twice: {name}", ""),
    "an event type that exists": (
        '@pack.event(name="login")\nclass Login2(Payload, frozen=True):\n    pass',
        "event type declared twice: login",
        "the pack tutoring has one",
    ),
    "an event type's name": (
        '@pack.event(name="Log in")\nclass Login3(Payload, frozen=True):\n    pass',
        "not an event type's name",
        "small letters",
    ),
    "a statement that raises": (
        'view["x"] = demos.count() / nothing',
        "NameError: name 'nothing' is not defined",
        "import or assign nothing",
    ),
    "a name with a slip": ('view["x"] = demo.count()', "name 'demo' is not defined", "did you mean demos?"),
    "a verb that is none": ('view["x"] = demos.summ("seats")', "no attribute 'summ'", "did you mean sum?"),
    "a number compared with a word of numbers": (
        'view["x"] = demos.where("stars", eq="five").count()',
        "'stars' is compared with 'five'",
        "a number",
    ),
    "a text compared with a number": (
        'view["x"] = when(demos.latest("plan") > 3, 1, 0)',
        "a string is compared with a int",
        "texts with texts",
    ),
    "a python and": (
        'view["x"] = when(demos.count() > 3 and demos.count() < 5, 1, 0)',
        "known only when it is read",
        "both(…, …)",
    ),
    "a python if": ('view["x"] = demos.count() if demos.count() > 3 else 0', "known only when", "when(…, …, …)"),
    "an event of nobody's": (
        '@pack.event(by="them")\nclass {camel}Theirs(Payload, frozen=True):\n    n: Count',
        "{name}_theirs: by='them'",
        "expected lead or org",
    ),
    "a field that no JSON is": (
        "@pack.event()\nclass {camel}Odd(Payload, frozen=True):\n    n: list[complex] | None = None",
        "{name}_odd: no JSON value is what 'n' declares",
        "eventstore.fields",
    ),
    "an absence of nothing": (
        "from projections.absence import Absence\n"
        'pack.absence(Absence("campaign_ignored", "~x:", "{name}_bookd", ("login",), "campaign_id", 1))',
        "unknown event type '{name}_bookd'",
        "did you mean {name}_booked?",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_file_line_and_hint(mistake: str, tmp_path: Path) -> None:
    body, problem, hint = MISTAKES[mistake]
    pack = Written(tmp_path, body + "\n")
    with pytest.raises(DefinitionError) as caught:
        pack.catalogue()
    said = str(caught.value).replace(pack.name.capitalize(), "{camel}").replace(pack.name, "{name}")
    assert problem in said
    assert hint in said
    first = pack.line("probed") if mistake == "an absence of nothing" else len(pack.path.read_text().splitlines())
    lines = {f"{pack.path}:{n}" for n in range(1, first + 1)}
    where = caught.value.where
    assert where in lines, where
    if mistake != "an absence of nothing" and "class" not in body:
        assert int(where.rpartition(":")[2]) in range(first - body.count("\n"), first + 1)


def test_a_pack_without_the_modules_it_needs_says_which(tmp_path: Path) -> None:
    pack = Written(tmp_path, "import nothing_of_that_name\n")
    with pytest.raises(DefinitionError, match=r"ModuleNotFoundError: No module named 'nothing_of_that_name'") as caught:
        pack.catalogue()
    assert caught.value.where == f"{pack.path}:{pack.line('nothing_of')}"


def test_a_module_that_cannot_be_parsed_is_told_with_its_line(tmp_path: Path) -> None:
    pack = Written(tmp_path, "view[ = 3\n")
    with pytest.raises(DefinitionError, match="invalid syntax") as caught:
        pack.catalogue()
    assert caught.value.where == f"{pack.path}:{pack.line('view[ = 3')}"


def test_a_module_that_is_not_there_says_where_it_was_looked_for() -> None:
    with pytest.raises(DefinitionError, match="no pack and no module of that name") as caught:
        Catalogue("default", OrgSettings(packs=("mycompany.features",)))
    assert "PYTHONPATH" in caught.value.hint
    with pytest.raises(DefinitionError, match="did you mean commerce"):
        Catalogue("default", OrgSettings(packs=("comerce",)))


def test_a_module_without_a_pack_says_how_to_make_one(tmp_path: Path) -> None:
    pack = Written(tmp_path, "pack = None\n")
    with pytest.raises(DefinitionError, match="has no pack") as caught:
        pack.catalogue()
    assert caught.value.hint == f'pack = Pack("{pack.name}")'


def test_two_packs_of_one_name_and_two_views_of_one_name_are_refused(tmp_path: Path) -> None:
    taken = Written(tmp_path, "", head='from projections.language import *\npack = Pack("sales")\n')
    with pytest.raises(DuplicateFeature, match="defined twice: pack sales"):
        taken.catalogue()
    view = Written(tmp_path, 'pack.view("rfm", "Mine")\n')
    with pytest.raises(DuplicateFeature, match="defined twice: rfm") as caught:
        view.catalogue(packs=("commerce", view.name))
    assert caught.value.where == f"{view.path}:{view.line('rfm')}"


def test_a_mistake_that_only_some_settings_bring_about_is_told_with_its_line(tmp_path: Path) -> None:
    body = (
        '@pack.configured("{name}_more", "Configured")\ndef more(view, settings):\n'
        '    view["x"] = demos.count().over(settings.trigger_max_age_s)\n'
    )
    pack = Written(tmp_path, body)
    with pytest.raises(DefinitionError, match="at most 400 years") as caught:
        pack.catalogue(trigger_max_age_s=86_400_000)
    assert caught.value.where == f"{pack.path}:{pack.line('trigger_max_age_s')}"


@pytest.mark.parametrize("command", [["serve"], ["catalogue"], ["catalogue", "--source", "login"], ["replay"]])
def test_every_command_ends_with_code_2_and_says_it(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = Written(tmp_path, 'view["x"] = demos.sum("seat")\n')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "leadwheel.toml").write_text(f'[org.default]\npacks = ["{pack.name}"]\n')
    assert run([*command, "--data-dir", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err
    assert f"{pack.path}:{pack.line('sum(')}" in said.replace("\n", "")
    assert "did you mean seats?" in said


def test_what_looks_like_an_emoji_or_a_style_is_said_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = Written(tmp_path, 'view["a"] = demos.sum("note")\n')
    (tmp_path / "leadwheel.toml").write_text(f'[org.default]\npacks = ["{pack.name}"]\n')
    assert run(["catalogue", "--data-dir", str(tmp_path)]) == 2
    assert f"{pack.name}:a: {pack.event}: 'note' is a text" in capsys.readouterr().err
    results.print("[red]:a:[/nothing]")
    assert capsys.readouterr().out == "[red]:a:[/nothing]\n"
