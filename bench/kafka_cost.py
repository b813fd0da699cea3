"""What the log on Kafka costs one process, beside the same service on SQLite: per event, per single post, per read, and to begin anew.

Both services take the same events in turns, on one core; the broker shares the other core with the load. So rates are those of
a machine that is too small, and processor time is what is compared: of the service, and of the broker beside it.
"""

import itertools
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.events import batches
from bench.harness import (
    LOAD_CORE,
    Claim,
    Server,
    Side,
    Skipped,
    command,
    cpu_s,
    in_turns,
    leadwheel,
    pin_self,
    private_bytes,
    report,
    require,
    run_main,
    say,
    scratch,
    write_settings,
)
from bench.ingest_durable import log_file
from bench.ingest_single import PATH, SCRIPT
from bench.posting import post_all
from tests.broker.cluster import Cluster, missing_tools, running_cluster

ROUNDS, LEADS_A_ROUND, PER_LEAD, SIZE, CONNECTIONS = 3, 1000, 30, 1000, 4
EVENTS_A_ROUND = LEADS_A_ROUND * PER_LEAD
SECONDS, SINGLES, READERS = 4, 64, 32
PARTITIONS = 12
READ = "/v1/orgs/default/leads/lead-000000/features"


class Posting:
    """One service, and what its turns of posting cost."""

    def __init__(self, server: Server, broker_pid: int | None) -> None:
        self._server, self._broker_pid = server, broker_pid
        self.cpu_us: list[float] = []
        self.broker_us: list[float] = []

    def post(self, bodies: list[bytes]) -> float:
        """Events a second of one turn."""
        before_s, broker_s = cpu_s(self._server.process.pid), self._broker_s()
        rate = post_all(self._server.url, bodies, connections=CONNECTIONS)
        self.cpu_us.append((cpu_s(self._server.process.pid) - before_s) / EVENTS_A_ROUND * 1e6)
        self.broker_us.append((self._broker_s() - broker_s) / EVENTS_A_ROUND * 1e6)
        return rate

    def _broker_s(self) -> float:
        return 0.0 if self._broker_pid is None else cpu_s(self._broker_pid)


def main() -> None:
    require("wrk")
    if missing := missing_tools():
        raise Skipped(f"not installed: {', '.join(missing)}")
    pin_self(LOAD_CORE)
    say(f"kafka_cost: {ROUNDS} x {EVENTS_A_ROUND:,} events in batches of {SIZE:,}; {PARTITIONS} partitions, one broker")
    with scratch() as directory, running_cluster(directory / "kafka") as cluster:
        flags = ("--kafka", cluster.bootstrap, "--topic", "bench")
        command("create-topic", *flags, "--partitions", str(PARTITIONS), "--data-dir", str(directory))
        with (
            leadwheel(write_settings(directory / "sqlite")) as sqlite,
            leadwheel(write_settings(directory / "kafka-data"), *flags) as kafka,
        ):
            figures = measure(directory, cluster, sqlite, kafka)
        figures |= beginnings(directory, flags, figures["events"])
    report(
        "kafka_cost",
        [Claim("processor time of a durable event", figures["event_cost"], 2, "of SQLite's", True)],
        figures,
    )


