"""The process that trains: what it is told arrives whole, and it ends with whoever wanted its models."""

import asyncio
import io
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from eventstore.event import Event, NewEvent, Stream
from eventstore.memory import MemoryEventStore
from eventstore.types import EventTypes
from gateway.scoring import training
from gateway.scoring.orders import End, Failed, Made, Order, framed
from gateway.scoring.trainer import run
from gateway.scoring.training import trained
from kernel.clock import VirtualClock
from kernel.errors import TrainingFailed
from kernel.ids import Position
from kernel.settings import OrgSettings
from kernel.settings_scoring import CategoryWeights
from projections.catalogue import Catalogue
from scoring.request import Request

START_US = 1_700_000_000_000_000
LEAD = Stream("default", "lead", "anna")


def order(directory: Path, **given: Any) -> Order:
    fields: dict[str, Any] = {
        "org": "default",
        "settings": OrgSettings(),
        "request": Request(features=("rfm:recency_days",), families=("conversion",)),
        "weights": CategoryWeights(),
        "champions": {},
        "path": sys.path,
        "directory": str(directory),
        "config": "default",
        "until_us": START_US,
        "now_us": START_US,
        "leads": 1,
    }
    return Order(**fields | given)


def logins(count: int) -> list[Event]:
    return [
        Event(LEAD, 7, n, Position(n), f"e{n}", "login", START_US + n, START_US + n, b'{"n": %d}' % n, "web")
        for n in range(1, count + 1)
    ]


async def store_of(events: int) -> MemoryEventStore:
    clock = VirtualClock(START_US)
    store = MemoryEventStore(types=EventTypes(Catalogue("default", OrgSettings()).event_types), clock=clock)
    await store.append([NewEvent(LEAD, e.id, e.type, e.at_us, b"{}", None) for e in logins(events)])
    return store


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
def test_a_lead_arrives_as_it_was_told_in_however_many_parts(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[list[Event]] = []

    def train(catalogue: object, streams: Any, *_: object, **__: object) -> Any:
        heard.extend(streams)
        raise TrainingFailed("that is all")
        yield

    monkeypatch.setattr("gateway.scoring.trainer.train", train)
    parts = list(training._parts(logins(count)))
    assert [len(part.rows) for part in parts] == [1000] * (count // 1000) + [count % 1000] * (count % 1000 > 0)
    source = b"".join([framed(order(tmp_path)), *map(framed, parts), *map(framed, parts), framed(End())])
    sink = io.BytesIO()
    run(io.BytesIO(source), sink)
    assert heard == [logins(count), logins(count)]
    assert sink.getvalue() == framed(Failed("that is all"))


def test_a_lead_without_events_is_no_message() -> None:
    assert list(training._parts([])) == []


def test_it_does_not_train_on_a_part_of_the_leads(tmp_path: Path) -> None:
    (part,) = training._parts(logins(3))
    source = framed(order(tmp_path)) + framed(part)
    with pytest.raises(EOFError, match="gone"):
        run(io.BytesIO(source), io.BytesIO())
    with pytest.raises(EOFError, match="gone"):
        run(io.BytesIO((source + framed(End()))[:-1]), io.BytesIO())
    assert list(tmp_path.iterdir()) == []


def test_it_takes_no_leads_without_an_order() -> None:
    with pytest.raises(TypeError, match="expected an order"):
        run(io.BytesIO(framed(End())), io.BytesIO())


class _Deaf(io.BytesIO):
    """A service that went away."""

    def write(self, _: object) -> int:
        raise BrokenPipeError


def test_it_writes_nothing_when_nobody_listens_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Models:
        def models(self) -> dict[str, object]:
            return {"conversion": object()}

    def train(*_: object, **__: object) -> Any:
        return Models()
        yield

    saved: list[object] = []
    monkeypatch.setattr("gateway.scoring.trainer.train", train)
    monkeypatch.setattr("gateway.scoring.trainer.save", lambda *args, **_: saved.append(args))
    with pytest.raises(BrokenPipeError):
        run(io.BytesIO(framed(order(tmp_path)) + framed(End())), _Deaf())
    assert saved == []


async def test_its_process_ends_when_its_input_does(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.scoring.trainer", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    told, noise = await process.communicate(framed(order(tmp_path)))
    assert (process.returncode, told, noise) == (1, b"", b"")


def test_it_finds_packs_where_the_service_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pack_for_training.py").write_text(
        "from projections.language import Pack\npack = Pack('pack_for_training', 'Nothing at all')\n", "utf-8"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    settings = OrgSettings(packs=(*OrgSettings().packs, "pack_for_training"))
    told = []
    for path in (sys.path[:], [*sys.path, str(tmp_path)]):
        sink = io.BytesIO()
        run(io.BytesIO(framed(order(tmp_path, settings=settings, path=path)) + framed(End())), sink)
        told.append(sink.getvalue())
    assert b"no pack and no module of that name" in told[0]
    assert b"rows" in told[1]


async def test_too_few_rows_are_said_by_the_process(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="rows"):
        await trained(order(tmp_path), await store_of(3), [LEAD], lambda *_: None)


async def test_a_process_that_dies_is_told_with_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.sys, "executable", "/bin/false")
    with pytest.raises(TrainingFailed, match="ended with exit code 1"):
        await trained(order(tmp_path), await store_of(3), [LEAD], lambda *_: None)


async def test_a_training_that_nobody_waits_for_ends_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    make = asyncio.create_subprocess_exec

    async def noted(*args: Any, **given: Any) -> asyncio.subprocess.Process:
        process = await make(*args, **given)
        started.set_result(process.pid)
        return process

    monkeypatch.setattr(training.asyncio, "create_subprocess_exec", noted)
    waiting = asyncio.create_task(trained(order(tmp_path), await store_of(3), [LEAD], lambda *_: None))
    pid = await started
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_was_made_fits_into_a_message() -> None:
    made = Made(["conversion-0001"], 3, 9, {"multitask": "too few"})
    assert training._FROM_TRAINER.decode(framed(made)[4:]) == made
