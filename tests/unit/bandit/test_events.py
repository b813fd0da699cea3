"""The bandit's events: known to the door, ids that follow from causes, vectors bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit import events
from bandit.events import (
    DecisionMade,
    PolicyDefined,
    RewardReceived,
    columns_fingerprint,
    decision_event,
    decision_event_id,
    decision_stream,
    pack_vector,
    payload_of,
    policy_defined_event,
    reward_event,
    reward_event_id,
    settlement_event_id,
    unpack_vector,
)
from eventstore.system import BUILT_IN, SYSTEM_NAMES
from eventstore.types import EventTypes
from tests.unit.bandit.logs import LEAD, NOON, POLICY, Log, a_decision, a_policy


def test_every_type_is_the_systems_own_and_can_be_registered_beside_the_others() -> None:
    assert {each.name for each in events.TYPES} <= SYSTEM_NAMES
    types = EventTypes([*BUILT_IN, *events.TYPES])
    stored = Log().decision(a_decision(), NOON)
    assert types.payload_of(stored) == payload_of(stored) == a_decision()


def test_ids_follow_from_what_caused_them() -> None:
    ids = [
        decision_event_id("d"),
        events.activation_event_id("d"),
        reward_event_id("d", "r"),
        settlement_event_id("d", "final"),
        settlement_event_id("d", "provisional"),
    ]
    assert [each[:4] for each in ids] == ["~dm:", "~da:", "~rr:", "~rs:", "~rp:"]
    assert {len(each) for each in ids} == {68}
    assert settlement_event_id("d", "expired") == settlement_event_id("d", "final")
    assert reward_event_id("a", "b c") != reward_event_id("a b", "c")


def test_equal_content_has_one_id_and_another_version_another() -> None:
    first = policy_defined_event(POLICY, PolicyDefined(1, a_policy(), ["x"]), NOON)
    assert policy_defined_event(POLICY, PolicyDefined(1, a_policy(), ["x"]), NOON + 5).id == first.id
    assert policy_defined_event(POLICY, PolicyDefined(2, a_policy(), ["x"]), NOON).id != first.id


def test_events_have_no_time_of_their_own_when_compared() -> None:
    assert not decision_event(LEAD, a_decision(), NOON).has_time
    assert not reward_event(LEAD, RewardReceived("d", "r", 1.0), NOON).has_time


def test_a_decision_is_kept_with_its_lead_or_in_a_stream_of_its_own() -> None:
    assert decision_stream("acme", "42", "d1") == LEAD
    assert decision_stream("acme", None, "d1") == ("acme", "decision", "d1")


@given(st.lists(st.floats()))
def test_vectors_are_kept_bit_for_bit(values: list[float]) -> None:
    packed = pack_vector(np.array(values, dtype=np.float64))
    assert unpack_vector(packed).tobytes() == np.array(values, dtype="<f8").tobytes() == packed


def test_bytes_that_are_no_vector_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        unpack_vector(b"123")


def test_a_fingerprint_names_columns_in_their_order() -> None:
    assert columns_fingerprint(["a", "b"]) != columns_fingerprint(["b", "a"]) != columns_fingerprint(["ab"])


def test_a_decision_written_by_an_older_version_is_read_with_defaults() -> None:
    stored = Log().decision(a_decision(), NOON)
    stored.data = stored.data.replace(b',"channel":"mail","imitation":null', b"")
    stored.payload = None
    found: DecisionMade = payload_of(stored)
    assert (found.channel, found.imitation) == (None, None)
