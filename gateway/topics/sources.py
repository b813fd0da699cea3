"""All topics that a process reads: checked against what the orgs' packs declare, started, watched, ended.

Several processes of one service may read the same topic: they share its partitions by their group.
"""

import asyncio
import difflib

import msgspec

from eventstore.kafka_client import Connections
from gateway.kafka import topic_options
from gateway.orgs import Org, Orgs
from gateway.topics.source import Source, Submit
from gateway.topics.supervision import Endeavour
from kernel.clock import Clock
from kernel.errors import SettingsError
from kernel.metrics import Metrics
from kernel.settings import Settings, source_of
from kernel.settings_topics import TopicInSettings
from projections.catalogue import Catalogue


class Sources:
    """The topics of ``[org.X.topics_in.NAME]``.

    Parameters
    ----------
    submit : stores events.

    Raises
    ------
    SettingsError
        A mapping names what no event type has.
    """

    def __init__(self, settings: Settings, orgs: Orgs, *, submit: Submit, clock: Clock, metrics: Metrics) -> None:
        self._endeavours: list[Endeavour] = []
        for org_name, table in settings.org.items():
            for name, each in table.topics_in.items():
                org, key = orgs[org_name], f"org.{org_name}.topics_in.{name}"
                _check_names(key, each, org.catalogue, settings.sources)
                source = _source(settings, org, name, each, submit, clock)
                endeavour = Endeavour(key, source.work, clock=clock)
                self._endeavours.append(endeavour)
                _watch(metrics, org_name, name, source, endeavour)

    def start(self) -> None:
        for each in self._endeavours:
            each.start()

    async def close(self) -> None:
        """End all. What was stored and not committed is found to be there when it is read again. Idempotent."""
        await asyncio.gather(*[each.close() for each in self._endeavours])


def _source(settings: Settings, org: Org, name: str, table: TopicInSettings, submit: Submit, clock: Clock) -> Source:
    def connections(topic: str) -> Connections:
        return Connections(topic_options(settings, topic, table.brokers))

    letters = connections(table.dead_letters) if table.dead_letters else None
    return Source(
        org, name, table, connections=connections(table.topic), dead_letters=letters, submit=submit, clock=clock
    )


def _watch(metrics: Metrics, org: str, name: str, source: Source, endeavour: Endeavour) -> None:
    for outcome in source.counts:
        metrics.watch(
            "leadwheel_topic_messages",
            lambda outcome=outcome: source.counts[outcome],  # type: ignore[misc]
            org,
            name,
            outcome,
        )
    metrics.watch("leadwheel_topic_behind", lambda: source.behind, org, name)
    metrics.watch("leadwheel_topic_waits", lambda: endeavour.waits, org, name, "in")


def _check_names(key: str, table: TopicInSettings, catalogue: Catalogue, sources: dict[str, str]) -> None:
    """A mapping may name only what some event has. Raises ``SettingsError``."""

    def refuse(part: str, expected: str) -> None:
        raise SettingsError(f"{key}.{part}", source_of(f"{key}.{part}", sources), expected)

    types = {each.name: each for each in catalogue.event_types if each.by != "system"}
    constant = table.constants.get("type")
    if constant is not None and constant not in types:
        refuse("constants.type", f"expected an event type of the org's packs{_near(str(constant), list(types))}")
    chosen = list(types.values()) if constant is None else [types[str(constant)]]
    fields = {field.encode_name for each in chosen for field in msgspec.structs.fields(each.payload)}
    named = [(f"mapping.{column}", target) for column, target in table.mapping.items()]
    for part, target in [*named, *((f"constants.{name}", name) for name in table.constants)]:
        field = target.split(".")[1] if target.startswith("data.") else None
        if field is not None and field not in fields:
            of = "any event type" if constant is None else str(constant)
            refuse(part, f"{target}: no such field of {of}{_near(field, sorted(fields))}")


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f", got {name}"
