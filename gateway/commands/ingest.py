"""``leadwheel ingest``: a file of events into the log, with progress; twice changes nothing."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from gateway.client import Client, Refused
from gateway.commands.common import DONE, PARTLY, Where, connect, notes, print_json, settings_of
from gateway.records import NO_MAPPING, FieldForms, Row, read_mapping, read_rows
from kernel.settings import OrgSettings
from projections.catalogue import Catalogue
from projections.fields import field_info

HERE = Where()
BATCH_EVENTS = 1000
BATCH_BYTES = 4 * 1024 * 1024
SHOWN = 20  # refused rows that are named


class Rate(ProgressColumn):
    """Events a second."""

    def render(self, task: Task) -> Text:
        elapsed_s = task.finished_time or task.elapsed or 0.0
        events = task.fields.get("events", 0)
        return Text(f"{events / elapsed_s:,.0f} events/s" if elapsed_s else "")


class Counts(msgspec.Struct):
    """What became of the events of a file."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    dead: int = 0

    def add(self, answer: dict[str, Any]) -> None:
        self.accepted += answer["accepted"]
        self.duplicates += answer["duplicates"]
        self.rejected += len(answer["rejected"])
        self.dead += answer["dead"]


async def ingest(file: Path, /, *, mapping: Path | None = None, where: Where = HERE) -> int:
    """Post a file of events: NDJSON or CSV, gzipped or not. Ends with the counts as JSON.

    Parameters
    ----------
    file
        The file. A CSV's header names envelope keys and data.FIELD.
    mapping
        TOML file: column = "key"; a table [constants] gives keys that are the same in every row.
    """
    columns = read_mapping(mapping) if mapping is not None else NO_MAPPING
    settings = settings_of(where.data_dir, where.config)
    rows = read_rows(file, columns, field_forms(settings.of_org(where.org)))
    first = next(rows, None)  # a file that cannot be read is told before anything is opened
    counts = Counts()
    size_bytes = file.stat().st_size  # noqa: ASYNC240 - nothing else runs yet
    async with connect(where) as client:
        with progress_bar() as progress:
            task = progress.add_task(file.name, total=size_bytes, events=0)
            for batch in _batches(_chain(first, rows)):
                refusals = await _post(client, batch, counts)
                _name(batch, refusals, counts)
                total = counts.accepted + counts.duplicates + counts.rejected
                progress.update(task, completed=batch[-1].read_bytes, events=total)
    print_json(counts)
    return PARTLY if counts.rejected else DONE


def progress_bar() -> Progress:
    """Name, bar, rate and remaining time on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        Rate(),
        TimeRemainingColumn(),
        console=notes,
    )


def field_forms(org: OrgSettings) -> FieldForms:
    """How the texts of a CSV's payload columns are meant, by the types that the org's packs declare."""
    forms = {"number": "json", "flag": "flag", "list": "json", "struct": "json", "mixed": "json"}
    catalogue = Catalogue("", org)
    return {
        each.name: {
            name: forms.get(info.kind, "text")
            for name in each.payload.__struct_fields__
            if (info := field_info(each.payload, name)) is not None
        }
        for each in catalogue.event_types
    }


def _chain(first: Row | None, rows: Iterator[Row]) -> Iterator[Row]:
    if first is not None:
        yield first
        yield from rows


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size_bytes = 0
    for row in rows:
        if batch and (len(batch) == BATCH_EVENTS or size_bytes + len(row.body) > BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(row)
        size_bytes += len(row.body) + 1
    if batch:
        yield batch


async def _post(client: Client, batch: list[Row], counts: Counts) -> list[dict[str, Any]]:
    body = b"\n".join(row.body.replace(b"\n", b" ") for row in batch)
    try:
        answer = await client.send("POST", "/events", body=body, media="application/x-ndjson")
    except Refused as error:
        refusals: list[dict[str, Any]] | None = error.problem.get("rejected")
        if refusals is None:
            raise
        counts.rejected += len(refusals)
        return refusals
    counts.add(answer)
    refused: list[dict[str, Any]] = answer["rejected"]
    return refused


def _name(batch: list[Row], refusals: list[dict[str, Any]], counts: Counts) -> None:
    before = counts.rejected - len(refusals)
    for place, refusal in enumerate(refusals, before):
        if place < SHOWN:
            line = batch[refusal["index"]].line
            notes.print(f"line {line}: {refusal['code']}: {refusal['detail']}", markup=False)
        elif place == SHOWN:
            notes.print("further refusals are counted only")
