"""The fold of an org's definitions: in order, once each, and read again after a gap."""

import msgspec
import pytest

from eventstore.event import Event
from eventstore.memory import MemoryEventStore
from eventstore.system import BUILT_IN, ServiceDefined, org_stream
from eventstore.types import EventTypes
from gateway.feature_services import FeatureServices
from gateway.problems import Problem
from kernel.clock import VirtualClock
from kernel.ids import Position
from kernel.settings import OrgSettings
from projections.catalogue import Catalogue

CATALOGUE = Catalogue("default", OrgSettings(subjects=("algebra",)))


def defined(version: int, name: str, features: list[str] | None, number: int = 1) -> Event:
    data = msgspec.json.encode(ServiceDefined(name, number, features))
    return Event(org_stream("default"), 1, version, Position(version), f"~{version}", "service_defined", 7, 7, data)


def services() -> FeatureServices:
    return FeatureServices("default", CATALOGUE)


def test_the_newest_definition_counts_and_the_one_before_is_current_no_more() -> None:
    folded = services()
    folded.fold(defined(1, "s", ["rfm:recency_days"]))
    first = folded.get("s")
    assert first is not None
    assert first.is_current
    folded.fold(defined(2, "s", ["rfm:monetary_total"], 2))
    second = folded.get("s")
    assert second is not None
    assert (second.features, second.version, second.is_current) == (("rfm:monetary_total",), 2, True)
    assert not first.is_current
    folded.fold(defined(3, "s", None, 3))
    assert (folded.get("s"), folded.names(), second.is_current) == (None, [], False)


def test_what_was_taken_is_not_taken_again() -> None:
    folded = services()
    for event in (
        defined(1, "s", ["rfm:recency_days"]),
        defined(2, "s", None, 2),
        defined(1, "s", ["rfm:recency_days"]),
    ):
        folded.fold(event)
    assert folded.get("s") is None


def test_after_a_gap_the_stream_is_read_again() -> None:
    folded = services()
    folded.is_loaded = True
    folded.fold(defined(2, "s", ["rfm:recency_days"]))
    assert folded.get("s") is None
    assert not folded.is_loaded


async def test_loading_an_empty_stream_finds_nothing_and_is_done() -> None:
    folded = services()
    await folded.load(MemoryEventStore(types=EventTypes(BUILT_IN), clock=VirtualClock()))
    assert folded.is_loaded
    assert folded.names() == []


def test_other_definitions_of_the_org_are_passed_over() -> None:
    folded = services()
    other = defined(1, "s", ["rfm:recency_days"])
    other.type = "alert_rule_defined"
    folded.fold(other)
    folded.fold(defined(2, "s", ["rfm:recency_days"]))
    assert folded.names() == ["s"]


def test_a_service_without_one_of_its_features_says_which() -> None:
    folded = services()
    folded.fold(defined(1, "s", ["rfm:recency_days", "old:gone"]))
    service = folded.get("s")
    assert service is not None
    with pytest.raises(Problem, match="service s: old:gone is no longer in the catalogue"):
        folded.span(service)
