"""Training the models of an org from its log, beside whatever else a service does.

The log is read in pages on the loop; rows and models are made in a thread of their own, one step after the other, which
ends with its step when nobody waits for it any more. What was trained is written as new versions, and used only once
it is promoted.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from msgspec import Meta

from eventstore.event import Event, Stream
from eventstore.store import EventStore
from gateway.jobs import Job, Progress
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.service import Service
from kernel.errors import TooFewRows
from kernel.settings_scoring import DEFAULT_CONFIGURATION, ScoringSettings
from kernel.steps import Steps
from projections.catalogue import Catalogue
from scoring.features import feature_set
from scoring.model import Family
from scoring.registry import save
from scoring.rules import RuleScorer
from scoring.training import Report, Request, TrainedModels, train

PAGE = 200  # leads read in one hop

T = TypeVar("T")
Reference = Annotated[str, Meta(min_length=1, max_length=256)]


class TrainingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a training job is to do; what is not given is as the configuration says.

    Attributes
    ----------
    outcome, horizon_days : the events that are a conversion, and within how many days one must come.
    at : types of the events at which rows are taken, instead of at regular midnights.
    features : references; null: all of a lead's own.
    families : null: all.
    promote : use what was trained at once.
    """

    config: str = DEFAULT_CONFIGURATION
    outcome: Annotated[list[Reference], Meta(min_length=1, max_length=100)] | None = None
    horizon_days: Annotated[float, Meta(gt=0, le=365)] | None = None
    at: Annotated[list[Reference], Meta(max_length=100)] = []
    features: Annotated[list[Reference], Meta(min_length=1, max_length=10_000)] | None = None
    families: Annotated[list[Family], Meta(min_length=1, max_length=3)] | None = None
    step_days: Annotated[int, Meta(ge=1, le=365)] = 15
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 1
    promote: bool = False


def check_training(org: Org, wanted: TrainingRequest) -> ScoringSettings:
    """The configuration that is trained for. Raises ``Problem``, ``UnknownFeature``."""
    settings = org.settings.scoring_of(wanted.config)
    if settings is None:
        raise Problem("configuration_not_found", f"no scoring configuration {wanted.config}")
    feature_set(org.catalogue, wanted.features)
    return settings


async def train_org(service: Service, job: Job, org: Org, wanted: TrainingRequest) -> dict[str, Any]:
    """Train, write what was trained, and promote it if that is wanted. Raises ``ScoringError``, ``Problem``."""
    settings = check_training(org, wanted)
    models = await service.models.of(org)
    directory = models.directory
    if directory is None:
        raise Problem("model_refused", "the service keeps everything in memory, and models in a data directory only")
    request = Request(
        features=None if wanted.features is None else tuple(wanted.features),
        outcome_types=tuple(wanted.outcome or settings.conversion_events),
        horizon_days=float(wanted.horizon_days or settings.horizon_days),
        families=tuple(family for family in get_args(Family) if wanted.families is None or family in wanted.families),
        step_days=wanted.step_days,
        at_types=tuple(wanted.at),
        seed=wanted.seed,
    )

    def report(phase: str, done: int, total: int | None) -> None:
        job.progress = Progress(done, total, "leads" if phase == "rows" else f"steps of {phase}")

    trained = await train_from(
        service.store,
        org.name,
        org.catalogue,
        request,
        rules=RuleScorer(settings.weights),
        now_us=service.clock.now_us(),
        report=report,
    )
    made = trained.models().values()
    saved = [(await asyncio.to_thread(save, directory, model, config=wanted.config)).id for model in made]
    for family, reason in trained.refused.items():
        job.say(f"{family}: not trained: {reason}")
    job.say(f"{', '.join(saved)} from {trained.rows} rows of {trained.leads} leads")
    if wanted.promote:
        for model_id in saved:
            await service.models.promote(org, model_id)
    return {
        "config": wanted.config,
        "leads": trained.leads,
        "rows": trained.rows,
        "models": saved,
        "promoted": wanted.promote,
        "refused": trained.refused,
    }


async def train_from(
    store: EventStore,
    org: str,
    catalogue: Catalogue,
    request: Request,
    *,
    rules: RuleScorer,
    now_us: int,
    report: Report,
) -> TrainedModels:
    """Models from a log; ``report`` is called from another thread. Raises ``ScoringError``, ``UnknownFeature``."""
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
            report=report,
        ),
        pages(store, streams),
    )


async def survey(store: EventStore, org: str) -> tuple[list[Stream], int]:
    """An organisation's leads, and the end of its log: the time of its newest event. Reads all of it, in pages."""
    streams: list[Stream] = []
    until_us, after = 0, 0
    while page := await store.list_streams(after_number=after, limit=PAGE):
        after = page[-1].number
        mine = [info.stream for info in page if info.stream.org == org and info.stream.kind == "lead" and info.is_known]
        for events in await store.read_many(mine):
            until_us = max(until_us, max((e.at_us for e in events), default=0))
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
