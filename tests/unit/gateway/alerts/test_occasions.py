"""Marks of leads: runs of old news and of news, bounded."""

from eventstore.event import Event, Stream
from gateway.alerts.occasions import RUNS_MAX, Marked, Occasions, Run
from kernel.ids import Position

A, B, C = (Stream("default", "lead", name) for name in "abc")


def event(stream: Stream, version: int) -> Event:
    return Event(stream, 1, version, Position(version), f"e{version}", "login", 0, 0, b"{}")


def note(occasions: Occasions, stream: Stream, *ages: bool, first: int = 1) -> None:
    for version, is_old in enumerate(ages, first):
        occasions.note(event(stream, version), is_old_news=is_old)


def test_events_of_one_age_are_one_run_that_ends_with_the_last() -> None:
    occasions = Occasions(10)
    note(occasions, A, True, True, False, False, True)
    assert occasions.take(5) == [Marked(A, [Run(2, True), Run(4, False), Run(5, True)])]
    assert len(occasions) == 0


def test_too_many_runs_are_one_and_old_news_if_any_is() -> None:
    occasions = Occasions(10)
    note(occasions, A, *(n % 2 == 0 for n in range(3 * RUNS_MAX)))
    ((_, runs),) = occasions.take(1)
    assert len(runs) == RUNS_MAX
    assert runs[-1] == Run(3 * RUNS_MAX, True)


def test_those_marked_first_are_taken_first() -> None:
    occasions = Occasions(10)
    for stream in (B, A, C, B):
        note(occasions, stream, False)
    assert [marked.stream for marked in occasions.take(2)] == [B, A]
    assert occasions.claim(C).runs == [Run(1, False)]
    assert occasions.claim(C).runs == ()


def test_past_the_bound_nobody_more_is_marked_and_it_is_known_what_was_missed() -> None:
    occasions = Occasions(1)
    note(occasions, A, True)
    assert not occasions.is_overrun
    note(occasions, B, True)
    assert (len(occasions), occasions.is_overrun, occasions.is_overrun_by_news) == (1, True, False)
    note(occasions, C, False)
    assert occasions.is_overrun_by_news
    occasions.begin_anew()
    assert not occasions.is_overrun
    assert not occasions.is_overrun_by_news
    note(occasions, A, False, first=2)
    assert not occasions.is_overrun


def test_what_is_put_back_comes_before_what_happened_since() -> None:
    occasions = Occasions(10)
    note(occasions, A, True, False)
    taken = occasions.take(1)
    note(occasions, A, False, True, first=3)
    occasions.put_back(taken)
    assert occasions.claim(A).runs == [Run(1, True), Run(3, False), Run(4, True)]
