"""Every bad policy is refused with the place, what was expected there, and what came; a good one is completed."""

from typing import Any

import msgspec
import pytest

from bandit.checking import check_policy, compile_policy
from bandit.policy import Policy, completed
from eventstore.wording import explain
from kernel.errors import InvalidDefinition
from tests.unit.bandit.logs import CATALOGUE, COLUMNS, a_policy, compiled

DECODER = msgspec.json.Decoder(Policy)
GOOD: dict[str, Any] = {
    "arms": [{"id": "mail", "features": {"channel": "mail", "cost": 0.1}}, {"id": "call me | now"}],
    "context": "lead",
    "learner": {"kind": "linear"},
    "baseline": "mail",
    "reward": {
        "rules": [{"on": "purchase_completed", "where": "amount > 1", "within_s": 1_209_600, "value": "amount / 100"}],
        "wait_s": 1_209_600,
        "default": 0,
        "aggregation": "sum",
        "attribution": "all",
    },
    "guardrails": {
        "share": {"mail": {"min": 0.1, "max": 0.9}},
        "per_day": {"mail": 100},
        "eligible": {"mail": "rfm.monetary_total < 1000"},
        "per_lead_week": {"total": 3, "arms": {"mail": 1}, "channels": {"mail": 2}},
        "opt_out": "rfm.recency_days > 300",
        "holdout": 0.05,
    },
}


def checked(document: dict[str, Any]) -> Policy:
    policy = DECODER.decode(msgspec.json.encode(document))
    return check_policy(policy, CATALOGUE, {"lead": COLUMNS}.get)


def changed(path: str, value: Any) -> dict[str, Any]:
    document = msgspec.json.decode(msgspec.json.encode(GOOD))
    *steps, last = path.split("/")
    place = document
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return document


def test_a_good_policy_is_taken_as_it_is() -> None:
    assert checked(GOOD) == completed(DECODER.decode(msgspec.json.encode(GOOD)))


def test_an_empty_policy_has_every_default() -> None:
    policy = checked({})
    assert msgspec.to_builtins(policy) == {
        "arms": [],
        "context": None,
        "learner": {"kind": "linear", "exploration": "", "args": ""},
        "baseline": None,
        "floor": 0.02,
        "seed": 1,
        "reward": {
            "rules": [],
            "wait_s": 86_400,
            "default": 0.0,
            "aggregation": "earliest",
            "attribution": "last",
        },
        "guardrails": {
            "share": {},
            "per_day": {},
            "eligible": {},
            "per_lead_week": {"total": None, "arms": {}, "channels": {}},
            "opt_out": None,
            "holdout": 0.0,
            "apprentice": False,
            "kill": False,
        },
    }


def test_baseline_and_waiting_time_follow_from_the_rest() -> None:
    document = changed("reward/wait_s", None)
    document["baseline"] = None
    policy = checked(document)
    assert (policy.baseline, policy.reward.wait_s) == ("mail", 1_209_600)


def test_completing_twice_changes_nothing() -> None:
    assert completed(checked(GOOD)) == checked(GOOD)


