"""Decisions: who may be chosen, with which honest probabilities, and drawn again from the record."""

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.checking import CompiledPolicy
from bandit.deciding import Request, answer, check_request, context_of, ranking, replayed
from bandit.events import DecisionMade, decode_decision
from bandit.ledger import WeekCounts
from bandit.policy import Guardrails, ShareBounds, WeekLimits
from kernel.errors import InvalidDefinition, NobodyEligible
from tests.unit.bandit.logs import ARMS, COLUMNS, a_policy, compiled, decided, known

ALL = ["mail", "call", "wait"]


def guarded(**rails: Any) -> CompiledPolicy:
    return compiled(a_policy(guardrails=Guardrails(**rails)))


def eligible(made: DecisionMade) -> list[str]:
    return [arm.id for arm in made.arms]


def nobody(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(NobodyEligible) as caught:
        decided(*args, **kwargs)
    return caught.value.by


def week(total: int = 0, arms: dict[str, int] | None = None, channels: dict[str, int] | None = None) -> Any:
    return known(week=WeekCounts(total, Counter(arms or {}), Counter(channels or {})))


def test_the_probability_is_that_of_the_arm_in_the_distribution_drawn_from() -> None:
    made = decided(None, 0.8, 0.1, 0.1)
    assert made.distribution == pytest.approx([0.98 * 0.8 + 0.02 / 3, 0.98 * 0.1 + 0.02 / 3, 0.98 * 0.1 + 0.02 / 3])
    assert made.probability == made.distribution[ALL.index(made.arm)]


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(sum),
    st.integers(0, 10**9),
    st.sampled_from(
        [{}, {"holdout": 0.5}, {"apprentice": True}, {"kill": True}, {"share": {"call": ShareBounds(0.2, 0.4)}}]
    ),
)
def test_whatever_is_said_probabilities_are_a_distribution_and_the_draw_repeats(
    said: list[float], number: int, rails: dict[str, Any]
) -> None:
    made = decided(guarded(**rails), *(each / sum(said) for each in said), decision_id=f"d{number}", lead=f"l{number}")
    assert sum(made.distribution) == pytest.approx(1, abs=1e-9)
    assert 0 < made.probability <= 1
    if made.reason in ("explore", "exploit"):
        assert min(made.distribution) >= 0.02 / 3 - 1e-12
    again = decode_decision(msgspec.json.encode(made))
    assert again == made
    assert replayed(again).is_same


@pytest.mark.parametrize("said", [(float("nan"), 0.5, 0.5), (3.0, 2.0, 1.0), (-0.5, 1.0, 0.5), (0.0, 0.0, 0.0), (1.0,)])
def test_a_learner_that_says_no_distribution_is_passed_over(said: tuple[float, ...]) -> None:
    made = decided(None, *said)
    assert made.distribution == pytest.approx([1 / 3] * 3)
    assert made.scores is None


def test_arms_are_drawn_as_often_as_their_probabilities_say() -> None:
    drawn = Counter(decided(None, 0.6, 0.3, 0.1, decision_id=f"d{i}").arm for i in range(3_000))
    assert drawn["mail"] / 3_000 == pytest.approx(0.98 * 0.6 + 0.02 / 3, abs=0.03)
    assert drawn["wait"] / 3_000 == pytest.approx(0.98 * 0.1 + 0.02 / 3, abs=0.02)


def test_exploit_is_the_first_of_the_ranking() -> None:
    made = [decided(None, 0.2, 0.6, 0.2, decision_id=f"d{i}") for i in range(50)]
    assert {each.reason for each in made} == {"explore", "exploit"}
    for each in made:
        assert (each.reason == "exploit") == (ranking(each)[0].arm == each.arm)


def test_the_ranking_holds_all_arms_those_that_may_not_act_with_probability_0() -> None:
    made = decided(None, 0.2, 0.8, exclude=["mail"])
    assert [(each.arm, each.probability > 0) for each in ranking(made)] == [
        ("wait", True),
        ("call", True),
        ("mail", False),
    ]
    assert answer(made).ranking == ranking(made)


def test_a_paused_arm_is_not_chosen() -> None:
    arms = [msgspec.structs.replace(ARMS[0], enabled=False), *ARMS[1:]]
    made = decided(compiled(a_policy(arms=arms)))
    assert (eligible(made), made.ineligible) == (["call", "wait"], ["mail"])


def test_arms_of_the_request_replace_the_policys() -> None:
    arms = [{"id": "x y|z", "features": {"channel": "fax"}}, {"id": "b"}]
    made = decided(arms=msgspec.convert(arms, Request.__annotations__["arms"]))
    assert eligible(made) == ["x y|z", "b"]


def test_one_arm_gets_probability_1() -> None:
    made = decided(None, 1.0, exclude=["mail", "call"])
    assert (made.arm, made.probability, made.reason) == ("wait", 1.0, "exploit")


def test_nobody_is_left_by_the_request_or_by_the_guardrails() -> None:
    assert nobody(exclude=ALL) == "request"
    assert nobody(compiled(a_policy(arms=[]))) == "request"
    assert nobody(guarded(opt_out="true")) == "guardrails"
    assert nobody(guarded(eligible=dict.fromkeys(ALL, "false"))) == "guardrails"
    assert nobody(guarded(eligible={"wait": "false"}), exclude=["mail", "call"]) == "guardrails"
    assert (
        nobody(compiled(a_policy(arms=[msgspec.structs.replace(arm, enabled=False) for arm in ARMS]))) == "guardrails"
    )


