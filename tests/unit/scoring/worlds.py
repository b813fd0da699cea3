"""Synthetic leads as streams and as rows, with what the law says of each row."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from eventstore.event import Event, Stream
from kernel.ids import Position
from kernel.steps import finish
from projections.catalogue import Catalogue
from scoring.dataset import Dataset
from scoring.model import Rules
from scoring.request import Request
from scoring.synth import Truth, World
from scoring.training import make_dataset

_ENCODE = msgspec.json.Encoder().encode


def stream_of(world: World, lead: int) -> list[Event]:
    """A lead's events as the log has them, each recorded when it happened."""
    stream = Stream("default", "lead", world.name(lead))
    return [
        Event(stream, lead + 1, version, Position(version), e.id, e.type, e.at_us, e.at_us, _ENCODE(e.data))
        for version, e in enumerate(world.events(lead), 1)
    ]


def streams_of(world: World) -> Iterator[list[Event]]:
    return (stream_of(world, lead) for lead in range(world.leads))


def rows_of(world: World, catalogue: Catalogue, request: Request, rules: Rules | None = None) -> Dataset:
    return finish(make_dataset(catalogue, streams_of(world), request, until_us=world.end_us, rules=rules))[0]


def truth_of(world: World, dataset: Dataset, rows: Sequence[int] | np.ndarray) -> Truth:
    """What the law says of rows of a dataset."""
    numbers = np.array([int(name.removeprefix("lead-")) for name in dataset.leads])
    return world.truth(numbers[dataset.lead[rows]], dataset.at_us[rows])
