"""``leadwheel create-topic``: the Kafka topic that a log is to be."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.commands.common import DEFAULT_DIRECTORY, DONE, notes, settings_of


def create_topic(
    *,
    kafka: str | None = None,
    topic: str | None = None,
    partitions: Annotated[int, Parameter(validator=Number(gte=2, lte=1000))] = 12,
    copies: Annotated[int, Parameter(validator=Number(gte=1, lte=9))] = 1,
    data_dir: Path = DEFAULT_DIRECTORY,
    config: Path | None = None,
) -> int:
    """Make the Kafka topic that is to be the log, kept for good and never compacted.

    Parameters
    ----------
    kafka
        HOST:PORT of one or more brokers, separated by commas.
    topic
        Its name.
    partitions
        Into how many it is divided, the first for what all leads share; that cannot be changed later.
    copies
        How many brokers hold each; 3 where losing a machine must lose nothing.
    data_dir
        Directory whose settings file says how the brokers are reached.
    config
        Settings file; default: leadwheel.toml in the data directory, if it is there.
    """
    from eventstore import kafka_client
    from gateway.kafka import kafka_options

    flags = {"kafka.brokers": kafka, "kafka.topic": topic, "store.kind": "kafka"}
    options = kafka_options(settings_of(data_dir, config, flags))
    asyncio.run(kafka_client.create_topic(options, partitions=partitions, copies=copies))
    notes.print(f"made {options.topic}: {partitions} partitions, {copies} of each", markup=False)
    return DONE
