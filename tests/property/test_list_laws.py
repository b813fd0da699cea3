"""Ranked lists: whatever happened and whatever time it is, a list is the leads' values of now, sorted."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.lists.org_lists import Question
from projections.ranking.conditions import Condition
from tests.oracle.facts import Settings
from tests.property.folding import catalogue_of
from tests.property.living import LEADS, Life, Plan, plans
from tests.property.strategies import org_settings

READ, ASK = 1, 2  # what is done after a step
SORTS = (
    "rfm:recency_days",
    "rfm:monetary_total",
    "behavior:engagement_score",
    "window:session_count_7d",
    "timing:activity_burst",
    "activity:activity_velocity",
    "customer:lifetime_value",
    "customer:last_updated",
    "property:city",
    "interaction:avg_session_length_minutes",
)


async def whole(life: Life, question: Question, limit: int) -> list[tuple[str, list[Any]]]:
    """All pages of a list, joined."""
    rows: list[tuple[str, list[Any]]] = []
    page = await life.lists.page(question, limit, None)
    while True:
        assert len(page.rows) <= limit
        rows += [(row.lead, list(row.values)) for _, row in page.rows]
        if page.last is None:
            return rows
        page = await life.lists.page(question, limit, (page.list_id, page.last))


async def expected(life: Life, question: Question) -> list[tuple[str, list[Any]]]:
    """The same from the logs: known leads in order of their first event, sorted by value, null last."""
    rows: list[tuple[int, str, list[Any]]] = []
    for lead in LEADS:
        log = await life.log(lead)
        if log:
            values = await life.truth(lead)
            rows.append((log[0].number, lead, [values[each] for each in question.shown]))
    rows.sort()
    if question.sort is not None:
        known = [row for row in rows if row[2][0] is not None]
        known.sort(key=lambda row: row[2][0], reverse=question.is_descending)  # equal values keep their order
        rows = known + [row for row in rows if row[2][0] is None]
    return [(lead, values) for _, lead, values in rows if _fulfils(question, values)]


def _fulfils(question: Question, values: list[Any]) -> bool:
    for each in question.conditions:
        value = values[question.shown.index(each.reference)]
        if value is None or not (value >= each.operand if each.comparison == ">=" else value < each.operand):
            return False
    return True


@given(plans(), org_settings(), st.integers(1, 3), st.data())
@settings(max_examples=80, deadline=None)
def test_a_list_is_the_leads_values_of_now_sorted(
    plan: Plan, org: Settings, max_awake: int, data: st.DataObject
) -> None:
    asks = data.draw(st.lists(st.integers(0, READ | ASK), min_size=len(plan.steps), max_size=len(plan.steps)))

    def question() -> Question:
        sort = data.draw(st.none() | st.sampled_from(SORTS))
        shown = tuple(data.draw(st.lists(st.sampled_from(SORTS), max_size=2)))
        numeric = [each for each in shown if each.split(":")[0] not in ("customer", "property")]
        conditions = tuple(
            Condition(each, data.draw(st.sampled_from([">=", "<"])), data.draw(st.sampled_from([0.0, 1.0, 0.5])))
            for each in numeric[:1]
        )
        return Question(sort, data.draw(st.booleans()) and sort is not None, conditions, None, shown)

    async def run() -> None:
        life = Life(catalogue_of(org), plan.start_us, max_awake=max_awake, leads_max=1)
        for (lead, step), ask in zip(plan.steps, asks, strict=True):
            if isinstance(step, float):
                life.clock.advance(step)
            else:
                await life.post(lead, step)
            if ask & READ:
                await life.read()
            if ask & ASK:
                asked = question()
                assert await whole(life, asked, data.draw(st.integers(1, 3))) == await expected(life, asked)
        asked = question()
        assert await whole(life, asked, 2) == await expected(life, asked)
        await life.lists.close()

    asyncio.run(run())
