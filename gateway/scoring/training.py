"""Training the models of an org from its log, beside whatever else a service does.

The log is read in pages on the loop; rows and models are made in a thread of their own, one step after the other, which
ends with its step when nobody waits for it any more. What was trained is written as new versions, and used only once
it is promoted.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast, get_args

import msgspec
from msgspec import Meta

from eventstore.event import Event, Stream
from eventstore.store import EventStore
from eventstore.system import is_system_id
from gateway.jobs import Job, Progress
from gateway.orgs import Org
from gateway.problems import Problem, invalid_parameter
from gateway.scoring.models import OrgModels
from kernel.errors import TooFewRows
from kernel.settings_scoring import DEFAULT_CONFIGURATION, ScoringSettings
from kernel.steps import Steps
from projections.catalogue import Catalogue
from scoring.features import feature_set
from scoring.model import Card, Family
from scoring.registry import save
from scoring.rules import RuleScorer

if TYPE_CHECKING:
    from gateway.service import Service
    from scoring.challenge import Champion
    from scoring.training import Report, Request, TrainedModels

PAGE = 50  # leads read in one hop: more would hold up the loop that hands them on

T = TypeVar("T")
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


async def train_org(service: "Service", job: Job, org: Org, wanted: TrainingRequest) -> dict[str, Any]:
    """Train, write what was trained, and promote it if that is wanted. Raises ``ScoringError``, ``Problem``."""
    settings = check_training(org, wanted)
    models = await service.models.of(org)
    directory = models.directory
    if directory is None:
        raise Problem("model_refused", "the service keeps everything in memory, and models in a data directory only")
    await asyncio.to_thread(import_module, "scoring.training")  # with scikit-learn, which takes seconds
    in_use = _in_use(models, wanted.config)

    def report(phase: str, done: int, total: int | None) -> None:
        job.progress = Progress(done, total, "leads" if phase == "rows" else f"steps of {phase}")

    report("rows", 0, None)
    trained = await train_from(
        service.store,
        org.name,
        org.catalogue,
        _request(settings, wanted),
        rules=RuleScorer(settings.weights),
        champions=in_use,
        now_us=service.clock.now_us(),
        report=report,
    )
    made = trained.models().values()
    saved = [await asyncio.to_thread(save, directory, model, config=wanted.config) for model in made]
    for family, reason in trained.refused.items():
        job.say(f"{family}: not trained: {reason}")
    job.say(f"{', '.join(each.id for each in saved)} from {trained.rows} rows of {trained.leads} leads")
    better = [
        each.id
        for each in saved
        if wanted.promote == "always" or (wanted.promote == "better" and _is_better(each.card, in_use))
    ]
    for model_id in better:
        await service.models.promote(org, model_id)
        job.say(f"{model_id} is in use")
    return {
        "config": wanted.config,
        "leads": trained.leads,
        "rows": trained.rows,
        "models": [each.id for each in saved],
        "promoted": better,
        "refused": trained.refused,
    }


def _request(settings: ScoringSettings, wanted: TrainingRequest) -> "Request":
    from scoring.training import Request

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


def _in_use(models: OrgModels, configuration: str) -> "dict[Family, Champion]":
    """The models that predict under a configuration."""
    from scoring.challenge import Champion

    found = models.models(configuration)._asdict().items()
    return {cast("Family", family): Champion(each.version, each.model) for family, each in found if each is not None}


def asked_of(wanted: TrainingRequest) -> dict[str, Any]:
    """A request as cards keep it: what it leaves to the configuration is left to it when it is made again."""
    kept: dict[str, Any] = msgspec.to_builtins(wanted)
    return {name: value for name, value in kept.items() if name not in ("config", "families", "promote")}


def _is_better(card: Card, in_use: "Mapping[Family, Champion]") -> bool:
    """Than the model in use; one that could not be compared with it is not."""
    if card.family in in_use:
        return card.beats_champion is True
    return card.beats_rules is not False


async def train_from(
    store: EventStore,
    org: str,
    catalogue: Catalogue,
    request: "Request",
    *,
    rules: RuleScorer,
    champions: "Mapping[Family, Champion]",
    now_us: int,
    report: "Report",
) -> "TrainedModels":
    """Models from a log; ``report`` is called from another thread. Raises ``ScoringError``, ``UnknownFeature``."""
    from scoring.training import train

    streams, until_us = await survey(store, org)
    if not streams:
        raise TooFewRows("no lead has an event", 0)
    return await in_thread(
        lambda events: train(
            catalogue,
            events,
            request,
            until_us=until_us,
            now_us=now_us,
            leads=len(streams),
            rules=rules,
            champions=champions,
            report=report,
        ),
        pages(store, streams),
    )


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


async def pages(store: EventStore, streams: Sequence[Stream]) -> AsyncIterator[list[list[Event]]]:
    """The whole streams of some leads, some at a time."""
    for start in range(0, len(streams), PAGE):
        yield await store.read_many(streams[start : start + PAGE])


async def in_thread(steps: Callable[[Iterator[list[Event]]], Steps[T]], pages: AsyncIterator[list[list[Event]]]) -> T:
    """Run steps in a thread that asks this loop for pages of streams; a cancellation stops it between two steps.

    The thread is a daemon: a process that ends does not wait for the fit of a model.
    """
    loop, stopped = asyncio.get_running_loop(), threading.Event()
    ended: asyncio.Future[T] = loop.create_future()

    def streams() -> Iterator[list[Event]]:
        while not stopped.is_set():
            page = asyncio.run_coroutine_threadsafe(_next(pages), loop).result()
            if page is None:
                return
            yield from page

    def run() -> T:
        running = steps(streams())
        while not stopped.is_set():
            try:
                next(running)
            except StopIteration as stop:
                result: T = stop.value
                return result
        raise CancelledError

    def settle(error: BaseException | None, result: T | None) -> None:
        if ended.done():
            return  # nobody waits any more
        if error is None:
            ended.set_result(result)  # type: ignore[arg-type]  # None only where there is an error
        else:
            ended.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        result: T | None = None
        try:
            result = run()
        except BaseException as raised:  # noqa: BLE001 - raised again where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, error, result)

    threading.Thread(target=work, name="training", daemon=True).start()
    try:
        return await ended
    finally:
        stopped.set()  # what is under way ends with its step; nothing is written


async def _next(pages: AsyncIterator[list[list[Event]]]) -> list[list[Event]] | None:
    return await anext(pages, None)