@pytest.mark.parametrize(
    ("path", "value", "fault_path", "expected"),
    [
        ("arms/1/id", "mail", "arms[1].id", "each arm once"),
        ("arms/1/id", "a\nb", "arms[1].id", "printable"),
        ("arms/0/features/x", "x" * 257, "arms[0].features.x", "at most 256 characters"),
        ("arms/0/features/x", 1e13, "arms[0].features.x", "magnitude"),
        ("baseline", "fax", "baseline", "one of the arms mail, call me | now"),
        ("context", "nobody", "context", "a service of the org"),
        ("learner/kind", "magic", "learner.kind", "one of"),
        ("reward/rules/0/on", "no_such_type", "reward.rules[0].on", "a type of event about a lead"),
        ("reward/rules/0/on", "decision_made", "reward.rules[0].on", "a type of event about a lead"),
        ("reward/rules/0/on", "campaign_ignored", "reward.rules[0].on", "a type of event about a lead"),
        ("reward/rules/0/on", "event_retracted", "reward.rules[0].on", "a type of event about a lead"),
        ("reward/rules/0/on", "match_made", "reward.rules[0].on", "a type of event about a lead"),
        ("reward/rules/0/value", "price", "reward.rules[0].value", "a name that is known here"),
        ("reward/rules/0/value", "amount > 1", "reward.rules[0].value", "a number"),
        ("reward/rules/0/where", "amount", "reward.rules[0].where", "a condition"),
        ("reward/rules/0/within_s", 1_209_601, "reward.rules[0].within_s", "at most reward.wait_s"),
        ("guardrails/share/fax", {}, "guardrails.share.fax", "one of the arms"),
        ("guardrails/share/mail", {"min": 0.5, "max": 0.4}, "guardrails.share.mail", "min ≤ max"),
        ("guardrails/share/mail", {"min": 0.995}, "guardrails.share", "met together with the floor"),
        ("guardrails/share/mail", {"max": 0.001}, "guardrails.share", "met together with the floor"),
        ("guardrails/per_day/fax", 1, "guardrails.per_day.fax", "one of the arms"),
        ("guardrails/eligible/fax", "true", "guardrails.eligible.fax", "one of the arms"),
        ("guardrails/eligible/mail", "rfm.fame > 1", "guardrails.eligible.mail", "a name that is known here"),
        ("guardrails/eligible/mail", "1 + 1", "guardrails.eligible.mail", "a condition"),
        ("guardrails/opt_out", "((", "guardrails.opt_out", "a name, a number"),
        ("guardrails/per_lead_week/arms/fax", 1, "guardrails.per_lead_week.arms.fax", "one of the arms"),
        ("guardrails/per_lead_week/channels/fax", 1, "guardrails.per_lead_week.channels.fax", "the feature channel"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(path: str, value: Any, fault_path: str, expected: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        checked(changed(path, value))
    assert (fault_path, True) in [(path, expected in said) for path, said, _ in caught.value.faults]


@pytest.mark.parametrize(
    ("path", "value", "fault_path"),
    [
        ("armz", [], "armz"),
        ("arms/0/id", "", "arms[0].id"),
        ("arms/0/weight", 3, "arms[0].weight"),
        ("arms/0/features/x", [1], "arms[0].features.x"),
        ("floor", 1.5, "floor"),
        ("floor", -0.1, "floor"),
        ("seed", 1.5, "seed"),
        ("reward/wait_s", 59, "reward.wait_s"),
        ("reward/wait_s", 90 * 86_400 + 1, "reward.wait_s"),
        ("reward/aggregation", "median", "reward.aggregation"),
        ("reward/attribution", "middle", "reward.attribution"),
        ("reward/default", "0", "reward.default"),
        ("reward/rules/0/within_s", 0, "reward.rules[0].within_s"),
        ("guardrails/holdout", 1.1, "guardrails.holdout"),
        ("guardrails/holdout", -0.1, "guardrails.holdout"),
        ("guardrails/per_day/mail", -1, "guardrails.per_day"),
        ("guardrails/kill", "yes", "guardrails.kill"),
        ("guardrails/share/mail/max", 2, "guardrails.share"),
    ],
)
def test_what_has_another_form_is_refused_by_the_decoder(path: str, value: Any, fault_path: str) -> None:
    body = msgspec.json.encode(changed(path, value))
    with pytest.raises(msgspec.ValidationError) as caught:
        DECODER.decode(body)
    assert explain(Policy, body, caught.value).path.startswith(fault_path.split("[")[0].split(".")[0])


def test_every_fault_is_told_at_once() -> None:
    document = changed("baseline", "fax") | {"context": "nobody"}
    with pytest.raises(InvalidDefinition) as caught:
        checked(document)
    assert [path for path, _, _ in caught.value.faults] == ["baseline", "context"]


def test_arms_that_come_with_requests_may_be_named_beforehand() -> None:
    rails = {"per_day": {"anything": 3}, "per_lead_week": {"channels": {"sms": 1}}, "share": {"anything": {"max": 0.5}}}
    assert checked({"guardrails": rails}).guardrails.per_day == {"anything": 3}


def test_a_compiled_policy_says_what_its_conditions_read() -> None:
    ready = compiled(checked(GOOD))
    assert ready.reads == ("rfm:monetary_total", "rfm:recency_days")
    assert ready.lost == ()


def test_a_condition_that_can_no_longer_be_compiled_holds_for_nobody_and_is_told() -> None:
    policy = a_policy(guardrails=msgspec.convert({"eligible": {"mail": "gone.view > 1"}}, type(a_policy().guardrails)))
    ready = compile_policy("offers", 1, policy, COLUMNS, CATALOGUE)
    assert ready.eligible == {"mail": None}
    assert [fault.path for fault in ready.lost] == ["guardrails.eligible.mail"]
