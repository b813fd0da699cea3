"""Hypothesis strategies for whole histories of a lead or a subject, ready to be posted, and for an org's settings.

What is likely in them is what is hard: few identifiers, equal times, times on window edges and clock changes,
duplicates, retractions of known and unknown events and of retractions, fields null or out of place. Among
the events of one history every id stands for one content; exact duplicates and some retractions come at the
end. The order of the list says nothing of the times; draw ``st.permutations(history.events)`` for other arrivals.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.oracle.exact import DAY_US
from tests.oracle.facts import Fact, Settings, facts_from
from tests.oracle.vocabulary import KINDS, PACKS
from tests.property.moments import STEPS_US, ZONES, as_of_times, event_times, grid_times, written_times
from tests.property.payloads import LEAD_PAYLOADS, SUBJECT_PAYLOADS

Envelope = dict[str, Any]

#: Types whose events act on each other; a history is often made of one such circle.
CIRCLES: tuple[tuple[str, ...], ...] = (
    ("conversation_started", "message_received", "message_sent", "discount_requested", "purchase_completed"),
    ("message_received", "message_sent"),
    ("campaign_received", "campaign_opened", "campaign_clicked"),
    ("interaction",),
    ("signed_up", "subscription_changed", "subscription_cancelled"),
    ("session_completed", "session_cancelled", "session_no_show"),
    ("session_completed",),
    ("inbound_call", "login", "payment_succeeded", "payment_failed"),
    ("service_completed", "property_updated"),
    ("profile_updated",),
    ("email_sent", "email_opened", "email_clicked", "email_replied"),
    ("sequence_enrolled", "sequence_step_completed", "sequence_finished"),
    ("lead_created", "meeting_scheduled", "meeting_held", "call_made", "page_viewed", "form_submitted"),
)

#: Beginnings of ids that a sort by UTF-16 units, by locale or without case puts elsewhere than code points do.
_BEGINNINGS = ("e", "E", "\U00010400", "é", "\uff5e", "")


class History(NamedTuple):
    """Events to post, in order of arrival, and a time to read at.

    An envelope has ``id``, ``type``, ``time`` and mostly ``data``; the test adds ``lead`` or ``subject``.
    """

    events: list[Envelope]
    tau_us: int

    @property
    def facts(self) -> list[Fact]:
        """The same for the oracle."""
        return facts_from(self.events)

    @property
    def newest_us(self) -> int:
        """The least time that a server's clock must show to accept every event and to answer for ``tau_us``."""
        return max([self.tau_us, *(fact.at_us for fact in self.facts)])


def ids(pool_size: int) -> SearchStrategy[str]:
    """Event ids out of a pool that is small enough to be hit again."""
    return st.integers(0, pool_size).map(lambda number: f"{_BEGINNINGS[number % len(_BEGINNINGS)]}{number:03d}")


@st.composite
def _events(
    draw: st.DrawFn, payloads: Mapping[str, SearchStrategy[Any]], times: SearchStrategy[int], names: SearchStrategy[str]
) -> Envelope:
    """One event of these types, or a retraction that names an id of the same pool."""
    event_id = draw(names)
    # One in sixteen: a history that is mostly retracted shows little.
    if draw(st.integers(0, 15)) == 15:
        event_type, named = "event_retracted", draw(names)
        data = {"event_id": "nobody" if named == event_id else named}
    else:
        event_type = draw(st.sampled_from(tuple(payloads)))
        data = draw(payloads[event_type])
    envelope = {"id": event_id, "type": event_type, "time": draw(written_times(draw(times)))}
    is_written = bool(data) or draw(st.booleans())
    return {**envelope, "data": data} if is_written else envelope


def events(
    times: SearchStrategy[int], payloads: Mapping[str, SearchStrategy[Any]], pool_size: int
) -> SearchStrategy[Envelope]:
    """Events of these types at these times, with ids (and ids retracted) out of one pool."""
    return _events(payloads, times, ids(pool_size))


