"""Hashes of ids, as snapshots carry them."""

from hypothesis import given
from hypothesis import strategies as st

from eventstore.changelog import HASH_BYTES, has_hash, hashes, with_more


@given(st.lists(st.text(), unique=True), st.text())
def test_an_id_is_found_among_hashes_if_it_was_hashed(ids: list[str], other: str) -> None:
    hashed = hashes(ids)

    assert len(hashed) == HASH_BYTES * len(ids)
    assert all(has_hash(hashed, each) for each in ids)
    assert has_hash(hashed, other) == (other in ids)


def test_every_id_may_be_among_hashes_that_nobody_kept() -> None:
    assert has_hash(None, "any")


@given(st.lists(st.text(), unique=True, max_size=60), st.integers(0, 60))
def test_hashes_of_some_ids_and_then_of_more_are_those_of_all(ids: list[str], place: int) -> None:
    assert with_more(hashes(ids[:place]), ids[place:]) == hashes(ids)
