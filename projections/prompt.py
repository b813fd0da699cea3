"""A lead's facts as a short text for a language model's prompt: what is known, in plain words, within a length.

A default is no fact. A value is known when it rests on at least one event of the lead (one that has left its window
counts: "no purchase in 90 days" is known of who has ever bought) and none of it is assumed in place of what was
never said, as 3.5 is for a satisfaction that nobody gave.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Any

import jinja2
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment

from eventstore.event import Event
from kernel.steps import Steps
from kernel.times import format_time
from projections.behind import behind
from projections.catalogue import Catalogue
from projections.expressions import Constant, Expr, IfNull
from projections.facts import lines_of
from projections.sieves import Past, Sieves
from projections.walk import Walk


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
        past = Past(self._sieves, [e for e in events if e.at_us <= at_us and e.version not in walk.dead], at_us)
        known = KnownValues(catalogue, values, past)
        facts = yield from self._facts(known)
        if not facts:
            return EMPTY
        return self._fitted(facts, known, lead, format_time(at_us), max_chars)

    def _facts(self, known: Mapping[str, Any]) -> Steps[list[Fact]]:
        facts = []
        for line in self._lines:
            values = [known.get(feature) for feature in line.features]
            if any(value is not None for value in values) and (text := line.write(values, self._currency)):
                named = tuple(f for f, value in zip(line.features, values, strict=True) if value is not None)
                facts.append(Fact(line.label, text, named))
            yield
        return facts

    def _fitted(self, facts: list[Fact], known: Mapping[str, Any], lead: str, as_of: str, max_chars: int) -> Block:
        """As many facts, from the first on, as keep the text within the length: found by halving."""
        fewest, most = 0, len(facts)
        text = self._template.render(facts, known, lead, as_of)
        if len(text) <= max_chars:
            return Block(text, facts, 0)
        text = self._template.render([], known, lead, as_of)
        while fewest < most - 1:
            middle = (fewest + most) // 2
            longer = self._template.render(facts[:middle], known, lead, as_of)
            if len(longer) <= max_chars:
                fewest, text = middle, longer
            else:
                most = middle
        return Block(_whole_lines(text, max_chars), facts[:fewest], len(facts) - fewest)


class KnownValues(Mapping[str, Any]):
    """The values that are facts, by reference. Whether one is, is found out when it is asked for."""

    def __init__(self, catalogue: Catalogue, values: Mapping[str, Any], past: Past) -> None:
        self._catalogue, self._values, self._past = catalogue, values, past

    def __getitem__(self, reference: str) -> Any:
        value = self._values[reference]
        expr = self._catalogue.specs[reference].documented.expr
        if value is None or not is_founded(expr, self._past):
            raise KeyError(reference)
        return value

    def __iter__(self) -> Iterator[str]:
        return (reference for reference in self._values if reference in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def is_founded(expr: Expr, past: Past) -> bool:
    """Whether a value rests on events, and on nothing assumed."""
    return any(_rests(_lifetime(node), past) for node in expr.nodes()) and not any(
        _is_assumed(node, past) for node in expr.nodes()
    )


def _rests(node: Expr, past: Past) -> bool:
    return any(True for _ in behind(node, past))


def _lifetime(node: Expr) -> Expr:
    """The node without its window, if it has one that can be taken away."""
    if getattr(node, "window_us", None) is None or not is_dataclass(node):
        return node
    return replace(node, window_us=None)


def _is_assumed(node: Expr, past: Past) -> bool:
    """Whether a default other than nothing stands in for a value that no event gives."""
    if not isinstance(node, IfNull) or not isinstance(node.default, Constant) or not node.default.value:
        return False
    return not any(_rests(part, past) for part in node.value.nodes())


def _whole_lines(text: str, max_chars: int) -> str:
    """As many lines from the top as fit: for a template whose own words are too long."""
    while len(text) > max_chars:
        text = text.rpartition("\n")[0]
    return text
