from gateway.feed.entries import Entry
from gateway.feed.ring import Ring
from kernel.times import SECOND_US


def entry(sequence: int, at_s: float = 0, changes: int = 1) -> Entry:
    moves = {f"v:{n}": (0, 1) for n in range(changes)}
    return Entry(sequence, "features", "a", {}, moves, round(at_s * SECOND_US))


def after(ring: Ring, sequence: int) -> list[int] | None:
    found = ring.after(sequence)
    return None if found is None else [each.sequence for each in found]


def test_what_came_after_an_entry_is_found_or_known_to_be_lost() -> None:
    ring = Ring(keep_s=10, keep_changes=3)
    assert after(ring, 0) == []
    for sequence in range(1, 6):
        ring.append(entry(sequence))
    assert after(ring, 5) == []
    assert after(ring, 3) == [4, 5]
    assert after(ring, 2) == [3, 4, 5]
    assert after(ring, 1) is None
    assert after(ring, 6) is None
    assert after(ring, -1) is None


def test_entries_are_kept_for_their_time_and_by_their_changes() -> None:
    ring = Ring(keep_s=10, keep_changes=100)
    ring.append(entry(1, 0))
    ring.append(entry(2, 5))
    ring.trim(10 * SECOND_US)
    assert after(ring, 0) == [1, 2]
    ring.trim(10 * SECOND_US + 1)
    assert (after(ring, 0), after(ring, 1)) == (None, [2])
    ring.append(entry(3, 11, changes=99))
    assert after(ring, 1) == [2, 3]
    ring.append(entry(4, 11, changes=2))
    assert (after(ring, 2), after(ring, 3)) == (None, [4])
