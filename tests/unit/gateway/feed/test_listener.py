import asyncio

import msgspec
import pytest

from gateway.feed.entries import Entry
from gateway.feed.listener import Listener
from gateway.feed.ring import Ring


def entry(sequence: int, lead: str = "a", **moves: tuple[object, object]) -> Entry:
    named = {f"v:{name}": move for name, move in moves.items()} or {"v:x": (0, sequence)}
    return Entry(sequence, "features", lead, {"lead": lead}, named, 0)


def listener(
    ring: Ring, *, lead: str | None = None, names: frozenset[str] | None = None, waiting_max: int = 3
) -> Listener:
    return Listener(lead=lead, names=names, waiting_max=waiting_max, ring=ring, prefix="p-")


def ring_of(*entries: Entry) -> Ring:
    ring = Ring(keep_s=60, keep_changes=1000)
    for each in entries:
        ring.append(each)
    return ring


def sequences(chunk: bytes) -> list[int]:
    return [int(line.rpartition(b"-")[2], 16) for line in chunk.splitlines() if line.startswith(b"id: ")]


async def test_what_waits_is_taken_in_order_and_once() -> None:
    one = listener(ring_of())
    assert all(one.offer(entry(number)) for number in (1, 2))
    await one.wait()
    assert sequences(one.take()) == [1, 2]
    assert one.take() == b""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one.wait(), 0)


async def test_one_entry_too_many_and_it_is_lost() -> None:
    one = listener(ring_of())
    assert [one.offer(entry(number)) for number in range(1, 6)] == [True, True, True, False, True]
    assert one.is_lost
    await one.wait()
    assert one.take() == b""


async def test_what_it_missed_does_not_count_and_comes_first() -> None:
    missed = [entry(number, "ab"[number % 2]) for number in range(1, 9)]
    one = listener(ring_of(*missed), lead="a")
    one.resume(missed)
    for number in (9, 10, 11):
        assert one.offer(entry(number))
    assert sequences(one.take()) == [2, 4, 6, 8, 9, 10, 11]


async def test_a_narrow_listener_gets_only_its_features_and_nothing_empty() -> None:
    one = listener(ring_of(), names=frozenset({"v:y"}))
    one.offer(entry(1, x=(0, 1)))
    one.offer(entry(2, x=(0, 1), y=(None, "s")))
    chunk = one.take()
    assert sequences(chunk) == [2]
    data = msgspec.json.decode(chunk.split(b"data: ")[1])
    assert data == {"lead": "a", "changes": {"v:y": [None, "s"]}}


async def test_the_mark_is_of_the_last_entry_only_when_nothing_waits() -> None:
    ring = ring_of(entry(1))
    one = listener(ring)
    assert sequences(one.mark()) == [1]
    ring.append(entry(2))
    assert sequences(one.mark()) == [2]
    ring.append(entry(3))
    one.offer(entry(3))
    assert sequences(one.mark()) == [1]
    one.take()
    assert sequences(one.mark()) == [3]
    assert b"event: reset" in one.reset("why")


async def test_closing_ends_it_and_breaks_off_a_write() -> None:
    one = listener(ring_of())
    broken: list[bool] = []
    one.interrupt = lambda: broken.append(True)
    one.close()
    await one.wait()
    assert (one.has_ended, one.is_lost, broken) == (True, False, [True])
    assert one.offer(entry(1))
    assert one.take() == b""


async def test_the_mark_of_one_who_comes_back_does_not_pass_what_is_still_to_be_sent() -> None:
    ring = ring_of(*(entry(number, "a" if number % 2 else "b") for number in range(1, 7)))
    one = listener(ring, lead="a")
    missed = ring.after(2)
    assert missed is not None
    one.resume(missed)
    assert sequences(one.mark()) == [2], "cut off here, it comes back with what it had"
    assert sequences(one.take()) == [3, 5]
    assert sequences(one.mark()) == [6]
