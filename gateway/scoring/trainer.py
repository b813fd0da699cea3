"""A training as a process of its own: fits of models never hold the loop, the memory or the interpreter of a service.

Started as ``python -m gateway.scoring.trainer`` by ``training``. Enters, on the standard input: an order and the events of all
leads. Leaves, on the standard output: how far it is, and what it made (``orders`` has the messages).

Whoever does not want the models any more kills it. When the service is gone, the next word to it fails, and since the
last word comes before the first file, nothing is written that nobody waits for.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

from eventstore.event import Event, Stream
from gateway.scoring.orders import LENGTH, Failed, FromTrainer, Made, Order, Part, Row, Told, ToTrainer, framed
from kernel.errors import LeadwheelError
from kernel.ids import Position
from kernel.steps import finish
from projections.catalogue import Catalogue
from scoring.challenge import Champion
from scoring.registry import load, save
from scoring.rules import RuleScorer
from scoring.training import train

#: A service's requests come first where cores are few.
_NICENESS: Final = 5


def run(source: IO[bytes], sink: IO[bytes]) -> None:
    """Train what the source orders. Raises ``OSError`` when nobody listens any more."""
    decoder: msgspec.msgpack.Decoder[ToTrainer] = msgspec.msgpack.Decoder(ToTrainer)

    def receive() -> ToTrainer:
        (length,) = LENGTH.unpack(_exactly(source, LENGTH.size))
        return decoder.decode(_exactly(source, length))

    def tell(message: FromTrainer) -> None:
        sink.write(framed(message))
        sink.flush()

    order = receive()
    if not isinstance(order, Order):
        raise TypeError(f"expected an order, got {type(order).__name__}")
    sys.path[:] = order.path
    try:
        tell(_train(order, _streams(order.org, receive), tell))
    except LeadwheelError as error:
        tell(Failed(str(error)))


def _train(order: Order, streams: Iterator[list[Event]], tell: Callable[[FromTrainer], None]) -> Made:
    directory = Path(order.directory)
    trained = finish(
        train(
            Catalogue(order.org, order.settings),
            streams,
            order.request,
            until_us=order.until_us,
            now_us=order.now_us,
            leads=order.leads,
            rules=RuleScorer(order.weights),
            champions={family: Champion(name, load(directory, name)) for family, name in order.champions.items()},
            report=lambda phase, done, total: tell(Told(phase, done, total)),
        )
    )
    models = trained.models()
    tell(Told("writing", 0, len(models)))
    saved = [save(directory, model, config=order.config).id for model in models.values()]
    return Made(saved, trained.leads, trained.rows, trained.refused)


def _streams(org: str, receive: Callable[[], ToTrainer]) -> Iterator[list[Event]]:
    """One lead's events after the other's."""
    events: list[Event] = []
    while isinstance(message := receive(), Part):
        stream = Stream(org, "lead", message.lead)
        events += [_event(stream, message.number, row) for row in message.rows]
        if message.is_last:
            yield events
            events = []


def _event(stream: Stream, number: int, row: Row) -> Event:
    return Event(
        stream,
        number,
        row.version,
        Position(row.position),
        row.id,
        row.type,
        row.at_us,
        row.recorded_us,
        row.data,
        row.source,
    )


def _exactly(source: IO[bytes], size: int) -> bytes:
    found = source.read(size)
    if len(found) < size:
        raise EOFError("the service is gone")
    return found


def main() -> None:
    """Train, as the process that does nothing else."""
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no message
    os.nice(_NICENESS)
    try:
        run(sys.stdin.buffer, sink)
    except (EOFError, BrokenPipeError):
        os._exit(1)  # the service is gone, and with it whoever would read why


if __name__ == "__main__":
    main()
