"""The book of a lead's predictions: the latest of each type, verdicts on them, and those whose outcome is awaited.

A companion of the lead's stream, begun by its first ``prediction_made``. It keeps summaries; the predictions themselves
stand in the log under their ids. Once a prediction's horizon has passed, and a grace period for what comes late, the
book says what came of it: one ``prediction_validated``, judged by the lead's own events in (made, made + horizon] that
were recorded until then, retracted ones left out.

Kept for that are the times of events that can decide an outcome, as long as a prediction waits for them: 100 bytes each.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from eventstore.event import Event, NewEvent, Stream
from eventstore.retraction import retracted_by
from eventstore.system import EVENT_RETRACTED, is_system_id
from kernel.keys import key64
from kernel.settings_scoring import DEFAULT_CONFIGURATION
from kernel.times import DAY_US, MINUTE_US
from scoring.events import (
    PREDICTION_MADE,
    PREDICTION_VALIDATED,
    Predicted,
    PredictionMade,
    PredictionValidated,
    Source,
    Verdict,
)
from scoring.identity import PredictionId, making_of, outcome_event_id
from scoring.model import PredictionType
from scoring.outcomes import CALLS, CHURN
from scoring.prediction import payload_of, says_yes, validated_event
from scoring.priority import Tier

BOOK = "predictions"

#: What expressions call a prediction → its type, and which of its figures they mean.
PREDICTION_NAMES: Mapping[str, tuple[PredictionType, Literal["probability", "score"]]] = {
    "conversion_30d": ("CONVERSION", "probability"),
    "churn_risk_30d": ("CHURN", "probability"),
    "ib_call_risk_14d": ("CALL_RISK", "probability"),
    "customer_health_score": ("HEALTH", "score"),
}

#: An event may be recorded between the time that a prediction is made for and its own recording.
_SLACK_US = MINUTE_US

_NEVER_US = -(1 << 62)

#: Beyond so many events kept, further ones that only show that the lead is alive are let go.
_MOST_ALIVE = 5000

_VALIDATED: msgspec.json.Decoder[PredictionValidated] = msgspec.json.Decoder(PredictionValidated)


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One prediction: what lists, expressions and verdicts need of it. ``is_judged``: its outcome is known."""

    id: str
    configuration: str
    type: PredictionType
    made_us: int
    probability: float
    score: float
    priority: int
    tier: Tier
    source: Source
    threshold: float
    horizon_us: int
    inputs: str
    conversion_events: tuple[str, ...]
    was_active: bool
    verdict: Verdict | None = None
    is_judged: bool = False


class Happening(msgspec.Struct, array_like=True, gc=False):
    """An event that can decide an outcome."""

    at_us: int
    key: int
    type: str


class _Saved(msgspec.Struct, array_like=True):
    entries: list[Entry]
    latest: list[int]  # places in ``entries``
    happenings: list[Happening]
    gone: list[int]
    recorded_us: int
    old_news_us: int


