"""``[org.X.topics_in.NAME]`` and ``[org.X.topics_out.NAME]``: Kafka topics of others, read from and written to.

The brokers are those of ``[kafka]``, whatever the log is kept in, and they are reached as that table says.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kernel.sections import AtLeastOne, Must, Section
from kernel.settings_kafka import KafkaSettings, are_brokers, check_security

#: Keys of an event's envelope that a mapping may name; beside them ``data.FIELD``.
ENVELOPE_KEYS = ("id", "lead", "subject", "type", "time", "source")
#: What a mapping may take of a message beside the fields of its value.
MESSAGE_COLUMNS = ("@key", "@time")

Kind = Literal["features", "decision", "alert"]
KINDS: tuple[Kind, ...] = ("features", "decision", "alert")


class TopicInSettings(Section, frozen=True):
    """``[org.X.topics_in.NAME]``: a topic whose messages are events of the organisation."""

    topic: Annotated[str, Meta(min_length=1)]  # it must exist; nothing is ever written there
    brokers: str = ""  # of another cluster than that of `[kafka]`: HOST:PORT, separated by commas; the rest is as there
    format: Literal["json", "cloudevents"] = (
        "json"  # json: one object each, through the mapping; cloudevents: structured or in headers
    )
    group: str = ""  # consumer group, shared by all processes of the service; empty: leadwheel-ORG-NAME
    start: Literal["beginning", "end"] = (
        "beginning"  # where a group that never read the topic begins; ids keep repeated events out
    )
    mapping: dict[str, str] = msgspec.field(
        default_factory=dict
    )  # field = "key" as `leadwheel ingest` has it; `a.b` is a field in an object, `@key` and `@time` are the message's
    constants: dict[str, Any] = msgspec.field(default_factory=dict)  # keys that are the same in every event
    dead_letters: str = (
        ""  # topic for messages that are no events, with the reason in headers; empty: counted, logged, passed over
    )
    batch_events: AtLeastOne = 500  # messages stored and acknowledged together: one commit


class TopicOutSettings(Section, frozen=True):
    """``[org.X.topics_out.NAME]``: a topic that is told what the change feed tells."""

    topic: Annotated[str, Meta(min_length=1)]  # it must exist; messages of one lead are in one partition, in order
    brokers: str = ""  # of another cluster than that of `[kafka]`: HOST:PORT, separated by commas; the rest is as there
    kinds: tuple[Kind, ...] = KINDS  # changes of features, decisions, alerts; what is left out is not told
    features: tuple[str, ...] = ()  # only changes of these features or whole views; empty: of all
    start: Literal["now", "beginning"] = "now"  # where the first start begins: now, or with all that is in the log


def check_topics(
    org: str,
    topics_in: Mapping[str, TopicInSettings],
    topics_out: Mapping[str, TopicOutSettings],
    kafka: KafkaSettings,
    must: Must,
) -> None:
    """The forms that types cannot say.

    Parameters
    ----------
    org : dotted, of the organisation's table.
    must : raises where a relation does not hold.
    """
    for name, each in topics_in.items():
        key = f"{org}.topics_in.{name}"
        _check_brokers(key, each.brokers, kafka, must)
        _check_mapping(key, each, must)
        must(each.dead_letters != each.topic, f"{key}.dead_letters", "expected another topic than the one that is read")
    for name, out in topics_out.items():
        key = f"{org}.topics_out.{name}"
        _check_brokers(key, out.brokers, kafka, must)
        must(bool(out.kinds) and len(set(out.kinds)) == len(out.kinds), f"{key}.kinds", "expected each kind once")
        is_used = not out.features or "features" in out.kinds
        must(is_used, f"{key}.features", "expected none, as kinds has no features")


def is_envelope_key(key: str) -> bool:
    """Whether a mapping may name it."""
    return key in ENVELOPE_KEYS or (key.startswith("data.") and all(key.split(".")))


def clashing(keys: list[str]) -> str | None:
    """A key that is named twice, or within another one; None where all fit beside each other."""
    for place, key in enumerate(keys):
        for other in keys[:place] + keys[place + 1 :]:
            if key == other or key.startswith(f"{other}."):
                return key
    return None


def _check_brokers(key: str, brokers: str, kafka: KafkaSettings, must: Must) -> None:
    chosen = brokers or kafka.brokers
    expected = "expected HOST:PORT, one or more separated by commas, here or as kafka.brokers"
    must(are_brokers(chosen), f"{key}.brokers", f"{expected}, got {chosen!r}")
    check_security(kafka, must)


def _check_mapping(key: str, table: TopicInSettings, must: Must) -> None:
    is_free = table.format == "json" or not (table.mapping or table.constants)
    must(is_free, f"{key}.mapping", "expected none: CloudEvents say themselves what is what")
    forms = f"expected data.FIELD or one of {', '.join(ENVELOPE_KEYS)}"
    for column, target in table.mapping.items():
        must(is_envelope_key(target), f"{key}.mapping.{column}", f"{forms}, got {target!r}")
        is_known = not column.startswith("@") or column in MESSAGE_COLUMNS
        must(is_known, f"{key}.mapping.{column}", f"expected a field, or one of {', '.join(MESSAGE_COLUMNS)}")
    for name in table.constants:
        must(is_envelope_key(name), f"{key}.constants.{name}", forms)
    twice = clashing([*table.mapping.values(), *table.constants])
    must(twice is None, f"{key}.mapping", f"expected each key once, and none within another: {twice}")
