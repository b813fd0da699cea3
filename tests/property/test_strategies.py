"""The strategies themselves: what they make is well formed, and the hard cases are really among it."""

from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.oracle.exact import DAY_US, instant
from tests.oracle.facts import Fact
from tests.oracle.vocabulary import KINDS
from tests.property.moments import ZONES, as_of_times, written_times
from tests.property.payloads import LEAD_PAYLOADS, SUBJECT_PAYLOADS
from tests.property.strategies import CIRCLES, History, histories, subject_histories

_SAMPLE = settings(
    max_examples=300,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_every_event_type_from_outside_has_a_payload() -> None:
    outside = {name: kind for name, kind in KINDS.items() if kind.pack not in ("any", "system")}
    assert set(LEAD_PAYLOADS) == {name for name, kind in outside.items() if kind.about == "lead"}
    assert set(SUBJECT_PAYLOADS) == {name for name, kind in outside.items() if kind.about == "subject"}
    assert {name for circle in CIRCLES for name in circle} <= set(LEAD_PAYLOADS)
    assert len(ZONES) == 12


@given(st.data())
def test_a_written_time_reads_as_the_instant_it_was_made_from(data: st.DataObject) -> None:
    at_us = data.draw(as_of_times())
    assert instant(data.draw(written_times(at_us))) == at_us


@settings(max_examples=50, deadline=None)
@given(histories(20) | subject_histories(20))
def test_a_history_can_be_posted(history: History) -> None:
    contents = {each["id"]: each for each in history.events}
    assert all(contents[each["id"]] == each for each in history.events)
    assert all(set(each) <= {"id", "type", "time", "data"} for each in history.events)
    assert all(not each["id"].startswith("~") for each in history.events)
    assert history.tau_us <= history.newest_us <= history.tau_us + 8 * DAY_US


def _has(predicate: Callable[[Fact], bool]) -> Callable[[History], bool]:
    return lambda history: any(predicate(fact) for fact in history.facts)


def _retracts_a_retraction(history: History) -> bool:
    types = {fact.id: fact.type for fact in history.facts}
    named = [fact.get("event_id") for fact in history.facts if fact.type == "event_retracted"]
    return any(types.get(each) == "event_retracted" for each in named)


def _retracts_a_known_event(history: History) -> bool:
    types = {fact.id: fact.type for fact in history.facts}
    named = [fact.get("event_id") for fact in history.facts if fact.type == "event_retracted"]
    return any(types.get(each, "event_retracted") != "event_retracted" for each in named)


def _has_equal_times(history: History) -> bool:
    return len({fact.at_us for fact in history.facts}) < len({fact.id for fact in history.facts})


def _is_exactly_thirty_days_old(history: History) -> bool:
    return any(fact.at_us == history.tau_us - 30 * DAY_US for fact in history.facts)


HARD: dict[str, Callable[[History], bool]] = {
    "retracts a retraction": _retracts_a_retraction,
    "retracts a known event": _retracts_a_known_event,
    "equal times": _has_equal_times,
    "exactly on a window's edge": _is_exactly_thirty_days_old,
    "duplicates": lambda history: len(history.events) > len({each["id"] for each in history.events}),
    "events to come": lambda history: any(fact.at_us > history.tau_us for fact in history.facts),
    "before the epoch": _has(lambda fact: fact.at_us < 0),
    "null fields": _has(lambda fact: None in fact.data.values()),
    "fields of other types": _has(lambda fact: fact.type == "login" and "channel" in fact.data),
    "no events": lambda history: not history.events,
    "many events": lambda history: len(history.events) >= 20,
}


def test_hard_cases_are_among_the_histories() -> None:
    seen: Counter[str] = Counter()

    @_SAMPLE
    @given(histories(20))
    def look(history: History) -> None:
        seen.update(fact.type for fact in history.facts)
        seen.update(name for name, is_hard in HARD.items() if is_hard(history))

    look()
    assert {name for name in (*HARD, *LEAD_PAYLOADS, "event_retracted") if not seen[name]} == set()
