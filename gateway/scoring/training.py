"""Training the models of an org from its log, beside whatever else a service does.

The log is read in pages on the loop and told to a process of its own (``trainer``), which makes rows and models and
writes them as new versions; it is killed when nobody waits for it any more. A version is used only once it is promoted.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Annotated, Any, Literal, cast, get_args

import msgspec
from msgspec import Meta

from eventstore.event import Event, Stream
from eventstore.store import EventStore
from eventstore.system import is_system_id
from gateway.engine import Engine
from gateway.jobs import Job, Progress
from gateway.orgs import Org
from gateway.problems import Problem, invalid_parameter
from gateway.scoring.models import OrgModels, ScoringModels
from gateway.scoring.orders import LENGTH, End, Failed, FromTrainer, Made, Order, Part, Row, Told, framed
from kernel.errors import TooFewRows, TrainingFailed
from kernel.settings_scoring import DEFAULT_CONFIGURATION, ScoringSettings
from scoring.features import feature_set
from scoring.model import Card, Family
from scoring.registry import version
from scoring.request import Report, Request

PAGE = 50  # leads read in one hop: more would hold up the loop that hands them on
#: Events that are encoded in one go: about a millisecond.
_PART_EVENTS = 1000

_FROM_TRAINER: msgspec.msgpack.Decoder[FromTrainer] = msgspec.msgpack.Decoder(FromTrainer)

Promote = Literal["never", "better", "always"]
Reference = Annotated[str, Meta(min_length=1, max_length=256)]


class TrainingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a training job is to do; what is not given is as the configuration says.

    Attributes
    ----------
    outcome, horizon_days : the events that are a conversion, and within how many days one must come.
    at : types of the events at which rows are taken, instead of at regular midnights.
    features : references; null: all of a lead's own.
    families : null: all.
    promote : whether what was trained is used at once: ``better`` than the model in use, on the same later rows; where
        none is in use, than the rules.
    """

    config: str = DEFAULT_CONFIGURATION
    outcome: Annotated[list[Reference], Meta(min_length=1, max_length=100)] | None = None
    horizon_days: Annotated[float, Meta(gt=0, le=365)] | None = None
    at: Annotated[list[Reference], Meta(max_length=100)] = []
    features: Annotated[list[Reference], Meta(min_length=1, max_length=10_000)] | None = None
    families: Annotated[list[Family], Meta(min_length=1, max_length=3)] | None = None
    step_days: Annotated[int, Meta(ge=1, le=365)] = 15
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 1
    promote: Promote = "never"


def check_training(org: Org, wanted: TrainingRequest) -> ScoringSettings:
    """The configuration that is trained for.

    Raises
    ------
    Problem
        ``configuration_not_found``, ``invalid_body``.
    UnknownFeature
    """
    settings = org.settings.scoring_of(wanted.config)
    if settings is None:
        raise Problem("configuration_not_found", f"no scoring configuration {wanted.config}")
    feature_set(org.catalogue, wanted.features)
    types = {each.name for each in org.catalogue.event_types}
    for name, given in (("outcome", wanted.outcome or ()), ("at", wanted.at)):
        for each in given:
            if each not in types:
                raise invalid_parameter(f"training.{name}", "expected a type of event", each, "invalid_body")
    return settings


async def train_org(
    engine: Engine, scoring_models: ScoringModels, job: Job, org: Org, wanted: TrainingRequest
) -> dict[str, Any]:
    """Train, write what was trained, and promote it if that is wanted. Raises ``ScoringError``, ``Problem``."""
    settings = check_training(org, wanted)
    models = await scoring_models.of(org)
    directory = models.directory
    if directory is None:
        raise Problem("model_refused", "the service keeps everything in memory, and models in a data directory only")
    in_use = _in_use(models, wanted.config)

    def report(phase: str, done: int, total: int | None) -> None:
        job.progress = Progress(done, total, "leads" if phase == "rows" else f"steps of {phase}")

    report("rows", 0, None)
    streams, until_us = await survey(engine.store, org.name)
    if not streams:
        raise TooFewRows("no lead has an event", 0)
    order = Order(
        org=org.name,
        settings=msgspec.structs.replace(org.settings, scoring={}, webhooks={}),  # nothing of them is in a catalogue
        request=_request(settings, wanted),
        weights=settings.weights,
        champions=in_use,
        path=sys.path,
        directory=str(directory),
        config=wanted.config,
        until_us=until_us,
        now_us=engine.clock.now_us(),
        leads=len(streams),
    )
    made = await trained(order, engine.store, streams, report)
    saved = [await asyncio.to_thread(version, directory, each) for each in made.models]
    for family, reason in made.refused.items():
        job.say(f"{family}: not trained: {reason}")
    job.say(f"{', '.join(made.models)} from {made.rows} rows of {made.leads} leads")
    better = [
        each.id
        for each in saved
        if wanted.promote == "always" or (wanted.promote == "better" and _is_better(each.card, in_use))
    ]
    for model_id in better:
        await scoring_models.promote(org, model_id)
        job.say(f"{model_id} is in use")
    return {
        "config": wanted.config,
        "leads": made.leads,
        "rows": made.rows,
        "models": made.models,
        "promoted": better,
        "refused": made.refused,
    }


