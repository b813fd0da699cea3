"""Alert rules: what is held of a lead, in an expression over its features and predictions, and how grave it is.

Enters: definitions, as events of the organisation's stream. Leaves: compiled rules, by name. Three are built in; a
definition of their name replaces one, a deletion takes it away. Hysteresis is an expression of its own, ``until``: an
alert that began at 0.7 and ends below 0.65 does not flutter around either.
"""

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from eventstore.event import Event, NewEvent
from eventstore.system import org_stream
from kernel.errors import InvalidDefinition
from projections.catalogue import Catalogue
from projections.conditions import Condition, feature_condition
from scoring.events import ALERT_RULE_DEFINED, AlertRule, AlertRuleDefined

_DAY_S = 86_400
_DECODER = msgspec.json.Decoder(AlertRuleDefined)

BUILT_IN_RULES: Mapping[str, AlertRule] = {
    "churn_risk_ib_calls": AlertRule(
        when="prediction.ib_call_risk_14d > 0.7",
        until="prediction.ib_call_risk_14d < 0.65",
        severity="critical",
        cooldown_s=_DAY_S,
    ),
    "churn_risk_high": AlertRule(
        when="prediction.churn_risk_30d > 0.6",
        until="prediction.churn_risk_30d < 0.55",
        severity="high",
        cooldown_s=_DAY_S,
    ),
    "health_score_critical": AlertRule(
        when="prediction.customer_health_score < 40.0",
        until="prediction.customer_health_score > 45.0",
        severity="high",
        cooldown_s=_DAY_S,
    ),
}

#: What references to predictions begin with in a compiled expression.
PREDICTION_PREFIX = "prediction:"


class CompiledRule:
    """A rule in force. ``version`` 0 is a built-in one that nobody has changed."""

    def __init__(self, name: str, version: int, rule: AlertRule, catalogue: Catalogue) -> None:
        """Raises ``InvalidDefinition``, with ``when`` or ``until`` as the path."""
        self.name, self.version, self.rule = name, version, rule
        self.when: Condition = feature_condition(rule.when, catalogue, path="when")
        self.until: Condition | None = (
            None if rule.until is None else feature_condition(rule.until, catalogue, path="until")
        )

    @property
    def reads(self) -> tuple[str, ...]:
        """References of features and predictions, each once."""
        return tuple(dict.fromkeys((*self.when.reads, *(self.until.reads if self.until is not None else ()))))


class AlertRules:
    """The rules of one organisation: a fold of its definitions.

    Attributes
    ----------
    in_force : compiled rules by name.
    broken : rules that no longer compile, by name, and why; they neither raise nor resolve anything.
    """

    def __init__(self, org: str, catalogue: Catalogue) -> None:
        self.stream = org_stream(org)
        self._catalogue = catalogue
        self._versions: dict[str, int] = {}
        self._rules: dict[str, AlertRule] = {}
        self.in_force: dict[str, CompiledRule] = {}
        self.broken: dict[str, str] = {}
        for name, rule in BUILT_IN_RULES.items():
            self._set(name, 0, rule)

    def get(self, name: str) -> AlertRule | None:
        return self._rules.get(name)

    def version(self, name: str) -> int:
        """Of the newest definition or deletion of that name; 0 without any."""
        return self._versions.get(name, 0)

    def names(self) -> list[str]:
        """Names of the rules that there are, in order."""
        return sorted(self._rules)

    def all_rules(self) -> list[CompiledRule]:
        """Those in force, by name."""
        return [self.in_force[name] for name in sorted(self.in_force)]

    @property
    def features(self) -> frozenset[str]:
        """References of the features that any of them reads."""
        reads = {name for rule in self.in_force.values() for name in rule.reads}
        return frozenset(name for name in reads if not name.startswith(PREDICTION_PREFIX))

    def fold(self, event: Event) -> None:
        """Take an event of the organisation's stream; those that define no alert rule are passed over."""
        if event.type != ALERT_RULE_DEFINED:
            return
        defined: AlertRuleDefined = event.payload or _DECODER.decode(event.data)
        self._versions[defined.name] = defined.version
        for each in (self._rules, self.in_force, self.broken):
            each.pop(defined.name, None)
        if defined.rule is not None:
            self._set(defined.name, defined.version, defined.rule)

    def definition(self, name: str, rule: AlertRule | None, at_us: int) -> NewEvent | None:
        """The event that defines or (None) deletes a rule; none where that changes nothing.

        Raises
        ------
        InvalidDefinition
            The expressions do not compile.
        """
        if rule == self._rules.get(name):
            return None
        if rule is not None:
            CompiledRule(name, 1, rule, self._catalogue)
        payload = AlertRuleDefined(name, self.version(name) + 1, rule)
        data = msgspec.json.encode(payload)
        event_id = f"~ar:{sha256(data).hexdigest()}"
        # Without a time of its own: the same definition, written again after a doubtful answer, is a duplicate.
        return NewEvent(self.stream, event_id, ALERT_RULE_DEFINED, at_us, data, payload, has_time=False)

    def _set(self, name: str, version: int, rule: AlertRule) -> None:
        self._rules[name] = rule
        try:
            self.in_force[name] = CompiledRule(name, version, rule, self._catalogue)
        except InvalidDefinition as error:  # written under another catalogue
            self.broken[name] = str(error)
