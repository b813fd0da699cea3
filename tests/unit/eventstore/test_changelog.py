"""Hashes of ids, as snapshots carry them."""

from hypothesis import given
from hypothesis import strategies as st

from eventstore.changelog import HASH_BYTES, has_hash, hashes


@given(st.lists(st.text(), unique=True), st.text())
def test_an_id_is_found_among_hashes_if_it_was_hashed(ids: list[str], other: str) -> None:
    hashed = hashes(ids)

    assert len(hashed) == HASH_BYTES * len(ids)
    assert all(has_hash(hashed, each) for each in ids)
    assert has_hash(hashed, other) == (other in ids)


def test_every_id_may_be_among_hashes_that_nobody_kept() -> None:
    assert has_hash(None, "any")
