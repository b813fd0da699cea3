"""What the benchmarks conclude from their figures."""

import itertools

import pytest

from bench.harness import Claim, Skipped, in_turns, require


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        (Claim("a ratio", 0.7, 0.7), True),
        (Claim("a ratio", 0.69, 0.7), False),
        (Claim("a cost", 6.0, 6, "KiB", is_upper_bound=True), True),
        (Claim("a cost", 6.1, 6, "KiB", is_upper_bound=True), False),
    ],
)
def test_a_claim_holds_on_its_side_of_the_bound(claim: Claim, holds: bool) -> None:
    assert claim.holds is holds
    assert ("MISSED" in str(claim)) is not holds


def test_sides_take_turns_and_medians_are_compared() -> None:
    order: list[str] = []
    figures = itertools.count(1)

    def side(name: str) -> float:
        order.append(name)
        return float(next(figures))

    medians = in_turns(3, ours=lambda: side("ours"), peer=lambda: side("peer"))
    assert order == ["ours", "peer"] * 3
    assert medians == {"ours": 3.0, "peer": 4.0}


def test_a_missing_program_is_named() -> None:
    with pytest.raises(Skipped, match="no-such-program"):
        require("no-such-program")