@st.composite
def _afterthoughts(draw: st.DrawFn, drawn: list[Envelope], tau_us: int) -> list[Envelope]:
    """Exact duplicates of some events, and retractions of some."""
    again = draw(st.lists(st.sampled_from(drawn), max_size=3))
    regretted = (
        draw(st.lists(st.sampled_from(drawn), max_size=2)) if draw(st.sampled_from([False, False, True])) else []
    )
    retractions = [
        {
            "id": f"x{number}",
            "type": "event_retracted",
            "time": draw(written_times(tau_us - number)),
            "data": {"event_id": each["id"]},
        }
        for number, each in enumerate(regretted)
    ]
    return [*again, *retractions]


@st.composite
def _histories(
    draw: st.DrawFn, payloads: SearchStrategy[Mapping[str, SearchStrategy[Any]]], max_size: int, ahead_us: int
) -> History:
    tau_us = draw(as_of_times())
    anywhere, grid = event_times(tau_us, ahead_us), grid_times(tau_us, draw(st.sampled_from(STEPS_US)), ahead_us)
    times = draw(st.sampled_from([anywhere, grid, anywhere | grid]))
    one = events(times, draw(payloads), 2 * max_size)
    # Left alone, lists stay short: a floor now and then fills windows, and shrinks away.
    at_least = draw(st.sampled_from([0, max_size // 4, max_size // 2, 3 * max_size // 4]))
    drawn = draw(st.lists(one, min_size=at_least, max_size=max_size, unique_by=lambda event: event["id"]))
    return History([*drawn, *(draw(_afterthoughts(drawn, tau_us)) if drawn else [])], tau_us)


def histories(
    max_size: int = 30, *, packs: tuple[str, ...] = PACKS, ahead_us: int = 8 * DAY_US
) -> SearchStrategy[History]:
    """Histories of one lead, of the types of ``packs``: one circle of types, one pack, or everything.

    ``ahead_us`` bounds how far after ``tau_us`` an event may lie. A retraction may name a retraction: that one the
    server refuses or keeps inert, depending on order; the values are the same.
    """
    lead = {name: payload for name, payload in LEAD_PAYLOADS.items() if KINDS[name].pack in packs}
    circles = [tuple(name for name in circle if name in lead) for circle in CIRCLES]
    by_pack = [tuple(name for name in lead if KINDS[name].pack == pack) for pack in packs]
    groups = [group for group in [tuple(lead), *by_pack, *circles] if group]
    chosen = st.sampled_from(groups).map(lambda group: {name: lead[name] for name in group})
    return _histories(chosen, max_size, ahead_us)


def subject_histories(max_size: int = 30, *, ahead_us: int = 8 * DAY_US) -> SearchStrategy[History]:
    """Histories of one subject of the market."""
    return _histories(st.just(SUBJECT_PAYLOADS), max_size, ahead_us)


def _unusual(place: int, timezone: str) -> Settings:
    """Settings of which none but the packs is a default; ``place`` turns each wheel at its own pace."""
    return Settings(
        timezone=timezone,
        min_interactions=(2, 0, 3, 1)[place % 4],
        max_interaction_gap_hours=(24, 1, 0.5)[place % 3],
        engagement_weights={"view": 0, "click": 0.1, "inquiry": 0.2, "message": 0.7, "schedule": 10},
        business_hours=((0, 24), (8, 12), (0, 1), (13, 23), (9, 17))[place % 5],
        free_email_domains=frozenset({"acme.com", "mit.edu"}),
    )


#: Two for each zone: few, so that what is compiled from settings is compiled once for many examples.
ORG_SETTINGS: tuple[Settings, ...] = (
    *(Settings(timezone=zone) for zone in ZONES),
    *(_unusual(place, zone) for place, zone in enumerate(ZONES)),
)


def org_settings(packs: tuple[str, ...] = PACKS) -> SearchStrategy[Settings]:
    """What features read of an org's settings, one of ``ORG_SETTINGS``; the first are the defaults."""
    return st.sampled_from([replace(each, packs=packs) for each in ORG_SETTINGS])
