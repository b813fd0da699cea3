"""``leadwheel synth``: invented leads with known laws, for first steps and for judging models."""

import csv
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from gateway.commands.common import DONE, notes
from kernel.errors import SettingsError
from kernel.times import DAY_US, format_time, parse_rfc3339
from scoring.synth import DAYS, END_US, World


def synth(
    *,
    leads: int = 1000,
    seed: int = 1,
    out: Path | None = None,
    truth: Path | None = None,
    truth_step: int = 15,
    days: int = DAYS,
    end: str = format_time(END_US),
    org: str | None = None,
) -> int:
    """Write an event log of the tutoring and sales packs, NDJSON, whose laws are known. Equal arguments, equal bytes.

    Parameters
    ----------
    leads
        How many leads.
    seed
        Of the chance.
    out
        File to write; standard output otherwise.
    truth
        CSV file for the probabilities of the law itself: a row per lead and midnight.
    truth_step
        Days between two midnights of the truth.
    days
        How long the log is.
    end
        Its end, a midnight (UTC): RFC 3339, or a date.
    org
        Organisation, put into each event's source; the log is of whatever organisation it is posted to.
    """
    try:
        end_us = parse_rfc3339(end if "T" in end else f"{end}T00:00:00Z")
        world = World(leads, seed, days=days, end_us=end_us)
    except ValueError as error:
        raise SettingsError("synth", "command line", str(error)) from error
    with _opened(out) as file:
        for line in _with_source(world.lines(), org):
            file.write(line)
    if truth is not None:
        with truth.open("w", encoding="utf-8", newline="") as table:
            _write_truth(world, table, max(1, truth_step))
    notes.print(f"{leads} leads from {format_time(world.start_us)} to {format_time(world.end_us)}", markup=False)
    return DONE


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    with out.open("wb") as file:
        yield file


def _with_source(lines: Iterable[bytes], org: str | None) -> Iterator[bytes]:
    """The lines, each with a source that names the organisation."""
    source = b"" if org is None else b',"source":%b}\n' % msgspec.json.encode(f"synth/{org}")
    for line in lines:
        yield line[:-2] + source if source else line


def _write_truth(world: World, table: IO[str], step: int) -> None:
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(
        ["lead", "time", "conversion_30d", "churn_risk_30d", "ib_call_risk_14d", "days_median", "days_mean"]
    )
    everybody = np.arange(world.leads)
    for day in range(step, world.days + 1, step):
        at_us = world.start_us + day * DAY_US
        rows = np.column_stack(world.truth(everybody, np.full(world.leads, at_us)))
        for lead in np.flatnonzero(~np.isnan(rows[:, 0])).tolist():
            said = (f"{value:.6f}" if value == value else "" for value in rows[lead].tolist())
            writer.writerow([world.name(lead), format_time(at_us), *said])
