"""Long work on request: replay, verify. Started, watched, cancelled; at most one of a kind at a time.

A job is a coroutine that reports into its own ``Job``. Jobs live in memory: they are work on derived state,
and what they made is in the cache or in their result. A stop of the service cancels them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
import structlog

from gateway.problems import Problem
from kernel.clock import Clock
from kernel.errors import LeadwheelError
from kernel.ids import IdSource
from kernel.times import SECOND_US, format_time

State = Literal["running", "done", "failed", "cancelled"]
MAX_KEPT = 200  # ended jobs that can still be asked for
MAX_LOG = 200  # lines of one job

_log = structlog.get_logger(__name__)


class Progress(msgspec.Struct):
    """How far a job is. ``total`` is null until it is known; ``rate`` is per second."""

    done: int = 0
    total: int | None = None
    unit: str = "events"
    rate: float | None = None
    eta_s: float | None = None


class LogLine(msgspec.Struct, frozen=True):
    at: str
    text: str


class JobDocument(msgspec.Struct, frozen=True):
    """A job as it is answered."""

    id: str
    kind: str
    state: State
    created: str
    ended: str | None
    progress: Progress
    result: dict[str, Any] | None
    error: str | None
    log: list[LogLine]


class Job:
    """One piece of work, and what it says of itself."""

    def __init__(self, job_id: str, kind: str, org: str, clock: Clock) -> None:
        self.id, self.kind, self.org = job_id, kind, org
        self.created_us = clock.now_us()
        self.ended_us: int | None = None
        self.state: State = "running"
        self.progress = Progress()
        self.result: dict[str, Any] | None = None
        self.error: str | None = None
        self.log: list[LogLine] = []
        self.task: asyncio.Task[None] | None = None
        self._clock = clock
        self._start_us = clock.monotonic_us()

    def report(self, done: int, total: int | None = None) -> None:
        """Note how far the work is; rate and remaining time follow."""
        elapsed_s = (self._clock.monotonic_us() - self._start_us) / SECOND_US
        rate = done / elapsed_s if elapsed_s > 0 else None
        eta_s = (total - done) / rate if rate and total is not None else None
        self.progress = Progress(done, total, self.progress.unit, rate, eta_s)

    def say(self, text: str) -> None:
        """Add a line to the job's log; the oldest go first."""
        self.log = [*self.log[-MAX_LOG + 1 :], LogLine(format_time(self._clock.now_us()), text)]

    def document(self) -> JobDocument:
        ended = None if self.ended_us is None else format_time(self.ended_us)
        return JobDocument(
            self.id,
            self.kind,
            self.state,
            format_time(self.created_us),
            ended,
            self.progress,
            self.result,
            self.error,
            self.log,
        )


Work = Callable[[Job], Awaitable[dict[str, Any]]]


class Jobs:
    """All jobs of a service since its start, the newest ``MAX_KEPT`` of those that ended."""

    def __init__(self, clock: Clock, ids: IdSource) -> None:
        self._clock = clock
        self._ids = ids
        self._jobs: dict[str, Job] = {}

    @property
    def running(self) -> int:
        """Jobs that have not ended."""
        return sum(job.state == "running" for job in self._jobs.values())

    def start(self, kind: str, org: str, work: Work, *, is_alone: bool = True) -> Job:
        """Start ``work``. Raises ``Problem`` (``job_conflict``) while one of that kind runs.

        Parameters
        ----------
        is_alone : it bars those of all orgs, since it is about the whole log; else only those of its own.
        """
        running = [job for job in self._jobs.values() if job.kind == kind and job.state == "running"]
        if any(is_alone or job.org == org for job in running):
            raise Problem("job_conflict", f"a {kind} is running")
        job = Job(self._ids.uuid7(), kind, org, self._clock)
        self._jobs[job.id] = job
        self._forget()
        job.task = asyncio.create_task(self._run(job, work), name=f"job {kind} {job.id}")
        return job

    def get(self, org: str, job_id: str) -> Job:
        """Raises ``Problem`` (``job_not_found``), also for another org's."""
        job = self._jobs.get(job_id)
        if job is None or job.org != org:
            raise Problem("job_not_found", f"no job {job_id}")
        return job

    def of_org(self, org: str) -> list[Job]:
        """An org's jobs, newest first."""
        mine = [job for job in self._jobs.values() if job.org == org]
        return sorted(mine, key=lambda job: (job.created_us, job.id), reverse=True)

    async def cancel(self, job: Job) -> None:
        """Cancel and wait until it has ended. A job that has ended stays as it is."""
        if job.task is not None and not job.task.done():
            job.task.cancel()
            await asyncio.wait([job.task])

    async def close(self) -> None:
        """Cancel all that run."""
        for job in list(self._jobs.values()):
            await self.cancel(job)

    async def _run(self, job: Job, work: Work) -> None:
        try:
            job.result = await work(job)
            job.state = "done"
        except asyncio.CancelledError:
            job.state = "cancelled"  # the cancellation was asked for and ends here, with the task
        except LeadwheelError as error:
            job.state, job.error = "failed", str(error)
        except Exception:  # noqa: BLE001 - a supervision boundary: the job fails, logged, and the service goes on
            job.state, job.error = "failed", "internal error; the service's log says more"
            _log.exception("job_failed", kind=job.kind, job=job.id)
        finally:
            job.ended_us = self._clock.now_us()

    def _forget(self) -> None:
        ended = [job for job in self._jobs.values() if job.state != "running"]
        for job in sorted(ended, key=lambda job: job.created_us)[: max(0, len(ended) - MAX_KEPT)]:
            del self._jobs[job.id]
