"""The alert rules of one org: a fold of its stream, and how they are changed.

A rule is an event of the org's stream, so is its deletion. Equal content makes no new event, and the id of the event
follows from its content, so that writing it twice is a duplicate.
"""

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from actors.ingest import Ingest
from eventstore.event import Event
from eventstore.store import EventStore
from gateway.orgs import Org
from kernel.clock import Clock
from kernel.errors import InvalidDefinition
from kernel.settings_webhooks import ALWAYS_TOLD
from projections.wording import did_you_mean
from scoring.alert_rules import BUILT_IN_RULES, AlertRules, CompiledRule
from scoring.events import ALERT_RULE_DEFINED, AlertRule

_PAGE = 1000


class OrgRules:
    """The rules of one org.

    Attributes
    ----------
    in_force : those that can be looked at, by name.
    is_loaded : whether every event of the stream that was ever delivered is in.
    """

    def __init__(self, org: Org) -> None:
        self.is_loaded = False
        self._org = org
        self._rules = AlertRules(org.name, org.catalogue)
        self._version = 0  # of the stream
        self._writing = asyncio.Lock()
        self.in_force: Sequence[CompiledRule] = self._rules.all_rules()

    @property
    def names(self) -> list[str]:
        return self._rules.names()

    @property
    def features(self) -> frozenset[str]:
        """References of the features that any rule reads, those of the market included."""
        return self._rules.features

    def get(self, name: str) -> AlertRule | None:
        return self._rules.get(name)

    def version(self, name: str) -> int:
        """0 for a built-in rule that nobody has changed."""
        return self._rules.version(name)

    def fault(self, name: str) -> str | None:
        """Why a rule is not in force: a feature that it reads is no longer there."""
        return self._rules.broken.get(name)

    def is_built_in(self, name: str) -> bool:
        """Whether it is as it was shipped."""
        return name in BUILT_IN_RULES and self._rules.get(name) == BUILT_IN_RULES[name]

    def fold(self, event: Event) -> str | None:
        """Take the next event of the stream; the name of the rule that it changed.

        One that was taken already is skipped, after a gap all is read again.
        """
        if event.version > self._version + 1:
            self.is_loaded = False
        if event.version != self._version + 1:
            return None
        self._version = event.version
        if event.type != ALERT_RULE_DEFINED:
            return None
        try:
            self._rules.fold(event)
        except msgspec.MsgspecError:
            return None  # written by another version of this program
        self.in_force = self._rules.all_rules()
        name: str = msgspec.json.decode(event.data, type=_Named).name
        return name

    async def load(self, store: EventStore) -> list[str]:
        """Read the stream to its end; names of the rules that were changed by what was new."""
        changed: list[str] = []
        while events := await store.read(self._rules.stream, after_version=self._version, limit=_PAGE):
            changed += [name for event in events if (name := self.fold(event)) is not None]
        self.is_loaded = True
        return changed

    async def define(
        self, name: str, rule: AlertRule | None, *, ingest: Ingest, store: EventStore, clock: Clock
    ) -> list[str]:
        """Make this the rule of that name, or (None) delete it, durably; what is equal makes no new version.

        Returns
        -------
        Names of rules that changed and whose delivery nobody was told of: the event stood in the log before.

        Raises
        ------
        InvalidDefinition
            An expression does not compile, or a sink is none.
        StoreUnavailable
        """
        if rule is not None:
            _check_sinks(rule.sinks, self._org.settings.webhooks)
        async with self._writing:
            event = self._rules.definition(name, rule, clock.now_us())
            if event is None:
                return []
            await ingest.record([event])
            return await self.load(store)


class _Named(msgspec.Struct):
    name: str


def _check_sinks(sinks: Sequence[str], webhooks: Collection[str]) -> None:
    known = [*ALWAYS_TOLD, *sorted(webhooks)]
    faults = []
    for index, sink in enumerate(sinks):
        if sink not in known:
            faults.append(
                (f"sinks[{index}]", f"a webhook of the settings ({did_you_mean(sink, known, 'there are')})", sink)
            )
        elif sink in sinks[:index]:
            faults.append((f"sinks[{index}]", "each sink once", sink))
    if faults:
        raise InvalidDefinition(faults)
