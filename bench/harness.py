"""What all benchmarks share: results, servers pinned to a core, load from wrk, and turns of ours and the peer."""

import contextlib
import ctypes
import gc
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
SERVER_CORE, LOAD_CORE = 0, 1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Claim(msgspec.Struct, frozen=True):
    """One thing to show: a figure, the bound it is held against, and on which side it must be."""

    name: str
    value: float
    bound: float
    unit: str = "of the peer"
    is_upper_bound: bool = False

    @property
    def holds(self) -> bool:
        return self.value <= self.bound if self.is_upper_bound else self.value >= self.bound

    def __str__(self) -> str:
        sign = "≤" if self.is_upper_bound else "≥"
        verdict = "holds" if self.holds else "MISSED"
        return f"{self.name}: {self.value:,.4g} {self.unit} (bound {sign} {self.bound:g}): {verdict}"


class Skipped(Exception):
    """The benchmark, or a part of it, cannot run here; the message says why."""


def report(name: str, claims: Sequence[Claim], figures: dict[str, Any]) -> None:
    """Print the claims and the figures, one line of JSON last, and keep the line as a file."""
    for claim in claims:
        print(f"  {claim}")
    for key, value in figures.items():
        print(f"  {key}: {value:,.6g}" if isinstance(value, float) else f"  {key}: {value}")
    line = json.dumps(
        {
            "bench": name,
            "claims": [{**msgspec.to_builtins(claim), "holds": claim.holds} for claim in claims],
            "figures": figures,
        }
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(line + "\n")
    print(line, flush=True)


def say(text: str) -> None:
    print(text, flush=True)


def require(*tools: str) -> None:
    """Raises ``Skipped`` when a program is not installed."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)}")


def pin(core: int) -> list[str]:
    """The command's prefix that keeps it on one core; none on a machine with a single core."""
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        return []
    return ["taskset", "-c", str(core)]


def pin_self(core: int) -> None:
    """Keep this process on one core."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory on the disk of the checkout: a memory file system would make every fsync free."""
    with tempfile.TemporaryDirectory(prefix=".scratch-", dir=ROOT / "bench") as name:
        yield Path(name)


class Server:
    """A server in a process of its own on the servers' core.

    Parameters
    ----------
    arguments : of the Python interpreter, e.g. ``["-m", "bench.peers", …]``.
    url : where it will listen.
    ready : path that answers 200 once it is ready.
    """

    def __init__(
        self, arguments: Sequence[str], *, url: str, ready: str, timeout_s: float = 60, python: str = sys.executable
    ) -> None:
        self.url = url
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        began_s = time.monotonic()
        self.process = subprocess.Popen(
            [*pin(SERVER_CORE), python, *arguments], cwd=ROOT, stdout=self._log, stderr=self._log
        )
        self._wait(url + ready, began_s + timeout_s)
        self.ready_s = time.monotonic() - began_s

    def _wait(self, url: str, deadline_s: float) -> None:
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self._tail()}")
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline_s:
                    self.kill()
                    raise RuntimeError(f"{url} is not ready:\n{self._tail()}") from None
                time.sleep(0.01)

    def _tail(self) -> str:
        self._log.seek(0)
        return self._log.read()[-3000:].decode(errors="replace")

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, with whatever it has not written yet."""
        self.process.kill()
        self.process.wait()
        self._log.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()


def bare_aiohttp(answer: bytes) -> Server:
    """The peer of the HTTP benchmarks: aiohttp on uvloop, one route, the same bytes every time."""
    port = free_port()
    with tempfile.NamedTemporaryFile(suffix=".json", delete=False) as file:
        file.write(answer)
    arguments = ["-m", "bench.peers", "--port", str(port), "--answer", file.name]
    return Server(arguments, url=f"http://127.0.0.1:{port}", ready="/ready")


def leadwheel(directory: Path, *flags: str, timeout_s: float = 120) -> Server:
    """Our service on a data directory."""
    port = free_port()
    arguments = ["-m", "gateway.cli", "serve", "--data-dir", str(directory), "--port", str(port), *flags]
    return Server(arguments, url=f"http://127.0.0.1:{port}", ready="/readyz", timeout_s=timeout_s)


def write_settings(directory: Path, *lines: str) -> Path:
    """A data directory whose service has the two packs of the claims switched on, and what else is given."""
    directory.mkdir(parents=True, exist_ok=True)
    text = '[org.default]\npacks = ["commerce", "browsing"]\n' + "\n".join(lines) + "\n"
    (directory / "leadwheel.toml").write_text(text)
    return directory


def command(*arguments: str) -> str:
    """Run ``leadwheel`` with these arguments; its standard output."""
    run = [sys.executable, "-m", "gateway.cli", *arguments]
    done = subprocess.run(run, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"leadwheel {' '.join(arguments)}: {done.stderr[-1000:]}")
    return done.stdout.strip()


def fetch(
    url: str, *, body: bytes | None = None, kind: str = "application/json", key: str | None = None
) -> tuple[bytes, dict[str, str]]:
    """One request; body and headers of the answer. Raises for anything but success, with what the answer says."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind})
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url}: {error.code} {error.read()[:500]!r}") from error


