"""A model learned anew from a million settled rewards in the log, against a bare loop of its learner over prepared ones.

One policy of eight arms on 60 numbers; each settlement is the event that the service writes, with context, arms and probabilities.
Ours reads the stream from SQLite in pages, decodes each event and folds it: into the model, its versions every thousand updates,
and the figures, just as a policy without a snapshot wakes and as ``leadwheel replay --policies`` does. The learner is changed
by a definition at the end of the stream, so the whole is learned under the new one. The peers, on a part of the same
settlements: the learner's ``learn`` alone, over observations that lie ready in memory; and reading the rows with their
payloads' JSON decoded, which no rebuild can do without. All by processor time; memory is what ours grew by, at most.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: a second thread gains nothing on 60 numbers

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np

from actors.slices import fold_in_slices
from bandit.events import (
    TYPES,
    LoggedArm,
    PolicyDefined,
    RewardSettled,
    columns_fingerprint,
    decode_settlement,
    pack_vector,
    policy_defined_event,
    policy_stream,
    settlement_event,
)
from bandit.learners.learner import LearnerSettings, Observation
from bandit.learners.making import make_learner
from bandit.policy import Policy, PolicyArm, completed
from bandit.policy_entity import PolicyEntity
from bandit.policy_folds import PolicyFolds
from bandit.settling import Translation, observation
from bench.harness import (
    LOAD_CORE,
    Claim,
    in_turns,
    pin_self,
    private_bytes,
    report,
    run_main,
    say,
    scratch,
    settled_rss_bytes,
)
from bench.ingest_durable import log_file
from eventstore.event import NewEvent
from eventstore.sqlite import SqliteEventStore
from eventstore.store import EventStore
from eventstore.system import BUILT_IN
from eventstore.types import EventTypes
from kernel.clock import SystemClock

SETTLED, NUMBERS, ARMS, BATCH, SAMPLE, ROUNDS = 1_000_000, 60, 8, 4_000, 20_000, 3
RATIO_MIN, GROWTH_MAX_MB = 0.4, 100
NOON = 1_790_000_000_000_000
STREAM = policy_stream("default", "offers")
COLUMNS = [f"column:{index}" for index in range(NUMBERS)]
LOGGED = [LoggedArm(f"arm-{n}", {"channel": ("mail", "phone")[n % 2], "cost": float(n)}) for n in range(ARMS)]
LEARNERS = {"linear": LearnerSettings("linear"), "vw": LearnerSettings("vw", "squarecb")}


def settlements() -> Iterator[NewEvent]:
    """Evenly drawn arms; what each earns is linear in the context, with noise."""
    rng = np.random.default_rng(1)
    truth, fingerprint = rng.normal(size=(ARMS, NUMBERS)) / NUMBERS**0.5, columns_fingerprint(COLUMNS)
    for start in range(0, SETTLED, BATCH):
        contexts = rng.normal(size=(BATCH, NUMBERS))
        chosen = rng.integers(ARMS, size=BATCH)
        rewards = (contexts * truth[chosen]).sum(axis=1) + rng.normal(size=BATCH)
        for index in range(BATCH):
            number = start + index
            settled = RewardSettled(
                kind="final",
                decision_id=f"d{number}",
                policy_version=1,
                model_version="1.0",
                decided_us=NOON + number,
                settled_us=NOON + number,
                context=pack_vector(contexts[index]),
                columns=fingerprint,
                named={},
                arms=LOGGED,
                distribution=[1 / ARMS] * ARMS,
                arm=LOGGED[chosen[index]].id,
                probability=1 / ARMS,
                reason="explore",
                reward=float(rewards[index]),
                rewards=1,
            )
            yield settlement_event(STREAM, settled)


def definition(version: int, learner: LearnerSettings) -> NewEvent:
    policy = completed(Policy(arms=[PolicyArm(arm.id, arm.features) for arm in LOGGED], learner=learner))
    return policy_defined_event(STREAM, PolicyDefined(version, policy, COLUMNS), NOON)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[EventStore]:
    store = await SqliteEventStore.open(directory, types=EventTypes([*BUILT_IN, *TYPES]), clock=SystemClock())
    try:
        yield store
    finally:
        await store.close()


async def fill(directory: Path) -> None:
    async with opened(directory) as store:
        await store.append([definition(1, LEARNERS["linear"])])
        batch: list[NewEvent] = []
        for event in settlements():
            batch.append(event)
            if len(batch) == BATCH:
                await store.append(batch)
                batch = []


async def define(directory: Path, version: int, learner: LearnerSettings) -> None:
    async with opened(directory) as store:
        await store.append([definition(version, learner)])


async def rebuild(directory: Path, growth_mb: list[float]) -> tuple[float, float]:
    """Processor time and time of the clock, in microseconds a settlement."""
    async with opened(directory) as store:
        (info,) = await store.info([STREAM])
        if info is None:
            raise RuntimeError("the log is empty")
        settled_rss_bytes()
        before, peak = private_bytes(), 0

        def look(_: int) -> None:
            nonlocal peak
            peak = max(peak, private_bytes())

        used_s, began_s = time.process_time(), time.perf_counter()
        entity = await fold_in_slices(store, PolicyFolds(), STREAM, info.number, until=info.version, on_page=look)
        used_s, took_s = time.process_time() - used_s, time.perf_counter() - began_s
        if not isinstance(entity, PolicyEntity) or entity.updates != SETTLED:
            raise RuntimeError("not every settlement was learned")
        growth_mb.append((peak - before) / 2**20)
        return used_s / SETTLED * 1e6, took_s / SETTLED * 1e6


def sample(directory: Path) -> list[Observation]:
    """The first settlements, as a learner takes them."""
    connection = sqlite3.connect(log_file(directory))
    rows = connection.execute("SELECT data FROM events ORDER BY position LIMIT ? OFFSET 1", (SAMPLE,)).fetchall()
    connection.close()
    same = Translation.between(COLUMNS, COLUMNS)
    return [observation(decode_settlement(data), same) for (data,) in rows]


def bare_learner(settings: LearnerSettings, observations: Sequence[Observation]) -> float:
    """Microseconds an observation."""
    learner = make_learner(settings, width=NUMBERS, seed=1, baseline=LOGGED[0].id)
    began_s = time.process_time()
    for each in observations:
        learner.learn(each)
    return (time.process_time() - began_s) / len(observations) * 1e6


def bare_rows(directory: Path) -> float:
    """Microseconds a row."""
    connection = sqlite3.connect(log_file(directory))
    decode = msgspec.json.Decoder().decode
    began_s, count = time.process_time(), 0
    for row in connection.execute("SELECT * FROM events ORDER BY position LIMIT ?", (10 * SAMPLE,)):
        decode(next(value for value in row if isinstance(value, bytes)))
        count += 1
    connection.close()
    return (time.process_time() - began_s) / count * 1e6


def main() -> None:
    pin_self(LOAD_CORE)
    say(f"policy rebuild: {SETTLED:,} settled rewards, {NUMBERS} numbers, {ARMS} arms")
    claims: list[Claim] = []
    figures: dict[str, float] = {}
    with scratch() as directory:
        began_s = time.perf_counter()
        asyncio.run(fill(directory))
        say(f"  filled at {SETTLED / (time.perf_counter() - began_s):,.0f} settlements a second")
        observations = sample(directory)
        rows_us = bare_rows(directory)
        growth_mb: list[float] = []
        for version, (name, settings) in enumerate(LEARNERS.items(), start=2):
            asyncio.run(define(directory, version, settings))
            bare = in_turns(ROUNDS, bare=lambda each=settings: bare_learner(each, observations))["bare"]  # type: ignore[misc]
            cpu_us, took_us = asyncio.run(rebuild(directory, growth_mb))
            say(f"  {name}: {cpu_us:.1f} µs of processor time, bare learner {bare:.1f} µs, bare rows {rows_us:.1f} µs")
            claims.append(
                Claim(f"{name}: learned anew", (bare + rows_us) / cpu_us, RATIO_MIN, "of rows and learner alone")
            )
            figures |= {
                f"{name}_settlements_per_s": 1e6 / took_us,
                f"{name}_cpu_us": cpu_us,
                f"{name}_bare_learner_us": bare,
                f"{name}_ratio_to_learner_alone": bare / cpu_us,
            }
    claims.append(Claim("memory, at most", max(growth_mb), GROWTH_MAX_MB, "MB", is_upper_bound=True))
    report("policy_rebuild", claims, {**figures, "bare_row_us": rows_us})


if __name__ == "__main__":
    run_main(main)
