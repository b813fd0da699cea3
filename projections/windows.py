"""Lengths of time with the names that they have in features: windows, half-lives, gaps."""

from dataclasses import dataclass

from kernel.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US

#: No window is longer: 400 years.
LONGEST_US = 146_097 * DAY_US


@dataclass(frozen=True)
class Window:
    """A length of time, with the name it has in features."""

    us: int
    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.us, int) or not 0 < self.us <= LONGEST_US:
            raise ValueError(f"a window is longer than nothing and at most 400 years, not {self.name}")

    def __str__(self) -> str:
        return self.name

    @property
    def in_days(self) -> float:
        """Length in days: an int where it is whole."""
        return self.us // DAY_US if self.us % DAY_US == 0 else self.us / DAY_US


def days(n: int) -> Window:
    """A window of n days of 86,400 s."""
    return Window(_whole(n) * DAY_US, f"{n}d")


def hours(n: int) -> Window:
    """A window of n hours."""
    return Window(_whole(n) * HOUR_US, f"{n}h")


def minutes(n: int) -> Window:
    """A window of n minutes."""
    return Window(_whole(n) * MINUTE_US, f"{n}m")


def window_of(length: Window | int) -> Window:
    """A window, or the one of so many days. Raises ``TypeError`` for anything else."""
    if isinstance(length, Window):
        return length
    if isinstance(length, bool) or not isinstance(length, int):
        raise TypeError(f"a window is a number of days, or days(n), hours(n) or minutes(n), not {length!r}")
    return days(length)


def length_name(us: int) -> str:
    """The shortest name of a length of time.

    Examples
    --------
    >>> length_name(7 * DAY_US), length_name(36 * HOUR_US), length_name(90_000_000)
    ('7d', '36h', '90s')
    """
    for unit_us, name in ((DAY_US, "d"), (HOUR_US, "h"), (MINUTE_US, "m")):
        if us % unit_us == 0:
            return f"{us // unit_us}{name}"
    return f"{us / SECOND_US:g}s"


def _whole(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"a window is a whole number of days, hours or minutes, not {n!r}")
    return n
