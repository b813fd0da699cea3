import pytest

from scoring.claims import Claim, all_hold, comparison_text, names_of


@pytest.mark.parametrize(
    ("comparison", "operand", "value", "holds"),
    [
        ("<", 2, 1, True),
        ("<", 2, 2, False),
        ("<=", 2, 2, True),
        ("<=", 2, 3, False),
        (">", 2, 2, False),
        (">", 2, 2.5, True),
        (">=", 2, 2, True),
        ("=", "vp", "vp", True),
        ("=", 1, True, True),
        ("!=", "vp", "director", True),
        ("!=", "vp", None, False),
        (">=", 2, None, False),
        ("is null", 0, None, True),
        ("is null", 0, 3, False),
        ("is known", 0, "high", True),
        ("is known", 0, None, False),
        (">=", 2, "text", False),
        ("<", "text", 2, False),
    ],
)
def test_a_claim_compares_a_value(comparison: str, operand: float | str, value: object, holds: bool) -> None:
    assert Claim("x", comparison, operand).holds({"x": value}) is holds  # type: ignore[arg-type]


@pytest.mark.parametrize("comparison", ["<", "=", "!=", "is null", "is known"])
def test_a_value_that_is_not_there_fulfils_nothing(comparison: str) -> None:
    assert not Claim("x", comparison, 1).holds({})  # type: ignore[arg-type]


def test_claims_hold_together_or_not_at_all() -> None:
    claims = (Claim("a", ">=", 1), Claim("b", "<", 1))
    assert all_hold(claims, {"a": 1, "b": 0})
    assert not all_hold(claims, {"a": 1, "b": 1})
    assert names_of(claims) == {"a", "b"}


def test_a_comparison_is_written_as_in_a_document() -> None:
    written = [comparison_text(each, 0.5) for each in ("<", "<=", "=", "!=", "is known")]  # type: ignore[arg-type]
    assert written == ["< 0.5", "≤ 0.5", "= 0.5", "≠ 0.5", "is known"]
