"""One lead's full vector, asked of the node that owns it and of one that does not: what the way through another node costs.

Two processes with a fixed map and no Kafka, both on one core, so that what a read costs is what both of them take for it; a read at the
owner takes the same path through its front.
"""

import contextlib
import statistics

from bench.events import lead_events, ndjson
from bench.harness import Claim, Side, cpu_s, fetch, in_turns, report, require, run_main, say, wrk
from bench.static_nodes import start

ROUNDS, SECONDS, CONNECTIONS = 5, 4, 32
PATH = "/v1/orgs/default/leads/lead-000000/features"


class Through(Side):
    """A side whose requests take the time of two processes."""

    def __init__(self, front: Side, behind: Side) -> None:
        self._front, self._behind = front, behind
        self.both_us: list[float] = []

    def run(self, script: object = None) -> float:
        pid = self._behind.server.process.pid
        before_s = cpu_s(pid)
        rate = self._front.run()
        self.both_us.append(self._front.cpu_us[-1] + (cpu_s(pid) - before_s) / (rate * SECONDS) * 1e6)
        return rate


def main() -> None:
    require("wrk")
    say(f"forwarded_read: one lead's full vector, {CONNECTIONS} connections, {ROUNDS} x {SECONDS} s a side")
    with contextlib.ExitStack() as stack:
        other, owner = [stack.enter_context(server) for server in start(2, 2)]
        fetch(f"{other.url}/v1/orgs/default/events", body=ndjson(list(lead_events(0))), kind="application/x-ndjson")
        here, there = fetch(owner.url + PATH), fetch(other.url + PATH)
        if here[0] != there[0] or here[1]["ETag"] != there[1]["ETag"]:
            raise RuntimeError("the two nodes answer differently")
        local = Side(owner, PATH, connections=CONNECTIONS, seconds=SECONDS)
        through = Through(Side(other, PATH, connections=CONNECTIONS, seconds=SECONDS), local)
        medians = in_turns(ROUNDS, local=local.run, forwarded=through.run)
        alone_ms = {
            name: statistics.median(_alone_ms(server.url + PATH) for _ in range(ROUNDS))
            for name, server in (("local", owner), ("forwarded", other))
        }
    local_us, both_us = statistics.median(local.cpu_us), statistics.median(through.both_us)
    report(
        "forwarded_read",
        [Claim("processor time of a forwarded read, both nodes", both_us / local_us, 2.5, "of a local one", True)],
        {
            "local_us": local_us,
            "forwarded_us": both_us,
            "local_per_s": medians["local"],
            "forwarded_per_s": medians["forwarded"],
            "forwarded_by_rate": medians["local"] / medians["forwarded"],
            "one_at_a_time_local_ms": alone_ms["local"],
            "one_at_a_time_forwarded_ms": alone_ms["forwarded"],
            "answer_bytes": len(here[0]),
        },
    )


def _alone_ms(url: str) -> float:
    """How long a read takes where nothing else is asked."""
    seen = wrk(url, connections=1, seconds=1)
    if seen.failed:
        raise RuntimeError(f"{seen.failed} requests failed")
    return 1000 / seen.requests_per_s


if __name__ == "__main__":
    run_main(main)
