"""A learner's argument line, read against a list of what is allowed: whatever is not on it is refused by name."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Final

from bandit.learners.learner import LearnerSettings
from kernel.errors import LearnerRefused

#: Longer lines are refused before they are looked at.
LENGTH_MAX: Final = 1_000


class Option(ABC):
    """What may follow an option: a number within bounds, one of some words, or nothing (``Flag``)."""

    def __init__(self, expected: str) -> None:
        self.expected = expected

    @abstractmethod
    def accepts(self, text: str) -> bool:
        """Whether this may be its value."""


class Flag(Option):
    """An option without a value."""

    def __init__(self) -> None:
        super().__init__("no value")

    def accepts(self, text: str) -> bool:
        return False


class Number(Option):
    """A decimal number in [least, most]; ``is_whole`` allows digits alone."""

    _FORM = re.compile(r"\d{1,12}(\.\d{0,12})?([eE][+-]?\d{1,2})?|\.\d{1,12}([eE][+-]?\d{1,2})?", re.ASCII)

    def __init__(self, least: float, most: float, *, is_whole: bool = False) -> None:
        super().__init__(f"a {'whole ' if is_whole else ''}number from {least:g} to {most:g}")
        self._least, self._most, self._is_whole = least, most, is_whole

    def accepts(self, text: str) -> bool:
        if self._FORM.fullmatch(text) is None or (self._is_whole and not text.isdecimal()):
            return False
        return self._least <= float(text) <= self._most


class Word(Option):
    """Text that a pattern matches as a whole."""

    def __init__(self, pattern: str, expected: str) -> None:
        super().__init__(expected)
        self._pattern = re.compile(pattern, re.ASCII)

    def accepts(self, text: str) -> bool:
        return self._pattern.fullmatch(text) is not None


def parsed(settings: LearnerSettings, allowed: Mapping[str, Option], short: Mapping[str, str]) -> list[tuple[str, str]]:
    """The options of ``settings.args`` in their order, with long names and their values ("" for a flag).

    ``--name value`` and ``--name=value`` are the same; quoting is not known, since no value needs it.

    Raises
    ------
    LearnerRefused
        Something is not on the list, comes without its value, or with one that it may not have.
    """
    if len(settings.args) > LENGTH_MAX:
        raise LearnerRefused("args", f"at most {LENGTH_MAX} characters", len(settings.args))
    if not settings.args.isascii() or not settings.args.isprintable():
        raise LearnerRefused("args", "printable ASCII characters", ascii(settings.args))
    return list(_options(settings.args.split(), allowed, short))


def _options(words: list[str], allowed: Mapping[str, Option], short: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        name = short.get(name, name)
        option = allowed.get(name)
        if option is None:
            raise LearnerRefused("args", f"only {', '.join(sorted(allowed))}", word)
        if isinstance(option, Flag):
            if equals:
                raise LearnerRefused("args", f"{name} without a value", word)
            yield name, ""
            continue
        value = value if equals else next(rest, "")
        if not option.accepts(value):
            raise LearnerRefused("args", f"{name} with {option.expected}", f"{name} {value}".strip())
        yield name, value
