"""Why leads have to be looked at: events that were delivered, in runs of old news and of other news.

An alert follows from news, never from old news, so events that wait together must not be judged as one: of each run
it is known with which version it ends. Bounded: past ``marked_max`` leads nobody more is marked, and all have to be
looked at.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from eventstore.event import Event, Stream

#: Further runs of one lead are one with the last, as old news if any of it is: nothing is raised that might be wrong.
RUNS_MAX = 10


class Run(NamedTuple):
    """Events of one lead that came one after the other: the last one's version, and whether they are old news."""

    version: int
    is_old_news: bool


class Marked(NamedTuple):
    """A lead to look at, and what happened to it; nothing: time passed, or rules changed."""

    stream: Stream
    runs: Sequence[Run] = ()


class Occasions:
    """The leads of one org that have to be looked at.

    Attributes
    ----------
    is_overrun : more happened than can be noted.
    is_overrun_by_news : and some of that was no old news.
    """

    def __init__(self, marked_max: int) -> None:
        self._marked_max = marked_max
        self._runs: OrderedDict[Stream, list[Run]] = OrderedDict()
        self.is_overrun = self.is_overrun_by_news = False

    def __len__(self) -> int:
        return len(self._runs)

    def note(self, event: Event, *, is_old_news: bool) -> None:
        """An event of a lead was delivered. A microsecond or two."""
        runs = self._runs.get(event.stream)
        if runs is None:
            if len(self._runs) >= self._marked_max:
                self.is_overrun = True
                self.is_overrun_by_news |= not is_old_news
                return
            self._runs[event.stream] = [Run(event.version, is_old_news)]
            return
        _add(runs, Run(event.version, is_old_news))

    def take(self, limit: int) -> list[Marked]:
        """The leads that were marked first; they are marked no more."""
        return [Marked(*self._runs.popitem(last=False)) for _ in range(min(limit, len(self._runs)))]

    def claim(self, stream: Stream) -> Marked:
        """One lead, with what happened to it if it was marked."""
        return Marked(stream, self._runs.pop(stream, ()))

    def put_back(self, marked: Iterable[Marked]) -> None:
        """These were not looked at after all."""
        for stream, runs in marked:
            together = [*runs, *self._runs.get(stream, ())]
            self._runs[stream] = []
            for run in together:
                _add(self._runs[stream], run)

    def begin_anew(self) -> None:
        """All leads are going to be looked at."""
        self.is_overrun = self.is_overrun_by_news = False


def _add(runs: list[Run], run: Run) -> None:
    if runs and (runs[-1].is_old_news == run.is_old_news or len(runs) >= RUNS_MAX):
        run = Run(max(run.version, runs[-1].version), runs[-1].is_old_news or run.is_old_news)
        runs[-1] = run
    else:
        runs.append(run)