def _request(settings: ScoringSettings, wanted: TrainingRequest) -> Request:
    return Request(
        features=None if wanted.features is None else tuple(wanted.features),
        outcome_types=tuple(wanted.outcome or settings.conversion_events),
        horizon_days=float(wanted.horizon_days or settings.horizon_days),
        families=tuple(family for family in get_args(Family) if wanted.families is None or family in wanted.families),
        step_days=wanted.step_days,
        at_types=tuple(wanted.at),
        seed=wanted.seed,
        asked=asked_of(wanted),
    )


def _in_use(models: OrgModels, configuration: str) -> dict[Family, str]:
    """The versions that predict under a configuration."""
    found = models.models(configuration)._asdict().items()
    return {cast("Family", family): each.version for family, each in found if each is not None}


def asked_of(wanted: TrainingRequest) -> dict[str, Any]:
    """A request as cards keep it: what it leaves to the configuration is left to it when it is made again."""
    kept: dict[str, Any] = msgspec.to_builtins(wanted)
    return {name: value for name, value in kept.items() if name not in ("config", "families", "promote")}


def _is_better(card: Card, in_use: Collection[Family]) -> bool:
    """Than the model in use; one that could not be compared with it is not."""
    if card.family in in_use:
        return card.beats_champion is True
    return card.beats_rules is not False


async def survey(store: EventStore, org: str) -> tuple[list[Stream], int]:
    """An organisation's leads, and the end of its log: the time of the newest event from outside. Reads it in pages.

    What the system writes says nothing of how far the outside has been told: after a log that ends years ago, years of
    silence would be taught.
    """
    streams: list[Stream] = []
    until_us, after = 0, 0
    while page := await store.list_streams(after_number=after, limit=PAGE):
        after = page[-1].number
        mine = [info.stream for info in page if info.stream.org == org and info.stream.kind == "lead" and info.is_known]
        for events in await store.read_many(mine):
            until_us = max(until_us, max((e.at_us for e in events if not is_system_id(e.id)), default=0))
        streams += mine
    return streams, until_us


async def trained(order: Order, store: EventStore, streams: Sequence[Stream], report: Report) -> Made:
    """Have an order carried out by a process of its own, which ends with this call, whatever becomes of it.

    Raises
    ------
    TrainingFailed
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway.scoring.trainer"),
        stdin=PIPE,
        stdout=PIPE,
    )
    writer, reader = cast("asyncio.StreamWriter", process.stdin), cast("asyncio.StreamReader", process.stdout)
    telling = asyncio.create_task(_tell(writer, order, store, streams), name="training")
    try:
        made = await _made(reader, report)
        if made is None:
            raise TrainingFailed(f"its process ended with exit code {await process.wait()}")
        return made
    finally:
        telling.cancel()
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.wait([telling])
        await process.wait()


async def _tell(writer: asyncio.StreamWriter, order: Order, store: EventStore, streams: Sequence[Stream]) -> None:
    """Tell the whole streams of all leads, no faster than they are taken."""
    with suppress(ConnectionError):  # it ended: its exit code tells more
        writer.write(framed(order))
        for start in range(0, len(streams), PAGE):
            for events in await store.read_many(streams[start : start + PAGE]):
                for part in _parts(events):
                    writer.write(framed(part))
                    await writer.drain()
        writer.write(framed(End()))
        await writer.drain()


def _parts(events: Sequence[Event]) -> Iterator[Part]:
    """A lead's events; none for a lead without any."""
    rest = iter(events)
    told = 0
    while rows := [_row(event) for event in islice(rest, _PART_EVENTS)]:
        told += len(rows)
        yield Part(events[0].stream.id, events[0].number, rows, told == len(events))


def _row(event: Event) -> Row:
    return Row(
        event.version,
        event.position,
        event.id,
        event.type,
        event.at_us,
        event.recorded_us,
        event.data,
        event.source,
    )


async def _made(reader: asyncio.StreamReader, report: Report) -> Made | None:
    """What was made, when it is; None if the process ended without a word. Raises ``TrainingFailed``."""
    while True:
        try:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            message = _FROM_TRAINER.decode(await reader.readexactly(length))
        except asyncio.IncompleteReadError:
            return None
        if isinstance(message, Told):
            report(message.phase, message.done, message.total)
        elif isinstance(message, Failed):
            raise TrainingFailed(message.reason)
        else:
            return message