class Book:
    """The predictions of one lead. Implements what a companion is."""

    def __init__(self, stream: Stream, kind: "BookKind") -> None:
        self._stream, self._kind = stream, kind
        self._entries: dict[str, Entry] = {}
        self._latest: dict[tuple[str, str], str] = {}
        self._happenings: list[Happening] = []
        self._gone: set[int] = set()
        self._recorded_us = self._old_news_us = _NEVER_US
        #: When the oldest prediction that is open was made, and when the horizon of the next one passes.
        self._oldest_us = self._next_end_us = -_NEVER_US

    # What is asked of it.

    def latest(self, configuration: str, kind: PredictionType = "CONVERSION") -> Entry | None:
        """The newest prediction of a type."""
        found = self._latest.get((configuration, kind))
        return None if found is None else self._entries[found]

    def entry(self, prediction: str) -> Entry | None:
        """A prediction that is the latest of its type, or whose outcome is awaited."""
        return self._entries.get(prediction)

    def values(self, configuration: str = DEFAULT_CONFIGURATION) -> dict[str, float | None]:
        """What expressions read as ``prediction.NAME``; null where there is none."""
        found = {name: self.latest(configuration, kind) for name, (kind, _) in PREDICTION_NAMES.items()}
        return {
            name: None if entry is None else getattr(entry, PREDICTION_NAMES[name][1]) for name, entry in found.items()
        }

    # The companion.

    def fold(self, event: Event) -> None:
        self._recorded_us = max(self._recorded_us, event.recorded_us)
        if is_system_id(event.id):
            self._fold_system(event)
            return
        if event.recorded_us - event.at_us > self._kind.trigger_max_age_us:
            self._old_news_us = event.recorded_us
        if event.type == EVENT_RETRACTED:
            self._retract(key64(retracted_by(event)))
        else:
            self.happen(event)

    def happen(self, event: Event) -> None:
        """Take note of an event from outside, if it can decide an outcome."""
        if event.at_us > self._floor_us() and self._decides(event.type):
            self.note(event)

    def note(self, event: Event) -> None:
        """Keep an event from outside, unless it is taken back already."""
        key = key64(event.id)
        if key in self._gone:
            return
        if not self._is_waiting:
            self._prune()
        self._happenings.append(Happening(event.at_us, key, event.type))

    def await_retracted(self, ids: Iterable[str]) -> None:
        """These ids are taken back already; their events are still to come."""
        self._gone.update(key64(each) for each in ids)

    def due_us(self) -> int | None:
        return max(self._next_end_us, self._old_news_us) + self._kind.grace_us if self._is_waiting else None

    def effects(self, now_us: int) -> list[NewEvent]:
        if (due_us := self.due_us()) is None or due_us > now_us:
            return []
        due = [entry for entry in self._open() if entry.made_us + entry.horizon_us + self._kind.grace_us <= now_us]
        return [self._validated(entry) for entry in sorted(due, key=lambda e: (e.made_us + e.horizon_us, e.id))]

    def written(self, events: Sequence[NewEvent]) -> None:
        mine = {outcome_event_id(entry.id): entry for entry in self._open()} if events else {}
        for event in events:
            if event.stream == self._stream and event.id in mine:
                self._close(mine[event.id])

    def dump(self) -> Any | None:
        places = {name: place for place, name in enumerate(self._entries)}
        saved = _Saved(
            list(self._entries.values()),
            [places[name] for name in self._latest.values()],
            self._happenings,
            sorted(self._gone),
            self._recorded_us,
            self._old_news_us,
        )
        return msgspec.to_builtins(saved)

    def restore(self, dumped: Any) -> None:
        """Raises ``ValueError``."""
        try:
            saved = msgspec.convert(dumped, _Saved)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from error
        self._entries = {entry.id: entry for entry in saved.entries}
        for place in saved.latest:
            if not 0 <= place < len(saved.entries):
                raise ValueError(f"no entry {place}")
            entry = saved.entries[place]
            self._latest[entry.configuration, entry.type] = entry.id
        self._happenings, self._gone = saved.happenings, set(saved.gone)
        self._recorded_us, self._old_news_us = saved.recorded_us, saved.old_news_us
        self._look_again()

    # Predictions and verdicts.

    def _fold_system(self, event: Event) -> None:
        try:
            if event.type == PREDICTION_MADE:
                self._make(event, payload_of(event))
            elif event.type == PREDICTION_VALIDATED:
                self._judge(event.payload or _VALIDATED.decode(event.data))
        except msgspec.MsgspecError:
            return  # written by another version of this program: no prediction that could be served

    def _make(self, event: Event, made: PredictionMade) -> None:
        for predicted in made.predictions:
            entry = _entry(event, made, predicted)
            self._entries[entry.id] = entry
            place = (entry.configuration, entry.type)
            before = self.latest(*place)
            if before is None or entry.made_us >= before.made_us:
                self._latest[place] = entry.id
                if before is not None and before.is_judged:
                    self._entries.pop(before.id, None)
        self._look_again()

    def _judge(self, validated: PredictionValidated) -> None:
        entry = self._entries.get(validated.prediction)
        if entry is None:
            return
        entry.verdict = validated.verdict
        if validated.verdict.by == "outcome":
            self._close(entry)

    def _close(self, entry: Entry) -> None:
        """Its outcome is known: what only it waited for can go, and itself if a newer one is there."""
        entry.is_judged = True
        if self._latest.get((entry.configuration, entry.type)) != entry.id:
            self._entries.pop(entry.id, None)
        self._look_again()
        self._prune()

    def _look_again(self) -> None:
        opened = self._open()
        self._oldest_us = min((entry.made_us for entry in opened), default=-_NEVER_US)
        self._next_end_us = min((entry.made_us + entry.horizon_us for entry in opened), default=-_NEVER_US)

    @property
    def _is_waiting(self) -> bool:
        """Whether the outcome of any prediction is awaited."""
        return self._oldest_us < -_NEVER_US

    def _prune(self) -> None:
        floor_us = self._floor_us()
        self._happenings = [each for each in self._happenings if each.at_us > floor_us]

    def _open(self) -> list[Entry]:
        return [entry for entry in self._entries.values() if not entry.is_judged]

    def _validated(self, entry: Entry) -> NewEvent:
        came = self._came(entry)
        verdict = Verdict("outcome", says_yes(entry.probability, entry.threshold) == came, came)
        payload = PredictionValidated(
            prediction=entry.id,
            configuration=entry.configuration,
            type=entry.type,
            source=entry.source,
            tier=entry.tier,
            probability=entry.probability,
            made_us=entry.made_us,
            verdict=verdict,
            previous=entry.verdict,
        )
        return validated_event(self._stream, outcome_event_id(entry.id), payload, entry.made_us + entry.horizon_us)

    # Outcomes.

    def _came(self, entry: Entry) -> bool:
        """Whether what was predicted has come."""
        if entry.type == "CALL_RISK":
            return self._called(entry)
        if entry.type == "CHURN":
            return self._churned(entry)
        if entry.type == "HEALTH":
            return not self._churned(entry) and not self._called(entry)
        return self._count(entry.conversion_events, entry.made_us, entry.made_us + entry.horizon_us) > 0

    def _called(self, entry: Entry) -> bool:
        until_us = entry.made_us + round(CALLS.within_days * DAY_US)
        return self._count(CALLS.types, entry.made_us, until_us) >= CALLS.at_least

    def _churned(self, entry: Entry) -> bool:
        until_us = entry.made_us + round(CHURN.within_days * DAY_US)
        if self._count(CHURN.types, entry.made_us, until_us):
            return True
        return entry.was_active and not self._count(self._kind.interactions, entry.made_us, until_us)

    def _count(self, types: Iterable[str], from_us: int, until_us: int) -> int:
        wanted = frozenset(types)
        return sum(each.type in wanted and from_us < each.at_us <= until_us for each in self._happenings)

    def _floor_us(self) -> int:
        """Events at or before it decide nothing any more."""
        return min(self._oldest_us, self._recorded_us - _SLACK_US)

    def _decides(self, event_type: str) -> bool:
        if event_type in CALLS.types or event_type in CHURN.types:
            return True
        if any(event_type in entry.conversion_events for entry in self._entries.values()):
            return True
        return event_type in self._kind.interactions and len(self._happenings) < _MOST_ALIVE

    def _retract(self, key: int) -> None:
        kept = [each for each in self._happenings if each.key != key]
        if len(kept) == len(self._happenings):
            self._gone.add(key)
        self._happenings = kept


