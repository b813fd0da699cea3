"""How good predictions have been: a fold of predictions and verdicts, in whole numbers, so that no order matters.

A verdict says which one it replaces, so the fold needs no memory of predictions: it takes the old one out and puts the
new one in. Probabilities are kept to a ten-thousandth, in counts of outcomes that came and that did not, from which
follow AUC, Brier score and calibration error. One tally per month of making, source and tier.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from kernel.times import format_time
from scoring.events import PredictionMade, PredictionValidated, Source, Verdict
from scoring.model import PredictionType
from scoring.priority import TIERS, Tier

_GRAIN = 10_000
_BINS = 10
SOURCES: tuple[Source, ...] = ("model", "rules", "llm")


class Figures(msgspec.Struct, frozen=True, rename="camel"):
    """How good some predictions have been; null where nothing is validated, or outcomes of one kind only (AUC)."""

    total: int
    validated: int
    accurate: int
    accuracy: float | None
    auc: float | None
    brier: float | None
    calibration_error: float | None


class AccuracyReport(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to ``GET …/ml/accuracy``. ``since`` is when the first prediction counted was made.

    ``by_month``: as ``2026-11``, of the predictions made in it; only where it was asked for.
    """

    total: int
    validated: int
    accurate: int
    accuracy: float | None
    auc: float | None
    brier: float | None
    calibration_error: float | None
    by_tier: dict[str, Figures]
    by_source: dict[str, Figures]
    since: str | None
    by_month: dict[str, Figures] | msgspec.UnsetType = msgspec.UNSET


class Tally(msgspec.Struct):
    """Counts of some predictions: ``came`` and ``not_came`` by probability in ten-thousandths."""

    total: int = 0
    accurate: int = 0
    came: dict[int, int] = {}
    not_came: dict[int, int] = {}

    def add(self, probability: float, verdict: Verdict, count: int = 1) -> None:
        """Count a verdict; ``count`` −1 takes one back."""
        counts = self.came if verdict.outcome else self.not_came
        place = round(probability * _GRAIN)
        left = counts.get(place, 0) + count
        if left:
            counts[place] = left
        else:
            counts.pop(place, None)
        self.accurate += count * verdict.was_accurate

    def include(self, other: "Tally") -> None:
        """Add all that another one counted."""
        self.total += other.total
        self.accurate += other.accurate
        for mine, theirs in ((self.came, other.came), (self.not_came, other.not_came)):
            for place, count in theirs.items():
                mine[place] = mine.get(place, 0) + count

    def figures(self) -> Figures:
        positives, negatives = sum(self.came.values()), sum(self.not_came.values())
        validated = positives + negatives
        return Figures(
            self.total,
            validated,
            self.accurate,
            self.accurate / validated if validated else None,
            self._auc(positives, negatives),
            self._brier() / validated if validated else None,
            self._calibration_error(validated) if validated else None,
        )

    def _auc(self, positives: int, negatives: int) -> float | None:
        """Share of pairs (came, did not) that are in the right order; a tie counts half."""
        if not positives or not negatives:
            return None
        below = twice = 0
        for place in sorted(self.came.keys() | self.not_came.keys()):
            here = self.not_came.get(place, 0)
            twice += self.came.get(place, 0) * (2 * below + here)
            below += here
        return twice / (2 * positives * negatives)

    def _brier(self) -> float:
        came = sum(count * (_GRAIN - place) ** 2 for place, count in self.came.items())
        not_came = sum(count * place**2 for place, count in self.not_came.items())
        return (came + not_came) / _GRAIN**2

    def _calibration_error(self, validated: int) -> float:
        """Mean over ten bins of equal mass of the distance between what was said and what came; ties stay together."""
        error = 0.0
        for said, came in self._bins(validated):
            error += abs(said / _GRAIN - came)
        return error / validated

    def _bins(self, validated: int) -> Iterator[tuple[int, int]]:
        """Sums of what was said, and how often it came, of each bin."""
        said = came = seen = bins = 0
        for place in sorted(self.came.keys() | self.not_came.keys()):
            yes = self.came.get(place, 0)
            count = yes + self.not_came.get(place, 0)
            said, came, seen = said + place * count, came + yes, seen + count
            if seen * _BINS >= (bins + 1) * validated:
                yield said, came
                said = came = 0
                bins = seen * _BINS // validated
        if said or came:
            yield said, came


