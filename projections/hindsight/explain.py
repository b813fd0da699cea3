"""Why a feature has its value: the events behind it, the sentence that tells it, and what time will make of it.

The law: the events named, folded alone under the same catalogue and read at the same time, give the same value.
They follow from the expression (``projections.hindsight.behind``) and are folded to see that they do; where they do not (a
pack's own node that registered too few), every event that the feature reads is named.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from eventstore.event import Event
from eventstore.types import EventTypes
from kernel.steps import Steps
from kernel.times import DAY_US, MAX_US, MIN_US, format_time
from projections.catalogue import Entities
from projections.compiler import CompiledFold, affects
from projections.expressions import Expr
from projections.feature import Feature
from projections.hindsight import words
from projections.hindsight.behind import events_behind
from projections.hindsight.readable import readable
from projections.hindsight.sieves import Past, Sieves
from projections.hindsight.walk import Walk
from projections.language import FeatureSpec, View

#: How far the next change is looked for: as far as values can be asked for.
AHEAD_US = 400 * DAY_US
#: Instants at which a value may change that are tried for one at which it does.
_TRIES = 2000

_PICK = ((0, 0),)


class Explanation(msgspec.Struct, frozen=True):
    """Why a value is what it is.

    Attributes
    ----------
    events : those behind it, by (time, id).
    window : (from, to] in microseconds, where every part of the value looks through a window; else None.
    next_change_us : when the value changes if nothing happens; never late. None: it does not change.
    next_value : what it is then.
    """

    feature: Feature
    as_of_us: int
    value: Any
    sentence: str
    definition: str
    window: tuple[int, int] | None
    events: list[Event]
    next_change_us: int | None
    next_value: Any


class Explainer:
    """Explains the features of one kind of entity of one organisation. Compiles what it needs once per feature."""

    def __init__(self, entities: Entities, types: EventTypes, currency: str) -> None:
        self.entities, self.currency = entities, currency
        self.sieves = Sieves(entities, types)
        self._types = types
        self._compiled: dict[str, CompiledFold] = {}

    def explain(
        self,
        reference: str,
        events: Sequence[Event],
        at_us: int,
        *,
        dead: Collection[int] = (),
        shown_as: Feature | None = None,
    ) -> Steps[Explanation]:
        """Explain a feature's value as of a time.

        Parameters
        ----------
        events : those that count, by (time, id), later ones than ``at_us`` included.
        dead : versions among them on which the entity's fold raises.
        shown_as : under which name and description, where not its own.

        Raises
        ------
        UnknownFeature
        """
        own = self.entities.feature(reference)
        spec = self.entities.specs[reference]
        walk = Walk(self._narrow(spec), self._types, events, _PICK, dead)
        yield from walk.advance(at_us)
        (value,) = walk.values(at_us)
        yield
        past = yield from Past.happened(self.sieves, events, at_us, walk.dead)
        behind = yield from self._behind(spec, past, value)
        yield from past.forgetting()
        change_us, next_value = yield from _next_change(walk, at_us, value)
        window = _window(spec.documented.expr, at_us)
        return Explanation(
            feature=shown_as or own,
            as_of_us=at_us,
            value=value,
            sentence=sentence(shown_as or own, value, behind, window, self.currency),
            definition=readable(spec.documented.expr),
            window=window,
            events=behind,
            next_change_us=change_us,
            next_value=next_value,
        )

    def _behind(self, spec: FeatureSpec, past: Past, value: Any) -> Steps[list[Event]]:
        compiled = self._narrow(spec)
        named = yield from events_behind(spec.documented.expr, past)
        alone = Walk(compiled, self._types, named, _PICK)
        yield from alone.advance(past.at_us)
        if _same(alone.values(past.at_us)[0], value):
            return named
        return [event for event in past.events if event.type in compiled.fold]

    def _narrow(self, spec: FeatureSpec) -> CompiledFold:
        """The fold of this feature alone: its changes are no other's, and an event costs it little."""
        compiled = self._compiled.get(spec.reference)
        if compiled is None:
            view = View(spec.view, "")
            view.specs[spec.name] = spec
            types = [each for each in self.entities.types if affects(each, spec.documented.expr)]
            compiled = CompiledFold(types, [view], self.entities.compiled.plan.local_time)
            self._compiled[spec.reference] = compiled
        return compiled


def _next_change(walk: Walk, at_us: int, value: Any) -> Steps[tuple[int | None, Any]]:
    """The next instant at which the value is another one. Where it is none for long: the last one looked at."""
    found_us = None
    for _ in range(_TRIES):
        next_us = walk.next_change_us()
        if next_us is None or next_us >= MAX_US:
            return None, None
        if found_us is not None and next_us > at_us + AHEAD_US:
            break
        found_us = next_us
        yield from walk.advance(next_us)
        (changed,) = walk.values(next_us)
        if not _same(changed, value):
            return next_us, changed
        yield
    return found_us, value


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _window(expr: Expr, at_us: int) -> tuple[int, int] | None:
    lengths = [getattr(node, "window_us", None) for node in expr.nodes() if node.signals()]
    longest = max((each for each in lengths if each is not None), default=None)
    return None if longest is None or None in lengths else (max(MIN_US, at_us - longest), at_us)


def sentence(
    feature: Feature, value: Any, events: Sequence[Event], window: tuple[int, int] | None, currency: str
) -> str:
    """How the value came about, in one sentence of plain English."""
    what = feature.description[:1].upper() + feature.description[1:]
    within = f" between {_minute(window[0])} and {_minute(window[1])}" if window is not None else ""
    if value is None:
        said = f"unknown ({feature.null_means})" if feature.null_means else "unknown"
    else:
        said = words.written(feature, value, currency)
    if not events:
        return f"{what}: {said}{'' if value is None else f', since no event{within} counts'}."
    newest = f"the {events[-1].type} of {_minute(events[-1].at_us)}"
    if len(events) == 1:
        return f"{what}: {said}, from one event{within}, {newest}."
    return f"{what}: {said}, from {len(events)} events{within}, the newest of them {newest}."


def _minute(at_us: int) -> str:
    return f"{format_time(at_us)[:16].replace('T', ' ')} UTC"
