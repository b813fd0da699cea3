"""Following leads, case by case; ``tests/property/test_feed_laws.py`` has the laws."""

from typing import Any

import pytest

from actors.host import Tap
from eventstore.event import Event, Stream
from eventstore.store import Stored
from gateway.feed import following
from kernel.errors import StoreUnavailable
from kernel.settings import OrgSettings
from kernel.times import DAY_US, SECOND_US, format_time
from projections.catalogue import Catalogue
from projections.changes import Change
from tests.property.living import Life, new_event

T0 = 1_800_000_000 * SECOND_US
TOTAL = "rfm:monetary_total"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue("default", OrgSettings(packs=("commerce",)))


def life_of(catalogue: Catalogue, *, max_awake: int = 1, leads_max: int = 100) -> Life:
    return Life(catalogue, T0, max_awake=max_awake, leads_max=leads_max)


def purchase(event_id: str, amount: float, at_us: int = T0) -> dict[str, Any]:
    return {"id": event_id, "type": "purchase_completed", "time": format_time(at_us), "data": {"amount": amount}}


def totals(life: Life) -> list[tuple[str, str | None, Any]]:
    """What was told of the total: lead, cause, and the value after."""
    return [(lead, _cause(change), change.moves[TOTAL][1]) for lead, change in life.told if TOTAL in change.moves]


def _cause(change: Change) -> str | None:
    return None if change.cause is None else change.cause.id


async def test_an_event_whose_time_came_before_its_lead_was_surveyed_is_told_at_its_time(catalogue: Catalogue) -> None:
    life = life_of(catalogue)
    await life.post("ann", [purchase("soon", 7, T0 + 60 * SECOND_US)])
    life.following.follow_all()
    life.clock.advance(61)
    await life.read()  # folds what waited
    await life.post("bob", [purchase("b", 1)])  # pushes it out of memory: its snapshot has what waited
    assert life.host.awake(Stream("default", "lead", "ann")) is None
    await life.follow()
    assert ("ann", "soon", 7) in totals(life)
    assert next(change.at_us for lead, change in life.told if lead == "ann") == T0 + 60 * SECOND_US


async def test_events_that_come_together_and_need_a_fold_anew_are_one_entry_named_by_the_last(
    catalogue: Catalogue,
) -> None:
    life = life_of(catalogue)
    await life.post("ann", [purchase("now", 1)])
    life.following.follow_all()
    await life.follow()
    retractions = [
        {"id": "r1", "type": "event_retracted", "time": format_time(T0), "data": {"event_id": "now"}},
        purchase("x1", 10),
        purchase("x2", 100),
    ]
    await life.post("ann", retractions)
    await life.follow()
    assert totals(life) == [("ann", "x2", 110)]


async def test_shadows_beyond_the_bound_are_made_again_and_nothing_is_told_twice(catalogue: Catalogue) -> None:
    life = life_of(catalogue, leads_max=1)
    life.following.follow_all()
    for turn in range(3):
        for lead in ("ann", "bob", "cleo"):
            await life.post(lead, [purchase(f"{turn}", 1, T0 + turn * DAY_US)])
        await life.follow()
        assert life.following.shadows <= 1
        life.clock.advance(86_400)
        await life.follow()
    assert totals(life) == [(lead, str(turn), turn + 1) for turn in range(3) for lead in ("ann", "bob", "cleo")]
    days = [change.moves["rfm:recency_days"] for lead, change in life.told if "rfm:recency_days" in change.moves]
    assert days.count((0, 1)) == 9


async def test_a_log_that_was_away_costs_time_and_no_change(catalogue: Catalogue) -> None:
    life = life_of(catalogue)
    await life.post("ann", [purchase("1", 1)])
    life.following.follow_all()
    await life.post("ann", [purchase("2", 2)])
    read = life.store.read
    failures = [StoreUnavailable("away")] * 3

    async def failing(stream: Stream, *, after_version: int = 0, limit: int | None = None) -> list[Event]:
        if failures:
            raise failures.pop()
        return await read(stream, after_version=after_version, limit=limit)

    life.store.read = failing  # type: ignore[method-assign]
    while failures:
        with pytest.raises(StoreUnavailable):
            await life.following.work()
    await life.follow()
    assert totals(life) == [("ann", "2", 3)]


