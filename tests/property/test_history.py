"""A history is what reads as of each of its instants answer, to the bit."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.retraction import effective
from kernel.steps import finish
from kernel.times import DAY_US, HOUR_US, parse_rfc3339
from projections.hindsight.history import history
from projections.refolding import refolded
from tests.oracle.facts import Settings
from tests.property.folding import LEAD, catalogue_of, stored
from tests.property.strategies import History, histories, org_settings


@given(
    histories(30),
    org_settings(),
    st.sampled_from([1, HOUR_US, DAY_US, 7 * DAY_US]),
    st.integers(0, 12),
    st.sampled_from([None, "rfm", "window", "customer"]),
)
@settings(max_examples=30, deadline=None)
def test_every_row_is_a_read_as_of_its_instant(
    drawn: History, org: Settings, step_us: int, before: int, view: str | None
) -> None:
    catalogue = catalogue_of(org)
    events = stored(drawn.events, drawn.newest_us)
    span = catalogue.span(views=None if view is None else [view])
    instants = range(drawn.tau_us - before * step_us, drawn.tau_us + 3 * step_us, step_us)
    counting = effective(events).events
    rows = finish(history(catalogue.compiled, catalogue.event_types, counting, span, instants))
    decoded = [msgspec.json.decode(row) for row in rows]
    assert [parse_rfc3339(row["at"]) for row in decoded] == list(instants)
    for at_us, row in zip(instants, decoded, strict=True):
        entity = refolded(LEAD, 7, catalogue, events, until_us=at_us)
        entity.read(at_us)
        assert msgspec.json.encode(row["values"]) == msgspec.json.encode(entity.values(span.own))
