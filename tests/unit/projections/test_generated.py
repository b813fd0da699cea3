"""Generated code reads as an engineer would have written it: golden files, and properties of all of it.

After a change that is meant: ``LEADWHEEL_WRITE_GOLDEN=1 pytest tests/unit/projections/test_generated.py``.
"""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.settings import OrgSettings
from projections.catalogue import Catalogue, Entities

GOLDEN = Path(__file__).parent / "golden"
CATALOGUE = Catalogue("default", OrgSettings())
ENTITIES: tuple[Entities, ...] = (
    CATALOGUE,
    CATALOGUE.subjects,
    Catalogue("p", OrgSettings(packs=("tests.property.probe",))),
)


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for entities in ENTITIES:
        for node in ast.parse(entities.compiled.source).body:
            if isinstance(node, ast.FunctionDef):
                yield node.name, node


@pytest.mark.parametrize("name", ["fold_login", "fold_payment_succeeded", "view_rfm"])
def test_the_code_is_what_an_engineer_would_have_written(name: str) -> None:
    source = CATALOGUE.compiled.function_source(name)
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("LEADWHEEL_WRITE_GOLDEN"):
        file.write_text(source)
    assert file.read_text() == source


def test_each_fold_says_what_the_event_moves_and_each_view_what_it_is() -> None:
    for name, node in functions():
        if name.startswith(("fold_", "view_")):
            doc = ast.get_docstring(node)
            assert doc, name
            assert name.startswith("view_") or doc.startswith("Moves "), name
    assert "quotes" not in CATALOGUE.compiled.source


def test_a_fold_touches_only_slots_that_some_feature_of_its_type_needs() -> None:
    """``tutor_responded`` is read by one feature, and by the instant of a lead's first event."""
    node = dict(functions())["fold_tutor_responded"]
    slots = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "s"}
    assert slots == {"tutor_responded_response_seconds_given", "tutor_responded_response_seconds_total", "first_every"}
    assert CATALOGUE.compiled.moves["tutor_responded"] == (
        "tutor:avg_tutor_response_time", "activity:activity_velocity", "timing:days_since_created",
    )  # fmt: skip


def test_what_can_raise_comes_before_what_changes_the_state() -> None:
    """Values are read, then guards ask for a refold, then the state changes: a poisonous event leaves no trace."""
    calls = {"micro", "bounded", "key64", "local_us"} | set(ENTITIES[2].compiled.plan.constants)
    for name, node in functions():
        if not name.startswith("fold_"):
            continue
        changes = [n.lineno for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
        raising = [n.lineno for n in ast.walk(node) if isinstance(n, ast.Call) and ast.unparse(n.func) in calls]
        assert max(raising, default=0) < min(changes, default=10**9), name


def test_no_name_is_longer_than_the_eye_takes_in() -> None:
    longest = max((node.id for _, f in functions() for node in ast.walk(f) if isinstance(node, ast.Name)), key=len)
    assert len(longest) <= 64, longest


def test_source_of_one_function_is_found_by_its_name() -> None:
    assert CATALOGUE.compiled.function_source("fold_login").startswith("def fold_login(s, at, p, is_ordered):\n")
    with pytest.raises(KeyError):
        CATALOGUE.compiled.function_source("fold_nothing")


def test_touched_views_are_those_with_a_feature_that_the_type_moves() -> None:
    for entities in ENTITIES:
        compiled = entities.compiled
        for name, mask in compiled.touched.items():
            views = {compiled.view_names[bit] for bit in range(len(compiled.view_names)) if mask >> bit & 1}
            assert views == {f.view for f in entities.features if name in f.affected_by}