async def test_events_delivered_twice_or_before_earlier_ones_are_told_once_in_order(catalogue: Catalogue) -> None:
    life = life_of(catalogue)
    life.following.follow_all()
    deliver: Tap = life.following.deliver
    life.host.untap(deliver)
    await life.post("ann", [purchase(str(number), 1, T0 - 9 + number) for number in range(4)])
    log = await life.log("ann")
    for part in (log[2:3], log[:1], log[2:4], log[:2]):
        deliver(part)
        await life.follow()
    assert [cause for _, cause, _ in totals(life)] == ["0", "1", "2", "3"]


async def test_a_lead_is_followed_from_before_its_first_event(catalogue: Catalogue) -> None:
    life = life_of(catalogue, leads_max=1)
    for lead in ("ann", "bob"):
        life.following.follow(lead)
    await life.follow()
    for day in range(3):
        for lead in ("ann", "bob"):
            await life.post(lead, [purchase(str(day), 1, T0 + day * DAY_US)])
        await life.follow()
        life.clock.advance(86_400)
    assert totals(life) == [(lead, str(day), day + 1) for day in range(3) for lead in ("ann", "bob")]


async def test_an_event_that_is_stored_and_not_delivered_yet_is_told_when_it_is(catalogue: Catalogue) -> None:
    life = life_of(catalogue)
    await life.post("ann", [purchase("1", 1)])
    life.following.follow_all()
    token = life.host.begin_append()
    outcomes = await life.store.append([new_event("ann", purchase("2", 2))])
    await life.follow()  # surveys the lead, whose log has the event already
    assert totals(life) == []
    await life.host.deliver([outcome.event for outcome in outcomes if isinstance(outcome, Stored)])
    life.host.end_append(token)
    await life.follow()
    assert totals(life) == [("ann", "2", 3)]


async def test_leads_followed_alone_go_on_being_followed_when_all_are_left(catalogue: Catalogue) -> None:
    life = life_of(catalogue)
    for lead in ("ann", "bob"):
        await life.post(lead, [purchase("1", 1)])
    life.following.follow_all()
    life.following.follow("ann")
    await life.follow()
    life.following.leave_all()
    life.clock.advance(86_400)
    for lead in ("ann", "bob"):
        await life.post(lead, [purchase("2", 1, T0 + DAY_US)])
    await life.follow()
    assert totals(life) == [("ann", "2", 2)]
    assert [change.moves["rfm:recency_days"] for _, change in life.told] == [(0, 1), (1, 0)]
    life.following.leave("ann")
    await life.post("ann", [purchase("3", 1, T0 + DAY_US)])
    life.clock.advance(86_400)
    await life.follow()
    assert len(life.told) == 2
    assert life.following.shadows == 0


async def test_more_events_than_may_wait_are_an_overrun(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_QUEUE_MAX", 3)
    life = life_of(catalogue)
    life.following.follow_all()
    await life.post("ann", [purchase(str(number), 1, T0 + number) for number in range(3)])
    assert not life.following.is_overrun
    await life.post("ann", [purchase("one more", 1)])
    assert life.following.is_overrun


async def test_other_orgs_and_other_kinds_of_streams_are_not_followed(catalogue: Catalogue) -> None:
    life = life_of(catalogue)
    life.following.follow("ann")
    await life.post("bob", [purchase("1", 1)])
    await life.follow()
    assert life.told == []
    await life.post("ann", [purchase("1", 1)])
    await life.follow()
    assert totals(life) == [("ann", "1", 1)]


async def test_what_was_delivered_while_another_append_was_under_way_is_told_to_who_follows_then(
    catalogue: Catalogue,
) -> None:
    life = life_of(catalogue)
    await life.post("ann", [purchase("1", 1)])
    token = life.host.begin_append()  # of somebody else: the position since which all is told stays before event 2
    await life.post("ann", [purchase("2", 2)])
    life.following.follow_all()
    life.host.end_append(token)
    await life.follow()
    assert totals(life) == [("ann", "2", 3.0)]
