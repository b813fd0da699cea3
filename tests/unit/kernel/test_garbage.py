"""Spans without full collections."""

import gc
from collections.abc import Iterator

import pytest

from kernel.garbage import no_full_collections

FOUND = (500, 7, 9)


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*FOUND)
    yield
    gc.set_threshold(*before)


def test_the_old_are_left_alone_and_the_young_are_not() -> None:
    with no_full_collections():
        young, middle, old = gc.get_threshold()
        assert gc.isenabled()
        assert 0 < young < 100_000
        assert middle == FOUND[1]
        assert old > 10**9
    assert gc.get_threshold() == FOUND


def test_a_span_that_fails_restores_what_it_found() -> None:
    with pytest.raises(KeyError), no_full_collections():
        raise KeyError
    assert gc.get_threshold() == FOUND


def test_of_spans_that_overlap_the_last_to_end_restores_what_the_first_found() -> None:
    first, second = no_full_collections(), no_full_collections()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() != FOUND
    second.__exit__(None, None, None)
    assert gc.get_threshold() == FOUND


def test_a_collector_that_is_switched_off_by_its_threshold_stays_off() -> None:
    gc.set_threshold(0, *FOUND[1:])
    with no_full_collections():
        assert gc.get_threshold()[0] == 0
