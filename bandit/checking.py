"""Whether a policy's parts go together, and the policy ready for use.

Enters: a document that has the right form (``policy``), and what its organisation knows: event types, features, services.
Leaves: every fault at once, each with its path, what was expected and what came; or a ``CompiledPolicy``, whose
expressions are compiled and whose arms are the learner's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from bandit.candidates import Candidates, candidates
from bandit.distribution import Share, check_shares
from bandit.events import columns_fingerprint
from bandit.learners.learner import Arm
from bandit.learners.making import check_settings
from bandit.policy import Guardrails, Policy, PolicyArm, RewardRule, WeekLimits, channel_of, completed, waiting_s
from eventstore.types import EventType
from eventstore.wording import Fault, shorten
from kernel.errors import InvalidDefinition, LearnerRefused, UnmeetableShares
from projections.catalogue import Catalogue
from projections.conditions import Condition, feature_condition, payload_condition

#: The columns of a service's vector, in its order; None where there is no such service, or one that cannot be read.
ColumnsOf = Callable[[str], Sequence[str] | None]
_PRINTABLE: Final = "1 to 256 printable characters"


class CompiledPolicy(NamedTuple):
    """A version of a policy, ready to decide.

    ``eligible`` holds the conditions by arm, ``reads`` the references of all features and predictions that the
    conditions are about. ``is_limited``: there are guardrails that may keep an arm from a lead. ``usual`` are the arms that may
    act where a request says nothing of arms; None where none may, or a guardrail has to be asked. ``lost`` are
    expressions that can no longer be compiled: they hold for nobody.
    """

    name: str
    version: int
    policy: Policy
    columns: tuple[str, ...]
    fingerprint: str
    arms: tuple[Arm, ...]
    enabled: frozenset[str]
    eligible: Mapping[str, Condition | None]
    opt_out: Condition | None
    shares: Mapping[str, Share]
    reads: tuple[str, ...]
    is_limited: bool
    usual: Candidates | None
    lost: tuple[Fault, ...]


def check_policy(policy: Policy, catalogue: Catalogue, columns_of: ColumnsOf) -> Policy:
    """The document, complete, if all of it can be.

    Raises
    ------
    InvalidDefinition
        With every fault.
    """
    faults = [
        *_arms_faults(policy),
        *_context_faults(policy, columns_of),
        *_learner_faults(policy),
        *_reward_faults(policy, catalogue),
        *_guardrail_faults(policy, catalogue),
    ]
    if faults:
        raise InvalidDefinition(faults)
    return completed(policy)


def compile_policy(
    name: str, version: int, policy: Policy, columns: Sequence[str], catalogue: Catalogue
) -> CompiledPolicy:
    """A complete document that was accepted, ready for use. Never raises: the catalogue may have changed since."""
    lost: list[Fault] = []

    def compiled(text: str, path: str) -> Condition | None:
        try:
            return feature_condition(text, catalogue, path=path)
        except InvalidDefinition as error:
            lost.extend(Fault(*each) for each in error.faults)
            return None

    rails = policy.guardrails
    eligible = {arm: compiled(text, f"guardrails.eligible.{arm}") for arm, text in rails.eligible.items()}
    opt_out = None if rails.opt_out is None else compiled(rails.opt_out, "guardrails.opt_out")
    conditions = [each for each in (*eligible.values(), opt_out) if each is not None]
    arms = tuple(Arm(arm.id, arm.features) for arm in policy.arms)
    enabled = frozenset(arm.id for arm in policy.arms if arm.enabled)
    shares = {arm: Share(share.min, share.max) for arm, share in rails.share.items()}
    running = [arm for arm in arms if arm.id in enabled]
    is_limited = bool(eligible or rails.opt_out is not None or rails.per_day or rails.per_lead_week != WeekLimits())
    return CompiledPolicy(
        name=name,
        version=version,
        policy=policy,
        columns=tuple(columns),
        fingerprint=columns_fingerprint(columns),
        arms=arms,
        enabled=enabled,
        eligible=eligible,
        opt_out=opt_out,
        shares=shares,
        reads=tuple(dict.fromkeys(name for each in conditions for name in each.reads)),
        is_limited=is_limited,
        usual=None if is_limited or not running else candidates(policy, shares, arms, running),
        lost=tuple(lost),
    )


def arms_faults(arms: Sequence[PolicyArm], path: str) -> Iterator[Fault]:
    """What is wrong with arms, of a policy or of a request: ids that are no ids or stand twice, features without a name."""
    seen: set[str] = set()
    for index, arm in enumerate(arms):
        if not _is_printable(arm.id):
            yield Fault(f"{path}[{index}].id", _PRINTABLE, shorten(arm.id))
        elif arm.id in seen:
            yield Fault(f"{path}[{index}].id", "each arm once", shorten(arm.id))
        seen.add(arm.id)
        yield from features_faults(arm.features, f"{path}[{index}].features")


def features_faults(features: Mapping[str, object], path: str) -> Iterator[Fault]:
    """What is wrong with named values: names that are none, numbers or texts beyond their bounds."""
    for name, value in features.items():
        if not _is_printable(name):
            yield Fault(path, f"names of {_PRINTABLE}", shorten(name))
        elif isinstance(value, str) and len(value) > 256:
            yield Fault(f"{path}.{name}", "at most 256 characters", f"{len(value)}")
        elif isinstance(value, int | float) and not abs(value) <= 1e12:  # not: NaN is beyond every bound
            yield Fault(f"{path}.{name}", "a number of magnitude up to 10^12", shorten(value))


def _is_printable(text: str) -> bool:
    return 0 < len(text) <= 256 and text.isprintable()


def _arms_faults(policy: Policy) -> Iterator[Fault]:
    yield from arms_faults(policy.arms, "arms")
    if policy.baseline is not None and policy.arms and policy.baseline not in _ids(policy):
        yield Fault("baseline", _one_of(policy), shorten(policy.baseline))


def _context_faults(policy: Policy, columns_of: ColumnsOf) -> Iterator[Fault]:
    if policy.context is not None and columns_of(policy.context) is None:
        yield Fault("context", "a service of the org whose features are in the catalogue", shorten(policy.context))


def _learner_faults(policy: Policy) -> Iterator[Fault]:
    try:
        check_settings(policy.learner)
    except LearnerRefused as error:
        yield Fault(f"learner.{error.key}", error.expected, shorten(error.actual))


def _reward_faults(policy: Policy, catalogue: Catalogue) -> Iterator[Fault]:
    wait_s = waiting_s(policy.reward)
    for index, rule in enumerate(policy.reward.rules):
        path = f"reward.rules[{index}]"
        if rule.within_s > wait_s:
            yield Fault(f"{path}.within_s", f"at most reward.wait_s ({wait_s:g})", f"{rule.within_s:g}")
        declared = rewarding_type(catalogue, rule.on)
        if declared is None:
            yield Fault(f"{path}.on", "a type of event about a lead that comes from outside", shorten(rule.on))
        else:
            yield from _rule_faults(rule, declared.payload, path)


def _rule_faults(rule: RewardRule, payload: type[msgspec.Struct], path: str) -> Iterator[Fault]:
    try:
        payload_condition(rule.value, payload, path=f"{path}.value", wants="number")
    except InvalidDefinition as error:
        yield from (Fault(*each) for each in error.faults)
    if rule.where is not None:
        try:
            payload_condition(rule.where, payload, path=f"{path}.where")
        except InvalidDefinition as error:
            yield from (Fault(*each) for each in error.faults)


def rewarding_type(catalogue: Catalogue, name: str) -> EventType | None:
    """The event type that a reward rule may be about; None for any other."""
    found = catalogue.event_types.get(name)
    is_one = found is not None and found.about == "lead" and found.by != "system" and found.pack != "any"
    return found if is_one else None


def _guardrail_faults(policy: Policy, catalogue: Catalogue) -> Iterator[Fault]:
    rails = policy.guardrails
    yield from _unknown_arms(policy)
    for arm, text in rails.eligible.items():
        yield from _expression_faults(text, catalogue, f"guardrails.eligible.{arm}")
    if rails.opt_out is not None:
        yield from _expression_faults(rails.opt_out, catalogue, "guardrails.opt_out")
    if policy.arms:
        channels = {channel_of(arm.features) for arm in policy.arms}
        for channel in rails.per_lead_week.channels:
            if channel not in channels:
                path = f"guardrails.per_lead_week.channels.{channel}"
                yield Fault(path, "the feature channel of some arm", shorten(channel))
    yield from _share_faults(policy)


def _unknown_arms(policy: Policy) -> Iterator[Fault]:
    """Arms that come with each request cannot be known beforehand; those of a policy can."""
    if not policy.arms:
        return
    for path, named in _arms_named(policy.guardrails).items():
        for arm in named:
            if arm not in _ids(policy):
                yield Fault(f"guardrails.{path}.{arm}", _one_of(policy), shorten(arm))


def _arms_named(rails: Guardrails) -> dict[str, Sequence[str]]:
    return {
        "share": list(rails.share),
        "per_day": list(rails.per_day),
        "eligible": list(rails.eligible),
        "per_lead_week.arms": list(rails.per_lead_week.arms),
    }


def _expression_faults(text: str, catalogue: Catalogue, path: str) -> Iterator[Fault]:
    try:
        feature_condition(text, catalogue, path=path)
    except InvalidDefinition as error:
        yield from (Fault(*each) for each in error.faults)


def _share_faults(policy: Policy) -> Iterator[Fault]:
    enabled = [arm.id for arm in policy.arms if arm.enabled]
    shares = {}
    for arm, bounds in policy.guardrails.share.items():
        if bounds.min > bounds.max:
            yield Fault(f"guardrails.share.{arm}", "min ≤ max", f"min {bounds.min:g}, max {bounds.max:g}")
        elif arm in enabled:
            shares[arm] = Share(bounds.min, bounds.max)
    try:
        check_shares(shares, enabled, policy.floor)
    except UnmeetableShares as error:
        yield Fault("guardrails.share", "shares that can be met together with the floor", error.problem)


def _ids(policy: Policy) -> set[str]:
    return {arm.id for arm in policy.arms}


def _one_of(policy: Policy) -> str:
    ids = [arm.id for arm in policy.arms]
    return f"one of the arms {', '.join(ids[:10])}{' …' if len(ids) > 10 else ''}"
