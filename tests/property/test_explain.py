"""The law of an explanation: the events that it names, folded alone, give the value; and so does all between."""

import random
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.event import Event, Stream
from eventstore.retraction import effective
from kernel.steps import finish
from projections.catalogue import Catalogue, Entities
from projections.hindsight.behind import events_behind
from projections.hindsight.explain import Explainer, Explanation
from projections.hindsight.sieves import Past
from projections.refolding import refolded
from tests.oracle.facts import Settings
from tests.property import test_aggregates as probes
from tests.property.folding import LEAD, catalogue_of, stored
from tests.property.naive import Fact
from tests.property.strategies import ORG_SETTINGS, History, histories, subject_histories

SUBJECT = Stream("default", "subject", "algebra")
#: Few, since each compiles every feature alone: UTC, daylight saving with other settings.
ORGS = st.sampled_from([ORG_SETTINGS[0], ORG_SETTINGS[13]])


@cache
def explainer_of(catalogue: Catalogue, kind: str) -> Explainer:
    entities: Entities = catalogue if kind == "lead" else catalogue.subjects
    return Explainer(entities, catalogue.event_types, "EUR")


def explanations(catalogue: Catalogue, events: list[Event], at_us: int, stream: Stream) -> Iterable[Explanation]:
    explainer = explainer_of(catalogue, stream.kind)
    counting = effective(events).events
    for reference in explainer.entities.specs:
        yield finish(explainer.explain(reference, counting, at_us))


def value_at(catalogue: Catalogue, events: Iterable[Event], reference: str, at_us: int, stream: Stream) -> Any:
    entity = refolded(stream, 7, catalogue, list(events), until_us=at_us)
    entity.read(at_us)
    return entity.values(entity.entities.select(features=[reference]))[0]


def check(catalogue: Catalogue, events: list[Event], at_us: int, chance: random.Random, stream: Stream = LEAD) -> None:
    counting = [event for event in effective(events).events if event.at_us <= at_us]
    explainer = explainer_of(catalogue, stream.kind)
    past = Past(explainer.sieves, counting, at_us)
    for each in explanations(catalogue, events, at_us, stream):
        reference = each.feature.reference
        assert value_at(catalogue, events, reference, at_us, stream) == each.value, reference
        assert value_at(catalogue, each.events, reference, at_us, stream) == each.value, reference
        assert each.events == finish(events_behind(explainer.entities.specs[reference].documented.expr, past)), "wide"
        named = {event.version for event in each.events}
        more = [event for event in counting if event.version in named or chance.random() < 0.5]
        assert value_at(catalogue, more, reference, at_us, stream) == each.value, reference
        assert named <= {event.version for event in counting}
        assert all(event.type in each.feature.affected_by for event in each.events), reference
        if each.next_change_us is not None:
            assert each.next_change_us > at_us
            assert value_at(catalogue, events, reference, each.next_change_us - 1, stream) == each.value, reference
            after = value_at(catalogue, events, reference, each.next_change_us, stream)
            assert (after, type(after)) == (each.next_value, type(each.next_value)), reference


@given(histories(30), ORGS, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_events_named_alone_and_with_any_others_give_each_leads_value(
    history: History, org: Settings, chance: random.Random
) -> None:
    check(catalogue_of(org), stored(history.events, history.newest_us), history.tau_us, chance)


@given(subject_histories(40), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_events_named_alone_and_with_any_others_give_each_subjects_value(
    history: History, chance: random.Random
) -> None:
    events = stored(history.events, history.newest_us, SUBJECT)
    check(catalogue_of(Settings()), events, history.tau_us, chance, SUBJECT)


@given(probes.histories(), st.sampled_from(["Europe/Berlin", "UTC"]), st.randoms(use_true_random=False))
@settings(max_examples=12, deadline=None)
def test_so_they_do_for_every_aggregate_of_the_language_over_every_window(
    history: tuple[list[Fact], int], zone: str, chance: random.Random
) -> None:
    facts, tau_us = history
    check(probes.CATALOGUES[zone], probes.stored(facts, tau_us), tau_us, chance)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@given(histories(60), ORGS, st.randoms(use_true_random=False))
@settings(max_examples=1000, deadline=None)
def test_a_thousand_histories_are_explained(history: History, org: Settings, chance: random.Random) -> None:
    check(catalogue_of(org), stored(history.events, history.newest_us), history.tau_us, chance)