def test_an_arm_is_eligible_where_its_condition_holds_and_null_is_no() -> None:
    policy = guarded(eligible={"mail": "rfm.monetary_total > 1000"})
    assert "mail" in eligible(decided(policy, facts=known({"rfm:monetary_total": 2_000})))
    assert "mail" not in eligible(decided(policy, facts=known({"rfm:monetary_total": 10})))
    assert "mail" not in eligible(decided(policy, facts=known({"rfm:monetary_total": None})))


def test_a_lead_that_opted_out_gets_no_decision_and_null_is_no_opt_out() -> None:
    policy = guarded(opt_out="rfm.recency_days > 100")
    assert nobody(policy, facts=known({"rfm:recency_days": 200})) == "guardrails"
    assert decided(policy, facts=known({"rfm:recency_days": None})).arm in ALL


def test_budgets_of_the_day_end_at_their_number() -> None:
    policy = guarded(per_day={"mail": 2})
    assert "mail" in eligible(decided(policy, facts=known(today={"mail": 1})))
    assert "mail" not in eligible(decided(policy, facts=known(today={"mail": 2})))


def test_limits_of_the_week_are_of_all_of_an_arm_and_of_a_channel() -> None:
    policy = guarded(per_lead_week=WeekLimits(total=5, arms={"wait": 1}, channels={"phone": 1}))
    assert eligible(decided(policy, facts=week(4))) == ALL
    assert eligible(decided(policy, facts=week(1, {"wait": 1}))) == ["mail", "call"]
    assert eligible(decided(policy, facts=week(1, {"call": 1}, {"phone": 1}))) == ["mail", "wait"]
    assert nobody(policy, facts=week(5)) == "guardrails"


def test_shares_clip_after_the_floor() -> None:
    made = decided(guarded(share={"mail": ShareBounds(0, 0.3), "wait": ShareBounds(0.25, 1)}), 1.0, 0.0, 0.0)
    assert made.distribution[0] <= 0.3 + 1e-9
    assert made.distribution[2] >= 0.25 - 1e-9


def test_the_holdout_is_a_permanent_share_of_the_leads_on_the_baseline() -> None:
    policy = guarded(holdout=0.3)
    made = {lead: decided(policy, 0.0, 1.0, 0.0, lead=lead) for lead in (f"l{i}" for i in range(500))}
    held = {lead for lead, each in made.items() if each.reason == "holdout"}
    assert len(held) / 500 == pytest.approx(0.3, abs=0.06)
    assert {(made[lead].arm, made[lead].probability) for lead in held} == {("mail", 1.0)}
    again = {lead for lead in made if decided(policy, lead=lead, decision_id="other").reason == "holdout"}
    assert again == held


def test_without_a_lead_nobody_is_held_out() -> None:
    assert decided(guarded(holdout=1.0), lead=None).reason != "holdout"


def test_the_kill_switch_puts_everything_on_the_baseline() -> None:
    made = decided(guarded(kill=True), 0.0, 1.0, 0.0)
    assert (made.arm, made.probability, made.reason, made.distribution) == ("mail", 1.0, "forced", [1.0, 0.0, 0.0])


@pytest.mark.parametrize("rails", [{"kill": True}, {"holdout": 1.0}, {"apprentice": True}])
def test_the_first_that_may_acts_for_a_baseline_that_may_not(rails: dict[str, Any]) -> None:
    made = decided(guarded(**rails), exclude=["mail"])
    assert (made.arm, made.probability, made.distribution) == ("call", 1.0, [1.0, 0.0])


def test_the_first_arm_of_a_request_is_its_baseline() -> None:
    arms = msgspec.convert([{"id": "x"}, {"id": "y"}], Request.__annotations__["arms"])
    assert decided(guarded(kill=True), arms=arms).arm == "x"


def test_an_apprentice_watches_the_baseline_and_says_what_it_would_have_done() -> None:
    made = decided(guarded(apprentice=True), 0.1, 0.8, 0.1)
    assert (made.arm, made.probability, made.reason) == ("mail", 1.0, "forced")
    assert made.imitation is not None
    assert made.imitation.first == "call"
    assert made.imitation.probability in [pytest.approx(0.98 * p + 0.02 / 3) for p in (0.1, 0.8)]


def test_the_context_is_logged_bit_for_bit_with_null_and_what_the_request_adds() -> None:
    facts = known()._replace(context=np.array([0.1 + 0.2, np.nan]))
    made = decode_decision(msgspec.json.encode(decided(facts=facts, context={"page": "home", "n": 1.5, "new": True})))
    assert context_of(made, COLUMNS) == {
        "rfm:recency_days": 0.1 + 0.2,
        "rfm:monetary_total": None,
        "page": "home",
        "n": 1.5,
        "new": True,
    }


def test_a_decision_without_a_context_is_made() -> None:
    made = decided(compiled(a_policy(context=None), columns=()), facts=known()._replace(context=np.zeros(0)))
    assert made.context == b""


def test_a_record_that_was_changed_does_not_replay() -> None:
    made = decided(None, 0.5, 0.3, 0.2)
    other = next(arm for arm in ALL if arm != made.arm)
    assert not replayed(msgspec.structs.replace(made, arm=other)).is_same
    assert not replayed(msgspec.structs.replace(made, probability=0.5)).is_same


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        ({"arms": [{"id": "a"}, {"id": "a"}]}, "arms[1].id"),
        ({"arms": [{"id": "a", "features": {"": 1}}]}, "arms[0].features"),
        ({"context": {"n": 1e300}}, "context.n"),
        ({"context": {"a\nb": 1}}, "context"),
        ({"decision_id": ""}, "decision_id"),
        ({"decision_id": "x" * 257}, "decision_id"),
        ({"decision_id": "a\tb"}, "decision_id"),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_by_path(request_: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        check_request(msgspec.convert(request_, Request))
    assert caught.value.faults[0][0] == path
