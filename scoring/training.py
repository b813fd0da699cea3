"""From the streams of leads to models: one run, in steps, that tells how far it is.

Enters: an organisation's catalogue and the whole streams of its leads. Leaves: a model per family that could be trained,
and for every other one the reason why not. The run is a generator, so that whoever runs it, in a thread or a process of
its own, can stop it between two steps; it writes nothing.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence

import msgspec

from eventstore.event import Event
from kernel.errors import ScoringError, TooFewRows
from kernel.steps import Steps
from projections.catalogue import Catalogue
from scoring.challenge import Champion, compared
from scoring.conversion import ConversionModel, train_conversion
from scoring.dataset import Dataset, DatasetBuilder, Sampling
from scoring.features import FeatureSet, feature_set
from scoring.model import Family, Rules
from scoring.multitask import MultitaskModel, train_multitask
from scoring.outcomes import CALLS, CHURN
from scoring.request import Report, Request
from scoring.time_to_close import TimeToCloseModel, train_time_to_close

#: Rows that a run makes at most; more leads give fewer rows each.
MAX_ROWS = 300_000


class TrainedModels(msgspec.Struct, frozen=True):
    """What a run made. ``refused``: family → why it could not be trained."""

    conversion: ConversionModel | None
    time_to_close: TimeToCloseModel | None
    multitask: MultitaskModel | None
    refused: dict[Family, str]
    leads: int
    rows: int

    def models(self) -> dict[Family, ConversionModel | TimeToCloseModel | MultitaskModel]:
        """Those that were trained."""
        found = {
            "conversion": self.conversion,
            "time_to_close": self.time_to_close,
            "multitask": self.multitask,
        }
        return {family: model for family, model in found.items() if model is not None}  # type: ignore[misc]  # literals


def train(
    catalogue: Catalogue,
    streams: Iterable[Sequence[Event]],
    request: Request,
    *,
    until_us: int,
    now_us: int,
    leads: int | None = None,
    rules: Rules | None = None,
    champions: Mapping[Family, Champion] | None = None,
    report: Report = lambda phase, done, total: None,
) -> Steps[TrainedModels]:
    """Make rows of all leads, then train what was asked for.

    Parameters
    ----------
    streams : one lead's whole stream after the other, each by version.
    until_us : the end of the log.
    leads : how many streams there are, if that is known: keeps the rows within ``MAX_ROWS``.
    now_us : for the cards.
    champions : the models in use, to be compared with.

    Raises
    ------
    UnknownFeature
    TooFewRows
        Nothing at all could be trained.
    """
    dataset, count = yield from make_dataset(
        catalogue, streams, request, until_us=until_us, leads=leads, rules=rules, report=report
    )
    return (yield from train_on(dataset, request, now_us=now_us, leads=count, champions=champions or {}, report=report))


def make_dataset(
    catalogue: Catalogue,
    streams: Iterable[Sequence[Event]],
    request: Request,
    *,
    until_us: int,
    leads: int | None = None,
    rules: Rules | None = None,
    report: Report = lambda phase, done, total: None,
) -> Steps[tuple[Dataset, int]]:
    """The rows of all leads, and how many leads there were."""
    builder = new_builder(catalogue, request, until_us=until_us, leads=leads, rules=rules)
    count = 0
    for events in streams:
        yield from builder.add(events)
        count += 1
        if count % 100 == 0:
            report("rows", count, leads)
            yield
    report("rows", count, count)
    return builder.finish(), count


def new_builder(
    catalogue: Catalogue,
    request: Request,
    *,
    until_us: int,
    leads: int | None = None,
    rules: Rules | None = None,
    features: FeatureSet | None = None,
) -> DatasetBuilder:
    """A builder for a request; of very many leads some rows only, chosen by a hash."""
    likely_rows = (leads or 0) * 365 / (2 * request.step_days)
    sampling = Sampling(
        step_days=request.step_days,
        at_types=request.at_types,
        share=1.0 if request.at_types else min(1.0, MAX_ROWS / max(1.0, likely_rows)),
    )
    return DatasetBuilder(
        catalogue,
        features or feature_set(catalogue, request.features),
        request.outcomes,
        until_us=until_us,
        sampling=sampling,
        knowledge=request.knowledge,
        rules=rules,
    )


def train_on(
    dataset: Dataset,
    request: Request,
    *,
    now_us: int,
    leads: int,
    champions: Mapping[Family, Champion] = {},
    report: Report = lambda phase, done, total: None,
) -> Steps[TrainedModels]:
    """Train on rows that are made. Raises ``TooFewRows`` when nothing at all could be trained."""
    refused: dict[Family, str] = {}
    seed, outcome = request.seed, request.outcome
    made: dict[Family, Generator[None, None, ConversionModel | TimeToCloseModel | MultitaskModel]] = {
        "conversion": train_conversion(dataset, outcome, seed=seed, now_us=now_us),
        "time_to_close": train_time_to_close(dataset, outcome, seed=seed, now_us=now_us),
        "multitask": train_multitask(dataset, CHURN, CALLS, seed=seed, now_us=now_us),
    }
    found: dict[Family, ConversionModel | TimeToCloseModel | MultitaskModel] = {}
    for family in request.families:
        try:
            model = yield from _told(family, made[family], report)
            found[family] = compared(dataset, model, champions.get(family), asked=request.asked)
            yield
        except ScoringError as error:
            refused[family] = str(error)
    if not found:
        raise TooFewRows("; ".join(f"{family}: {reason}" for family, reason in refused.items()), len(dataset))
    return TrainedModels(
        conversion=found.get("conversion"),  # type: ignore[arg-type]  # each family has its own kind
        time_to_close=found.get("time_to_close"),  # type: ignore[arg-type]
        multitask=found.get("multitask"),  # type: ignore[arg-type]
        refused=refused,
        leads=leads,
        rows=len(dataset),
    )


def _told(
    family: Family,
    steps: Generator[None, None, ConversionModel | TimeToCloseModel | MultitaskModel],
    report: Report,
) -> Steps[ConversionModel | TimeToCloseModel | MultitaskModel]:
    """The same steps, each reported."""
    done = 0
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: ConversionModel | TimeToCloseModel | MultitaskModel = stop.value
            report(family, done, done)
            return result
        done += 1
        report(family, done, None)
        yield
