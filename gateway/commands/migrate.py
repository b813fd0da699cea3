"""``leadwheel migrate``: a log from a data directory to a Kafka topic, or back, compared before it says that it is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App
from rich.progress import TaskID

from gateway.commands.common import DEFAULT_DIRECTORY, DONE, notes, print_json, settings_of
from gateway.commands.ingest import progress_bar
from kernel.clock import SystemClock
from kernel.settings import Settings

if TYPE_CHECKING:
    from gateway.migrating import OnStage

app = App(name="migrate", help="Move a stopped service's log to a Kafka topic, or back.")

_STAGES = {
    "writing": "writing the topic",
    "following": "following the topic",
    "comparing": "comparing streams",
}


@app.command
async def to_kafka(
    *,
    data_dir: Path = DEFAULT_DIRECTORY,
    kafka: str | None = None,
    topic: str | None = None,
    into: Path | None = None,
    config: Path | None = None,
) -> int:
    """Write the log to an empty topic, and compare every lead and policy. Broken off, it goes on when it is repeated.

    The data directory is not changed. Exit code 3: it is not done, go on serving the data directory.

    Parameters
    ----------
    data_dir
        Directory of the data; nobody serves it meanwhile.
    kafka
        HOST:PORT of one or more brokers, separated by commas.
    topic
        The Kafka topic; leadwheel create-topic makes one.
    into
        A new directory to serve the topic with: it gets the copy that was compared, keys, models and settings.
    config
        Settings file; default: leadwheel.toml in the data directory, if it is there.
    """
    from gateway import migrating

    settings = _settings(data_dir, config, kafka, topic)
    with _progress() as on_stage:
        moved = await migrating.to_kafka(settings, data_dir, into, clock=SystemClock(), on_stage=on_stage)
    print_json(moved)
    where = f"--kafka {settings.kafka.brokers} --topic {settings.kafka.topic}"
    notes.print(
        f"done; from now on: leadwheel serve {where} --data-dir {into or 'A-NEW-DIRECTORY'}",
        markup=False,
        soft_wrap=True,
    )
    return DONE


@app.command
async def from_kafka(
    *,
    data_dir: Path = DEFAULT_DIRECTORY,
    kafka: str | None = None,
    topic: str | None = None,
    config: Path | None = None,
) -> int:
    """Make a data directory of the topic, and compare every lead and policy. Broken off, it goes on when it is repeated.

    The topic is taken over, so that nobody writes it any longer, and otherwise left as it is.

    Parameters
    ----------
    data_dir
        A directory that is missing or empty, or one that has served the topic alone: with its keys, models and settings.
    kafka
        HOST:PORT of one or more brokers, separated by commas.
    topic
        The Kafka topic.
    config
        Settings file; default: leadwheel.toml in the data directory, if it is there.
    """
    from gateway import migrating

    settings = _settings(data_dir, config, kafka, topic)
    with _progress() as on_stage:
        moved = await migrating.from_kafka(settings, data_dir, clock=SystemClock(), on_stage=on_stage)
    print_json(moved)
    notes.print(
        f"done; from now on: leadwheel serve --data-dir {data_dir}, with store.kind = sqlite",
        markup=False,
        soft_wrap=True,
    )
    return DONE


def _settings(data_dir: Path, config: Path | None, kafka: str | None, topic: str | None) -> Settings:
    flags = {"kafka.brokers": kafka, "kafka.topic": topic, "store.kind": "kafka"}
    return settings_of(data_dir, config, flags)


@contextmanager
def _progress() -> "Iterator[OnStage]":
    """A bar for each stage, one after the other."""
    with progress_bar() as progress:
        tasks: dict[str, TaskID] = {}

        def on_stage(stage: str, done: int | None, total: int | None) -> None:
            if stage not in tasks:
                for task in tasks.values():
                    progress.stop_task(task)
                tasks[stage] = progress.add_task(_STAGES[stage], total=total, events=0)
            if done is not None:
                progress.update(tasks[stage], completed=done, total=total, events=done)

        yield on_stage
