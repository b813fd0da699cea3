"""Instants that the state knows, and what is asked of them: days since, days between, the time itself as text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projections.expressions import Dtype, Expr, Operand
from projections.signals import Signal
from projections.windows import Window, window_of

if TYPE_CHECKING:
    from projections.source import ViewWriter


class Instant(ABC):
    """A time that the state knows (microseconds), or none: what *since* is asked of."""

    @abstractmethod
    def emit_instant(self, w: ViewWriter) -> str:
        """Source of an int, or of None."""

    @abstractmethod
    def signals(self) -> tuple[Signal, ...]:
        """The signals whose events move it."""

    def label(self) -> str | None:
        """What a number of days since it is called."""
        return None

    def within(self, window: Window) -> Instant:
        """The same among the events of a window. Raises ``TypeError`` where that makes no sense."""
        raise TypeError(f"{type(self).__name__} is over a lifetime, not over {window}")

    def over(self, window: Window | int, /) -> Instant:
        """The same among the events of a window (a plain number is days)."""
        return self.within(window_of(window))

    def windows_us(self) -> tuple[int, ...]:
        """Lengths of the windows it looks through."""
        return ()


@dataclass(frozen=True)
class FirstOf(Instant):
    """The first of two instants that exists: ``preferred``, else ``other``."""

    preferred: Instant
    other: Instant

    def signals(self) -> tuple[Signal, ...]:
        return self.preferred.signals() + self.other.signals()

    def within(self, window: Window) -> FirstOf:
        return FirstOf(self.preferred.within(window), self.other.within(window))

    def windows_us(self) -> tuple[int, ...]:
        return self.preferred.windows_us() + self.other.windows_us()

    def emit_instant(self, w: ViewWriter) -> str:
        preferred, other = self.preferred.emit_instant(w), self.other.emit_instant(w)
        return w.named(f"{preferred} if {preferred} is not None else {other}")


@dataclass(frozen=True)
class Since(Expr):
    """Whole days from an instant to the as-of time, or to another instant; null without either."""

    start: Instant
    end: Instant | None = None

    def signals(self) -> tuple[Signal, ...]:
        return self.start.signals() + (self.end.signals() if self.end is not None else ())

    def windows_us(self) -> tuple[int, ...]:
        return self.start.windows_us() + (self.end.windows_us() if self.end is not None else ())

    def label(self) -> str | None:
        return self.start.label() if self.end is None else None

    def within(self, window: Window) -> Since:
        return Since(self.start.within(window), None if self.end is None else self.end.within(window))

    @property
    def dtype(self) -> Dtype:
        return "int"

    def emit(self, w: ViewWriter) -> Operand:
        start = self.start.emit_instant(w)
        if self.end is not None:
            end = self.end.emit_instant(w)
            return Operand(
                w.named(f"({end} - {start}) // DAY if {start} is not None and {end} is not None else None"), True
            )
        days = w.named(f"(at - {start}) // DAY if {start} is not None else None")
        w.changes_at(f"{start} + ({days} + 1) * DAY", f"{days} is not None")
        return Operand(days, True)


def since(instant: Instant) -> Expr:
    """Whole days since an instant."""
    return Since(instant)


def days_between(start: Instant, end: Instant) -> Expr:
    """Whole days from one instant to another."""
    return Since(start, end)


@dataclass(frozen=True)
class TimeText(Expr):
    """An instant as RFC 3339 text in UTC."""

    instant: Instant

    def signals(self) -> tuple[Signal, ...]:
        return self.instant.signals()

    def windows_us(self) -> tuple[int, ...]:
        return self.instant.windows_us()

    def within(self, window: Window) -> TimeText:
        return TimeText(self.instant.within(window))

    @property
    def dtype(self) -> Dtype:
        return "string"

    def emit(self, w: ViewWriter) -> Operand:
        instant = self.instant.emit_instant(w)
        return Operand(w.named(f"format_time({instant}) if {instant} is not None else None"), True)
