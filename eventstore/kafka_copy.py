"""What a copy of a topic keeps beside the events: of which topic it is, and how far it has followed each partition.

Two tables more in ``events.db``: ``followed_log`` (one row: the topic, the cluster's id, how many partitions it has), and
``followed`` (partition, and the offset up to which its events are in the copy, written in their transaction). A copy
follows all partitions of the topic or some of them, always the same ones.
"""

import sqlite3
from collections.abc import Mapping, Sequence

from eventstore.kafka_client import Topic
from kernel.errors import LogIsNoCopy


def begin_following(
    connection: sqlite3.Connection, *, name: str, topic: Topic, followed: Sequence[int]
) -> dict[int, int]:
    """The offset to go on from in each partition; makes the tables for an empty log. Raises ``LogIsNoCopy``."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'followed_log'").fetchone() is None:
        if connection.execute("SELECT 1 FROM events LIMIT 1").fetchone() is not None:
            raise LogIsNoCopy(name, "a log of its own")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "CREATE TABLE followed_log (topic TEXT NOT NULL, cluster TEXT NOT NULL, partitions INTEGER NOT NULL) STRICT"
        )
        connection.execute("CREATE TABLE followed (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL) STRICT")
        connection.execute("INSERT INTO followed_log VALUES (?, ?, ?)", (name, topic.cluster, topic.partitions))
        connection.executemany("INSERT INTO followed VALUES (?, 0)", [(each,) for each in followed])
        connection.execute("COMMIT")
    known = connection.execute("SELECT topic, cluster, partitions FROM followed_log").fetchone()
    if known != (name, topic.cluster, topic.partitions):
        was = f"a copy of {known[0]} in {known[2]} partitions of the cluster {known[1]}"
        raise LogIsNoCopy(f"{name} in {topic.partitions} partitions of the cluster {topic.cluster}", was)
    offsets: dict[int, int] = dict(connection.execute("SELECT partition, next FROM followed").fetchall())
    if sorted(offsets) != sorted(followed):
        was = f"a copy of {_words(sorted(offsets), topic)}"
        raise LogIsNoCopy(f"{name}, {_words(sorted(followed), topic)}", was)
    return offsets


def note_offsets(connection: sqlite3.Connection, *, offsets: Mapping[int, int]) -> None:
    """Write how far partitions are followed, in the transaction that is open."""
    connection.executemany(
        "UPDATE followed SET next = ? WHERE partition = ?",
        [(offset, partition) for partition, offset in offsets.items()],
    )


def _words(partitions: Sequence[int], topic: Topic) -> str:
    if len(partitions) == topic.partitions:
        return "all its partitions"
    return f"partition {', '.join(map(str, partitions))} alone"