class Load(msgspec.Struct, frozen=True):
    """What wrk saw. ``failed`` counts answers other than 2xx and 3xx, and broken connections."""

    requests_per_s: float
    p99_ms: float
    failed: int


class Side:
    """One side of an HTTP comparison: its server, its request, and what its runs of wrk saw.

    Beside the rate it keeps the server's processor time for each request: neighbours on the machine move the first, hardly
    the second. ``core_share`` below 1 says that not the server but the load, the disk or a neighbour was the limit.
    """

    def __init__(self, server: "Server", path: str, *headers: str, connections: int, seconds: float) -> None:
        self.server, self._path, self._headers = server, path, headers
        self._connections, self._seconds = connections, seconds
        self.cpu_us: list[float] = []
        self.core_share: list[float] = []
        self.p99_ms: list[float] = []

    def run(self, script: Path | None = None) -> float:
        """Requests a second of one run. Raises when a request failed."""
        pid = self.server.process.pid
        before_s, began_s = cpu_s(pid), time.monotonic()
        url = self.server.url + self._path
        seen = wrk(url, connections=self._connections, seconds=self._seconds, headers=self._headers, script=script)
        took_s, used_s = time.monotonic() - began_s, cpu_s(pid) - before_s
        if seen.failed:
            raise RuntimeError(f"{seen.failed} requests to {url} failed")
        self.cpu_us.append(used_s / (seen.requests_per_s * self._seconds) * 1e6)
        self.core_share.append(used_s / took_s)
        self.p99_ms.append(seen.p99_ms)
        return seen.requests_per_s

    def figures(self, name: str) -> dict[str, float]:
        """Medians, with the side's name before each."""
        return {
            f"{name}_cpu_us_per_request": statistics.median(self.cpu_us),
            f"{name}_core_share": statistics.median(self.core_share),
            f"{name}_p99_ms": statistics.median(self.p99_ms),
        }


def wrk(
    url: str,
    *,
    connections: int = 32,
    seconds: float = 5,
    headers: Sequence[str] = (),
    script: Path | None = None,
    arguments: Sequence[str] = (),
) -> Load:
    """One run of wrk with one thread on the load's core, connections kept alive."""
    run = [*pin(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
    for header in headers:
        run += ["-H", header]
    if script:
        run += ["-s", str(script)]
    text = subprocess.run([*run, url, *arguments], check=True, capture_output=True, text=True).stdout
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if rate is None or p99 is None:
        raise RuntimeError(f"wrk said:\n{text}")
    failed = int(refused[1]) if refused else 0
    failed += sum(map(int, broken.groups())) if broken else 0
    return Load(float(rate[1]), float(p99[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[p99[2]], failed)


def in_turns(rounds: int, **sides: Callable[[], float]) -> dict[str, float]:
    """The median of each side's figure, over rounds in which every side has its turn."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1, rounds + 1):
        for name, side in sides.items():
            taken[name].append(side())
        say(f"  round {number} of {rounds}: " + ", ".join(f"{name} {taken[name][-1]:,.1f}" for name in sides))
    return {name: statistics.median(figures) for name, figures in taken.items()}


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def private_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process without pages of files that are mapped, as LMDB's are: those the system may drop."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def settled_rss_bytes() -> int:
    """Resident memory of this process after garbage is collected and free memory given back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return rss_bytes()


def run_main(main: Callable[[], None]) -> None:
    """Run a benchmark's main; a skip is said loudly and is exit code 77."""
    try:
        main()
    except Skipped as reason:
        print(f"SKIPPED: {reason}", file=sys.stderr, flush=True)
        sys.exit(77)
