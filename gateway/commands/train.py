"""``leadwheel train``: scoring models from the log, with a table of how good they are.

Of a stopped service here, of a running one as a job of its own.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.progress import Progress
from rich.table import Table

from eventstore.store import EventStore
from gateway.app import Paths, open_service
from gateway.commands.common import DONE, PARTLY, Json, Where, connect, notes, print_json, results, settings_of
from gateway.commands.ingest import progress_bar
from gateway.scoring.models import DIRECTORY
from gateway.scoring.training import TrainingRequest, train_from
from kernel.clock import SystemClock
from kernel.errors import SettingsError
from kernel.settings_scoring import DEFAULT_CONFIGURATION
from projections.catalogue import Catalogue
from scoring.model import Card, Family, Metrics
from scoring.registry import Version, save
from scoring.rules import RuleScorer
from scoring.training import Request, TrainedModels

HERE = Where()
POLL_S = 0.2

Repeated = Annotated[list[str] | None, Parameter(negative="")]


async def train(
    *,
    config: str = DEFAULT_CONFIGURATION,
    outcome: Repeated = None,
    horizon: float | None = None,
    at: Repeated = None,
    features: Repeated = None,
    family: Repeated = None,
    step: int = 15,
    seed: int = 1,
    promote: Annotated[bool, Parameter(negative="")] = False,
    where: Where = HERE,
    json: Json = False,
) -> int:
    """Train scoring models on the log, keep them in the data directory, print how good they are.

    Rows are split by time: the oldest teach, later ones calibrate, the latest judge. Exit code 1 when a family
    could not be trained.

    Parameters
    ----------
    config
        Scoring configuration; it names the outcome and the horizon.
    outcome
        Event type that is a conversion, instead of the configuration's; may be repeated.
    horizon
        Days within which it must come, instead of the configuration's.
    at
        Event type at whose events rows are taken, instead of regular midnights; may be repeated.
    features
        Reference view:name; may be repeated. Default: all of a lead's own features.
    family
        conversion, time_to_close or multitask; may be repeated. Default: all three.
    step
        Days between two rows of a lead.
    seed
        Of the chance in training.
    promote
        Use what was trained at once; a running service only.
    json
        Print the cards as JSON.
    """
    families = _families(family)
    if where.url is not None:
        wanted = TrainingRequest(
            config=config,
            outcome=outcome,
            horizon_days=horizon,
            at=at or [],
            features=features,
            families=list(families),
            step_days=max(1, step),
            seed=seed,
            promote=promote,
        )
        return await _by_job(where, wanted, json=json)
    if promote:
        raise SettingsError(
            "--promote", "command line", "expected with --url only: promote by POST …/models/ID/promote"
        )
    if not where.data_dir.is_dir():
        raise SettingsError("data-dir", str(where.data_dir), "expected an existing directory")
    settings = settings_of(where.data_dir, where.config)
    scoring = settings.of_org(where.org).scoring_of(config)
    if scoring is None:
        raise SettingsError(f"org.{where.org}.scoring.{config}", "settings", "expected a scoring configuration")
    request = Request(
        features=tuple(features) if features else None,
        outcome_types=tuple(outcome or scoring.conversion_events),
        horizon_days=float(horizon or scoring.horizon_days),
        families=families,
        step_days=max(1, step),
        at_types=tuple(at or ()),
        seed=seed,
    )
    service = await open_service(settings, paths=Paths(where.data_dir), clock=SystemClock(), is_trusting=True)
    try:
        catalogue = service.orgs.catalogue_of(where.org)
        rules = RuleScorer(scoring.weights)
        trained = await _trained(service.store, where.org, catalogue, request, rules)
    finally:
        await service.close()
    directory = where.data_dir / DIRECTORY / where.org
    saved = [await asyncio.to_thread(save, directory, model, config=config) for model in trained.models().values()]
    _tell(trained, saved, directory, json=json)
    return PARTLY if trained.refused else DONE


def _families(names: Sequence[str] | None) -> tuple[Family, ...]:
    known: tuple[Family, ...] = ("conversion", "time_to_close", "multitask")
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise SettingsError("--family", "command line", f"expected one of {', '.join(known)}, got {unknown[0]}")
    return tuple(family for family in known if not names or family in names)


async def _trained(
    store: EventStore, org: str, catalogue: Catalogue, request: Request, rules: RuleScorer
) -> TrainedModels:
    with progress_bar() as progress:
        return await train_from(
            store, org, catalogue, request, rules=rules, now_us=SystemClock().now_us(), report=_reporter(progress)
        )


async def _by_job(where: Where, wanted: TrainingRequest, *, json: bool) -> int:
    """Have a running service train, and tell what it made."""
    body = msgspec.json.encode({"kind": "train", "training": wanted})
    async with connect(where) as client:
        job = await client.send("POST", "/jobs", body=body)
        with progress_bar() as progress:
            report = _reporter(progress)
            while job["state"] == "running":
                await SystemClock().sleep(POLL_S)
                job = await client.get(f"/jobs/{job['id']}")
                report(job["progress"]["unit"], job["progress"]["done"], job["progress"]["total"])
        if job["state"] != "done":
            notes.print(f"train {job['state']}: {job['error'] or ''}", markup=False)
            return PARTLY
        result = job["result"]
        listed = await client.get("/models", {"limit": "1000"})
    cards = {each["id"]: msgspec.convert(each["card"], Card) for each in listed["items"] if each["card"]}
    for family, reason in result["refused"].items():
        notes.print(f"{family}: not trained: {reason}", markup=False)
    if json:
        print_json(job)
    else:
        results.print(_table((name, cards[name]) for name in result["models"]))
    return PARTLY if result["refused"] else DONE


def _reporter(progress: Progress) -> Callable[[str, int, int | None], None]:
    tasks: dict[str, Any] = {}

    def report(phase: str, done: int, total: int | None) -> None:
        if phase not in tasks:
            tasks[phase] = progress.add_task(phase, total=total, events=0)
        progress.update(tasks[phase], completed=done, total=total, events=done)

    return report


def _tell(trained: TrainedModels, saved: Sequence[Version], directory: Path, *, json: bool) -> None:
    for family, reason in trained.refused.items():
        notes.print(f"{family}: not trained: {reason}", markup=False)
    for version in saved:
        notes.print(f"{directory / version.id}: {version.size_bytes:,} bytes", markup=False)
        for note in version.card.notes:
            notes.print(f"{version.id}: {note}", markup=False)
    if json:
        print_json({"leads": trained.leads, "rows": trained.rows, "items": saved, "refused": trained.refused})
        return
    results.print(_table((version.id, version.card) for version in saved))


def _table(cards: Iterable[tuple[str, Card]]) -> Table:
    """One line for each contender of each model."""
    table = Table("model", "of", "AUC", "Brier", "calibration", "log loss", "test rows", "came true")
    for model_id, card in cards:
        for name, metrics in _told(card):
            came_true = sum(round(each.observed * each.rows) for each in metrics.bins)
            rows = sum(each.rows for each in metrics.bins)
            figures = (_figure(metrics, key) for key in ("auc", "brier", "calibrationError", "logLoss"))
            table.add_row(model_id, name, *figures, f"{rows:,}", f"{came_true:,}")
    return table


def _told(card: Card) -> Iterator[tuple[str, Metrics]]:
    """Contenders; the kept one under the name that says so."""
    if card.family != "conversion":
        yield from card.metrics.items()
        return
    for name, metrics in card.metrics.items():
        if name != "conversion":
            yield (f"{name} (kept)" if name == card.estimator else name), metrics


def _figure(metrics: Metrics, name: str) -> str:
    measure = metrics.measures.get(name)
    return "–" if measure is None else f"{measure.value:.3f} ({measure.low:.3f}–{measure.high:.3f})"
