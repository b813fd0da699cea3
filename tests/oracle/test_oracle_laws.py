"""Laws that the yardstick must keep itself before anything is held against it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.changes import candidates, changes_between
from tests.oracle.exact import DAY_US
from tests.oracle.facts import Settings, Value
from tests.oracle.features import campaigns_ignored, lead_features, subject_features
from tests.oracle.names import DTYPES
from tests.property.strategies import History, histories, org_settings, subject_histories

_PYTHON: dict[str, type] = {"int": int, "float": float, "string": str, "list": list}


@settings(max_examples=60, deadline=None)
@given(histories(15), org_settings(), st.data())
def test_neither_arrival_order_nor_duplicates_change_a_value(
    history: History, org: Settings, data: st.DataObject
) -> None:
    values = lead_features(history.facts, history.tau_us, org)
    shuffled = data.draw(st.permutations(history.facts))
    assert lead_features(shuffled + shuffled[:3], history.tau_us, org) == values


def _conforms(name: str, value: Value) -> bool:
    return value is None or type(value) is _PYTHON[DTYPES[name]]


@settings(max_examples=60, deadline=None)
@given(histories(15), subject_histories(15), org_settings())
def test_every_value_has_the_dtype_of_its_row(lead: History, subject: History, org: Settings) -> None:
    values = lead_features(lead.facts, lead.tau_us, org)
    values |= {f"{name}_algebra": value for name, value in subject_features(subject.facts, subject.tau_us).items()}
    assert [(name, value) for name, value in values.items() if not _conforms(name, value)] == []


@settings(max_examples=60, deadline=None)
@given(histories(15), org_settings())
def test_the_number_of_ignored_campaigns_is_that_of_their_list(history: History, org: Settings) -> None:
    due_of = campaigns_ignored(history.facts, history.tau_us, org)
    assert lead_features(history.facts, history.tau_us, org)["campaign:campaign_ignored"] == len(due_of)
    assert all(due_us <= history.tau_us for due_us in due_of.values())


@settings(max_examples=40, deadline=None)
@given(histories(6), org_settings(), st.data())
def test_values_are_constant_between_two_candidate_instants(
    history: History, org: Settings, data: st.DataObject
) -> None:
    end_us = history.tau_us + 8 * DAY_US
    instants = [history.tau_us, *candidates(history.facts, history.tau_us, end_us), end_us]
    place = data.draw(st.integers(0, len(instants) - 2))
    start_us = instants[place]
    inside_us = data.draw(st.integers(start_us, max(start_us, instants[place + 1] - 1)))
    assert lead_features(history.facts, inside_us, org) == lead_features(history.facts, start_us, org)


@settings(max_examples=25, deadline=None)
@given(histories(5), org_settings())
def test_changes_lead_from_the_first_values_to_the_last(history: History, org: Settings) -> None:
    end_us = history.tau_us + 3 * DAY_US
    start, end = (lead_features(history.facts, at_us, org) for at_us in (history.tau_us, end_us))
    changes = list(changes_between(history.facts, history.tau_us, end_us, org))
    changed = {name for change in changes for name in change.names}
    assert {name for name in start if start[name] != end[name]} <= changed
    assert all(history.tau_us < change.at_us <= end_us for change in changes)
