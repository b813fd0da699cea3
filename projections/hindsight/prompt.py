"""A lead's facts as a short text for a language model's prompt: what is known, in plain words, within a length.

A default is no fact. A value is known when it rests on at least one event of the lead (one that has left its window
counts: "no purchase in 90 days" is known of who has ever bought) and none of it is assumed in place of what was
never said, as 3.5 is for a satisfaction that nobody gave.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Any

import jinja2
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment

from eventstore.event import Event
from kernel.steps import Steps
from kernel.times import format_time
from projections.catalogue import Catalogue
from projections.expressions import Constant, Expr, IfNull
from projections.hindsight.behind import resting
from projections.hindsight.facts import lines_of
from projections.hindsight.sieves import Past, Sieves
from projections.hindsight.walk import Walk


class Fact(msgspec.Struct, frozen=True):
    """One known fact: ``label: value``."""

    label: str
    value: str
    features: tuple[str, ...]


class Block(msgspec.Struct, frozen=True):
    """The text, the facts that went into it, and how many more were known."""

    text: str
    facts: list[Fact]
    omitted: int


EMPTY = Block("", [], 0)


class PromptTemplate:
    """A Jinja template in a sandbox, given ``facts``, ``values``, ``lead`` and ``as_of``.

    Raises ``jinja2.TemplateError``, or whatever the template raises when it is tried on nothing and on a fact.
    """

    def __init__(self, source: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            autoescape=False,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._template = environment.from_string(source)
        for facts in ([], [Fact("Average satisfaction", "4.5 of 5", ("customer:satisfaction_avg",))]):
            self.render(facts, {}, "42", "1970-01-01T00:00:00.000000Z")

    def render(self, facts: Sequence[Fact], values: Mapping[str, Any], lead: str, as_of: str) -> str:
        text: str = self._template.render(facts=facts, values=values, lead=lead, as_of=as_of)
        return text.strip()


class Prompter:
    """Writes the prompt blocks of one organisation's leads."""

    def __init__(self, catalogue: Catalogue, sieves: Sieves, template: PromptTemplate, currency: str) -> None:
        self._catalogue, self._sieves = catalogue, sieves
        self._template, self._currency = template, currency
        self._lines = lines_of(catalogue)

    def block(
        self, lead: str, events: Sequence[Event], at_us: int, max_chars: int, *, dead: Collection[int] = ()
    ) -> Steps[Block]:
        """The block of a lead as of a time; the least important facts are left out where it grows too long.

        Parameters
        ----------
        events : those that count, by (time, id).
        dead : versions among them on which the entity's fold raises.
        """
        catalogue = self._catalogue
        everything = catalogue.everything
        walk = Walk(catalogue.compiled, catalogue.event_types, events, everything.picks, dead)
        yield from walk.advance(at_us)
        values = dict(zip(everything.names, walk.values(at_us), strict=True))
        yield
        past = yield from Past.happened(self._sieves, events, at_us, walk.dead)
        block = yield from self._written(KnownValues(catalogue, values, past), lead, at_us, max_chars)
        yield from past.forgetting()
        return block

    def _written(self, known: "KnownValues", lead: str, at_us: int, max_chars: int) -> Steps[Block]:
        facts = yield from self._facts(known)
        if not facts:
            return EMPTY

        def render(facts: Sequence[Fact]) -> str:
            return self._template.render(facts, known, lead, format_time(at_us))

        return (yield from _fitted(facts, lambda facts: known.politely(lambda: render(facts)), max_chars))

    def _facts(self, known: "KnownValues") -> Steps[list[Fact]]:
        facts = []
        for line in self._lines:
            values = []
            for feature in line.features:
                value = yield from known.finding(feature)
                values.append(value)
            if any(value is not None for value in values) and (text := line.write(values, self._currency)):
                named = tuple(f for f, value in zip(line.features, values, strict=True) if value is not None)
                facts.append(Fact(line.label, text, named))
            yield
        return facts


def _fitted(facts: list[Fact], render: Callable[[Sequence[Fact]], Steps[str]], max_chars: int) -> Steps[Block]:
    """As many facts, from the first on, as keep the text within the length: found by halving."""
    fewest, most = 0, len(facts)
    text = yield from render(facts)
    if len(text) <= max_chars:
        return Block(text, facts, 0)
    text = yield from render([])
    while fewest < most - 1:
        middle = (fewest + most) // 2
        longer = yield from render(facts[:middle])
        if len(longer) <= max_chars:
            fewest, text = middle, longer
        else:
            most = middle
    return Block(_whole_lines(text, max_chars), facts[:fewest], len(facts) - fewest)


class _NotFound(Exception):
    """Whether a value is known has not been found out yet."""

    def __init__(self, reference: str) -> None:
        self.reference = reference


class KnownValues(Mapping[str, Any]):
    """The values that are facts, by reference. Whether one is, is found out when it is asked for."""

    def __init__(self, catalogue: Catalogue, values: Mapping[str, Any], past: Past) -> None:
        self._catalogue, self._values, self._past = catalogue, values, past
        self._known: dict[str, bool] = {reference: False for reference, value in values.items() if value is None}

    def finding(self, reference: str) -> Steps[Any]:
        """The value if it is known, else None."""
        if reference not in self._known:
            expr = self._catalogue.specs[reference].documented.expr
            self._known[reference] = yield from being_founded(expr, self._past)
        return self._values[reference] if self._known[reference] else None

    def politely(self, write: Callable[[], str]) -> Steps[str]:
        """What ``write`` makes of the values. It begins anew whenever one must be found out first."""
        while True:
            try:
                return write()
            except _NotFound as missing:
                yield from self.finding(missing.reference)

    def __getitem__(self, reference: str) -> Any:
        value = self._values[reference]
        if reference not in self._known:
            raise _NotFound(reference)
        if not self._known[reference]:
            raise KeyError(reference)
        return value

    def __iter__(self) -> Iterator[str]:
        return (reference for reference in self._values if reference in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def being_founded(expr: Expr, past: Past) -> Steps[bool]:
    """Whether a value rests on events, and on nothing assumed."""
    if not (yield from _any_rests((_lifetime(node) for node in expr.nodes()), past)):
        return False
    for node in expr.nodes():
        if (yield from _being_assumed(node, past)):
            return False
    return True


def _any_rests(nodes: Iterable[Expr], past: Past) -> Steps[bool]:
    for node in nodes:
        if (yield from resting(node, past)):
            return True
    return False


def _lifetime(node: Expr) -> Expr:
    """The node without its window, if it has one that can be taken away."""
    if getattr(node, "window_us", None) is None or not is_dataclass(node):
        return node
    return replace(node, window_us=None)


def _being_assumed(node: Expr, past: Past) -> Steps[bool]:
    """Whether a default other than nothing stands in for a value that no event gives."""
    if not isinstance(node, IfNull) or not isinstance(node.default, Constant) or not node.default.value:
        return False
    return not (yield from _any_rests(node.value.nodes(), past))


def _whole_lines(text: str, max_chars: int) -> str:
    """As many lines from the top as fit: for a template whose own words are too long."""
    while len(text) > max_chars:
        text = text.rpartition("\n")[0]
    return text