def measure(directory: Path, cluster: Cluster, sqlite: Server, kafka: Server) -> dict[str, float]:
    """Every figure but those of another start."""
    bodies = rounds()
    sides = {"sqlite": Posting(sqlite, None), "kafka": Posting(kafka, broker_pid(cluster))}
    waiting = {name: iter(bodies) for name in sides}
    turns = {name: lambda name=name: sides[name].post(next(waiting[name])) for name in sides}  # type: ignore[misc]
    rates = in_turns(ROUNDS, **turns)
    events = ROUNDS * EVENTS_A_ROUND
    sizes = {
        "sqlite_log_bytes_per_event": log_file(directory / "sqlite").stat().st_size / events,
        "kafka_copy_bytes_per_event": log_file(directory / "kafka-data").stat().st_size / events,
        "topic_bytes_per_event": topic_bytes(directory / "kafka") / events,
        "sqlite_private_mb": private_bytes(sqlite.process.pid) / 1e6,
        "kafka_private_mb": private_bytes(kafka.process.pid) / 1e6,
    }
    cost = {name: statistics.median(side.cpu_us) for name, side in sides.items()}
    singles, single_cost, posted = single_posts(directory, sqlite, kafka)
    reads, read_cost = reading(sqlite, kafka)
    return {
        "events": float(events + posted),
        "event_cost": cost["kafka"] / cost["sqlite"],
        "single_cost": single_cost["kafka"] / single_cost["sqlite"],
        "read_cost": read_cost["kafka"] / read_cost["sqlite"],
        "broker_us_per_event": statistics.median(sides["kafka"].broker_us),
        **{f"{name}_events_per_s": rate for name, rate in rates.items()},
        **{f"{name}_cpu_us_per_event": each for name, each in cost.items()},
        **{f"{name}_posts_per_s": each for name, each in singles.items()},
        **{f"{name}_cpu_us_per_post": each for name, each in single_cost.items()},
        **{f"{name}_reads_per_s": each for name, each in reads.items()},
        **{f"{name}_cpu_us_per_read": each for name, each in read_cost.items()},
        **sizes,
    }


def rounds() -> list[list[bytes]]:
    firsts = range(0, ROUNDS * LEADS_A_ROUND, LEADS_A_ROUND)
    return [list(batches(range(first, first + LEADS_A_ROUND), PER_LEAD, SIZE)) for first in firsts]


def single_posts(directory: Path, sqlite: Server, kafka: Server) -> tuple[dict[str, float], dict[str, float], float]:
    """Rates and processor time of one event a request, and how many the topic took."""
    limits = {"connections": SINGLES, "seconds": SECONDS}
    sides = {"sqlite": Side(sqlite, PATH, **limits), "kafka": Side(kafka, PATH, **limits)}
    scripts = script_files(directory)
    taken: list[float] = []

    def turn(name: str) -> float:
        rate = sides[name].run(next(scripts))
        if name == "kafka":
            taken.append(rate * SECONDS)
        return rate

    rates = in_turns(ROUNDS, **{name: lambda name=name: turn(name) for name in sides})  # type: ignore[misc]
    return rates, {name: statistics.median(side.cpu_us) for name, side in sides.items()}, sum(taken)


def script_files(directory: Path) -> Iterator[Path]:
    """Programs for wrk, each with ids of its own."""
    for number in itertools.count(1):
        script = directory / "post.lua"
        text = SCRIPT % {"key": "", "round": number, "leads": LEADS_A_ROUND}
        script.write_text(text.replace('wrk.headers["Authorization"] = "Bearer "\n', ""))
        yield script


def reading(sqlite: Server, kafka: Server) -> tuple[dict[str, float], dict[str, float]]:
    limits = {"connections": READERS, "seconds": SECONDS}
    sides = {"sqlite": Side(sqlite, READ, **limits), "kafka": Side(kafka, READ, **limits)}
    rates = in_turns(ROUNDS, **{name: side.run for name, side in sides.items()})
    return rates, {name: statistics.median(side.cpu_us) for name, side in sides.items()}


def broker_pid(cluster: Cluster) -> int:
    process = cluster.brokers[0]._process
    if process is None:
        raise RuntimeError("the broker does not run")
    return process.pid


def topic_bytes(directory: Path) -> int:
    """What the topic's segments hold; the files themselves are made larger than that in advance."""
    return sum(path.stat().st_size for path in directory.rglob("bench-*/*.log"))


def beginnings(directory: Path, flags: Sequence[str], events: float) -> dict[str, float]:
    """A start that makes its copy from the topic, beside one of a service that has no events."""
    with leadwheel(write_settings(directory / "empty")) as empty:
        plain_s, plain_cpu_s = empty.ready_s, cpu_s(empty.process.pid)
    with leadwheel(write_settings(directory / "fresh"), *flags) as again:
        anew_cpu_s = cpu_s(again.process.pid)
        return {
            "start_s": plain_s,
            "begin_anew_s": again.ready_s,
            "begin_anew_us_per_event": (again.ready_s - plain_s) / events * 1e6,
            "begin_anew_cpu_us_per_event": (anew_cpu_s - plain_cpu_s) / events * 1e6,
        }


if __name__ == "__main__":
    run_main(main)
