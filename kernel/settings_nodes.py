"""``[nodes]``: several processes that share one topic."""

from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from kernel.sections import Must, NotNegative, Seconds, Secret, Section

_SECRET_LEAST = 16


class NodesSettings(Section, frozen=True):
    """``[nodes]``: read when ``nodes.url`` is set, with ``store.kind`` kafka."""

    url: str = (
        ""  # where the other nodes reach this one, such as http://10.0.0.5:8780; empty: one process serves the topic
    )
    secret: Secret | None = None  # what nodes show each other, 16 characters or more, the same for all of them
    group: str = ""  # of consumers, in Kafka, whose members the nodes are; empty: the topic's name
    standbys: NotNegative = (
        1  # copies of each partition beside that of its leader; with one, a handover takes no copying
    )
    session_timeout_s: Annotated[float, Meta(ge=1, le=300)] = (
        10.0  # a node that was not heard of for so long has lost its partitions; within what brokers allow (6 s or more)
    )
    heartbeat_s: Annotated[float, Meta(ge=0.05, le=60)] = 0.25  # between two signs of life; a handover takes about one
    fill_events: NotNegative = (
        20_000  # a second, of those that a copy lacks that began from the changelog, while it serves; 0: no bound
    )
    changelog_s: Annotated[float, Meta(ge=0, le=86_400)] = (
        10.0  # between two rounds in which what changed is written to the topic's changelog of snapshots; 0: never
    )
    release_s: Seconds = 1.0  # for a batch under way when a partition is given back
    forward_timeout_s: Seconds = 10.0  # for another node's answer
    handover_wait_s: Annotated[float, Meta(ge=0, le=30)] = (
        2.0  # how long a request waits for a partition that is being handed over, before it gets 503; 0: not at all
    )
    stop_timeout_s: Annotated[float, Meta(gt=0, le=60)] = (
        5.0  # for the others to take over what a stopping node gives back
    )


def check_nodes(nodes: NodesSettings, *, is_kafka: bool, must: Must) -> None:
    """The forms that types cannot say."""
    if not nodes.url:
        return
    parts = urlsplit(nodes.url)
    is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/")
    must(is_url, "nodes.url", f"expected http://HOST:PORT, got {nodes.url!r}")
    must(is_kafka, "nodes.url", "expected store.kind = kafka: nodes share a topic")
    is_secret = nodes.secret is not None and len(nodes.secret.value) >= _SECRET_LEAST
    must(
        is_secret,
        "nodes.secret",
        f"expected {_SECRET_LEAST} characters or more (LEADWHEEL_NODES__SECRET), as nodes.url is set",
    )
    must(
        nodes.heartbeat_s * 3 <= nodes.session_timeout_s,
        "nodes.heartbeat_s",
        f"expected at most a third of nodes.session_timeout_s ({nodes.session_timeout_s:g})",
    )