class _Key(msgspec.Struct, frozen=True, array_like=True):
    configuration: str
    type: PredictionType
    month: str
    source: Source
    tier: Tier


class _Saved(msgspec.Struct, array_like=True):
    tallies: list[tuple[_Key, Tally]]
    since: list[tuple[str, PredictionType, int]]


class Accuracy:
    """The tallies of one organisation. Retracted leads stay in them: they name nobody."""

    def __init__(self) -> None:
        self._tallies: dict[_Key, Tally] = {}
        self._since: dict[tuple[str, PredictionType], int] = {}

    def made(self, made: PredictionMade, made_us: int) -> None:
        """Take a ``prediction_made``."""
        month = _month(made_us)
        for each in made.predictions:
            key = _Key(made.configuration, each.type, month, each.source, each.tier)
            self._tallies.setdefault(key, Tally()).total += 1
            place = (made.configuration, each.type)
            self._since[place] = min(made_us, self._since.get(place, made_us))

    def validated(self, validated: PredictionValidated) -> None:
        """Take a ``prediction_validated``."""
        month = _month(validated.made_us)
        key = _Key(validated.configuration, validated.type, month, validated.source, validated.tier)
        tally = self._tallies.setdefault(key, Tally())
        if validated.previous is not None:
            tally.add(validated.probability, validated.previous, -1)
        tally.add(validated.probability, validated.verdict)

    def include(self, other: "Accuracy") -> None:
        """Add all that another one counted, of other predictions."""
        for key, tally in other._tallies.items():
            self._tallies.setdefault(key, Tally()).include(tally)
        for place, since_us in other._since.items():
            self._since[place] = min(since_us, self._since.get(place, since_us))

    def report(self, configuration: str, kind: PredictionType = "CONVERSION") -> AccuracyReport:
        """All that is known of a configuration's predictions of one type."""
        chosen = [(key, tally) for key, tally in self._of(configuration, kind)]
        whole = _sum(tally for _, tally in chosen).figures()
        since_us = self._since.get((configuration, kind))
        return AccuracyReport(
            **{name: getattr(whole, name) for name in Figures.__struct_fields__},
            by_tier={tier: _sum(t for key, t in chosen if key.tier == tier).figures() for tier in TIERS},
            by_source={source: _sum(t for key, t in chosen if key.source == source).figures() for source in SOURCES},
            since=None if since_us is None else format_time(since_us),
        )

    def by_month(self, configuration: str, kind: PredictionType = "CONVERSION") -> dict[str, Figures]:
        """The same month by month, as ``2026-11``, of the predictions made in it."""
        chosen = list(self._of(configuration, kind))
        months = sorted({key.month for key, _ in chosen})
        return {month: _sum(tally for key, tally in chosen if key.month == month).figures() for month in months}

    def calibration_error(self, configuration: str, kind: PredictionType, source: Source, least: int) -> float | None:
        """Of one source; null while fewer than ``least`` of its predictions are validated."""
        figures = _sum(tally for key, tally in self._of(configuration, kind) if key.source == source).figures()
        return figures.calibration_error if figures.validated >= least else None

    def dump(self) -> Any:
        """The state in values that msgpack knows."""
        since = [(configuration, kind, at_us) for (configuration, kind), at_us in self._since.items()]
        return msgspec.to_builtins(_Saved(list(self._tallies.items()), since), str_keys=False)

    @classmethod
    def load(cls, dumped: Any) -> "Accuracy":
        """Raises ``msgspec.ValidationError``."""
        saved = msgspec.convert(dumped, _Saved)
        accuracy = cls()
        accuracy._tallies = dict(saved.tallies)
        accuracy._since = {(configuration, kind): at_us for configuration, kind, at_us in saved.since}
        return accuracy

    def _of(self, configuration: str, kind: PredictionType) -> Iterator[tuple[_Key, Tally]]:
        return (
            (key, tally)
            for key, tally in self._tallies.items()
            if key.configuration == configuration and key.type == kind
        )


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for each in tallies:
        total.include(each)
    return total


def _month(at_us: int) -> str:
    return format_time(at_us)[:7]
