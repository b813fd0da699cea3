"""Ready with 200,000 leads on disk: after a clean stop, and after kill -9 under load; a bare aiohttp start beside it."""

import statistics
import threading
from collections.abc import Callable

from bench.events import batches
from bench.harness import (
    LOAD_CORE,
    Claim,
    bare_aiohttp,
    fetch,
    leadwheel,
    pin_self,
    report,
    run_main,
    say,
    scratch,
    write_settings,
)
from bench.posting import post_all

LEADS, PER_LEAD, ROUNDS = 200_000, 5, 3
LEAD_PATH = "/v1/orgs/default/leads/lead-000000/features"


def main() -> None:
    pin_self(LOAD_CORE)
    say(f"start: {LEADS:,} leads with {PER_LEAD} events each on disk, ready = /readyz says 200")
    clean_s, killed_s, bare_s = [], [], []
    with scratch() as directory:
        with leadwheel(write_settings(directory)) as server:
            filled_per_s = post_all(server.url, batches(range(LEADS), PER_LEAD))
            say(f"  filled at {filled_per_s:,.0f} events a second")
        for round_ in range(1, ROUNDS + 1):
            with bare_aiohttp(b"{}") as bare:
                bare_s.append(bare.ready_s)
            with leadwheel(directory) as server:
                clean_s.append(server.ready_s)
                fetch(server.url + LEAD_PATH)
                kill_under_load(server.url, server.process.kill, first=LEADS + round_ * 20_000)
            with leadwheel(directory) as server:
                killed_s.append(server.ready_s)
                fetch(server.url + LEAD_PATH)
            say(f"  round {round_}: clean {clean_s[-1]:.2f} s, killed {killed_s[-1]:.2f} s, bare {bare_s[-1]:.2f} s")
    report(
        "start",
        [
            Claim("ready after a clean stop", statistics.median(clean_s), 2, "s", is_upper_bound=True),
            Claim("ready after kill -9", max(killed_s), 10, "s", is_upper_bound=True),
        ],
        {"clean_s": clean_s, "killed_s": killed_s, "bare_s": bare_s, "filled_events_per_s": filled_per_s},
    )


def kill_under_load(url: str, kill: Callable[[], None], *, first: int) -> None:
    """Kill the server two seconds into a stream of batches about new leads."""
    timer = threading.Timer(2.0, kill)
    timer.start()
    try:
        post_all(url, batches(range(first, first + 20_000), PER_LEAD))
    except RuntimeError:
        return  # the connection broke, as it should
    finally:
        timer.join()


if __name__ == "__main__":
    run_main(main)