def _entry(event: Event, made: PredictionMade, predicted: Predicted) -> Entry:
    return Entry(
        id=str(PredictionId(making_of(event.id), predicted.type)),
        configuration=made.configuration,
        type=predicted.type,
        made_us=event.at_us,
        probability=predicted.probability,
        score=predicted.score,
        priority=predicted.priority,
        tier=predicted.tier,
        source=predicted.source,
        threshold=predicted.threshold,
        horizon_us=round(predicted.horizon_days * DAY_US),
        inputs=made.inputs,
        conversion_events=made.conversion_events,
        was_active=made.was_active,
    )


class BookKind:
    """Makes the books of one organisation's leads.

    Parameters
    ----------
    interactions : event types that a lead initiates.
    grace_us : how long after its horizon, and after old news, a prediction waits for what comes late.
    trigger_max_age_us : an event recorded later than that after its time is old news.
    """

    name = BOOK
    starters = frozenset({PREDICTION_MADE})

    def __init__(self, *, interactions: frozenset[str], grace_us: int, trigger_max_age_us: int) -> None:
        self.interactions, self.grace_us, self.trigger_max_age_us = interactions, grace_us, trigger_max_age_us

    def new(self, stream: Stream, waiting: Sequence[Event], awaited: Iterable[str]) -> Book:
        book = Book(stream, self)
        book.await_retracted(awaited)
        for event in waiting:
            book.note(event)
        return book

    def load(self, stream: Stream, dumped: Any) -> Book:
        book = Book(stream, self)
        book.restore(dumped)
        return book
