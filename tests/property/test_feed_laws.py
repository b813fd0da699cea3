"""The feed: changes applied in order to what was true at the beginning give what is true at the end, and each is true."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.event import Stream
from projections.changes import Change
from tests.oracle.facts import Settings
from tests.property.folding import catalogue_of
from tests.property.living import LEADS, Life, Plan, plans
from tests.property.strategies import org_settings

READ, FOLLOW = 1, 2  # what is done after a step
Values = dict[str, dict[str, Any]]


async def live(life: Life, plan: Plan, follows: list[int], start: int, alone: tuple[str, ...]) -> Values:
    """Go through the plan, listening from a step on; what was true of every lead then."""
    begin: Values = {}
    for place, ((lead, step), follow) in enumerate(zip(plan.steps, follows, strict=True)):
        if place == start:
            begin = {each: await life.truth(each) for each in alone or LEADS}
            for each in alone:
                life.following.follow(each)
            if not alone:
                life.following.follow_all()
            life.told.clear()
            life.begun = await life.store.last_position()
        if isinstance(step, float):
            life.clock.advance(step)
        else:
            await life.post(lead, step)
        if follow & READ:
            await life.read()
        if follow & FOLLOW:
            await life.follow()
    await life.follow()
    return begin


async def check(life: Life, known: Values) -> None:
    at_us: dict[str, int] = {}
    for lead, change in life.told:
        assert change.at_us >= at_us.get(lead, change.at_us)
        at_us[lead] = change.at_us
        assert {name: (known[lead][name], new) for name, (_, new) in change.moves.items()} == change.moves
        known[lead] |= {name: new for name, (_, new) in change.moves.items()}
        if change.cause is None:
            await check_time(life, lead, change)
    for lead, values in known.items():
        assert values == await life.truth(lead)


async def check_passed(life: Life, alone: tuple[str, ...]) -> None:
    """Every event since the beginning was passed on, once, in its lead's order."""
    for lead in alone or LEADS:
        log = await life.store.read(Stream("default", "lead", lead))
        since = [event.version for event in log if event.position > life.begun]
        assert [event.version for event in life.passed if event.stream.id == lead] == since
    assert {event.stream.id for event in life.passed} <= set(alone or LEADS)


async def check_time(life: Life, lead: str, change: Change) -> None:
    """It was otherwise until that instant, and so from it on, without any event."""
    before = await life.truth(lead, change.at_us - 1, before_us=change.at_us)
    after = await life.truth(lead, change.at_us, before_us=change.at_us)
    assert change.moves == {name: (before[name], new) for name, new in after.items() if new != before[name]}


@given(
    plans(),
    org_settings(),
    st.integers(1, 3),
    st.sampled_from([1, 2, 100]),
    st.sampled_from([(), (), LEADS[:1], LEADS[:2]]),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_changes_replayed_over_the_beginning_give_the_end(
    plan: Plan, org: Settings, max_awake: int, leads_max: int, alone: tuple[str, ...], data: st.DataObject
) -> None:
    follows = data.draw(st.lists(st.integers(0, READ | FOLLOW), min_size=len(plan.steps), max_size=len(plan.steps)))
    start = data.draw(st.integers(0, len(plan.steps) - 1))

    async def run() -> None:
        life = Life(catalogue_of(org), plan.start_us, max_awake=max_awake, leads_max=leads_max)
        await check(life, await live(life, plan, follows, start, alone))
        await check_passed(life, alone)

    asyncio.run(run())
