"""What 1,000 market events a second cost a read of a lead: the server's CPU per answer, with them and without.

Reads go round a thousand leads, over 32 connections kept alive: their own views, and all views, into which the market is
joined. The events come in batches of 250, spread over the 20 subjects, each acknowledged when durable and folded;
their whole cost is counted against the reads. So the ratio falls with the rate of reads: it is the server's where its
``core_share`` is near 1, and the machine's where it is not. ``…_at_a_full_core`` is what it comes to when nothing but the
server limits the reads: the processor time a second that the events take beside them, taken from a whole core.
"""

import itertools
import json
import random
import statistics
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from bench.events import lead_events, ndjson
from bench.harness import (
    Claim,
    Server,
    Side,
    cpu_s,
    fetch,
    in_turns,
    leadwheel,
    report,
    require,
    run_main,
    say,
    scratch,
)
from kernel.settings import DEFAULT_SUBJECTS
from kernel.times import DAY_US, MINUTE_US, SECOND_US, format_time

ROUNDS, SECONDS, CONNECTIONS, LEADS = 5, 4, 32, 1000
RATE, BATCH = 1000, 250
HISTORY = 40_000  # market events of the 30 days before

EVENTS = "/v1/orgs/default/events"
SCRIPT = """
local lead = 0
request = function()
  lead = (lead + 7) %% %(leads)d
  return wrk.format("GET", string.format("/v1/orgs/default/leads/lead-%%06d/features%(query)s", lead))
end
"""


def market_events(seed: int = 1) -> Iterator[dict[str, object]]:
    """Events about subjects without end: 40 tutors each, most requests settled soon."""
    chance = random.Random(seed)
    for number in itertools.count():
        subject, tutor = chance.choice(DEFAULT_SUBJECTS), f"t{chance.randrange(40)}"
        kind = chance.choices(
            (
                "tutor_available",
                "tutor_unavailable",
                "match_requested",
                "match_made",
                "match_abandoned",
                "hours_booked",
            ),
            (4, 2, 5, 4, 1, 4),
        )[0]
        request = f"r{max(0, number - chance.randrange(200)) if kind != 'match_requested' else number}"
        data: dict[str, object] = {"tutor_id": tutor}
        if kind.startswith("match"):
            data = {"request_id": request}
        if kind == "match_made":
            data |= {"tutor_id": tutor, "minutes_to_match": chance.randrange(1, 600)}
        elif kind in ("tutor_available", "hours_booked"):
            data["hours"] = chance.randrange(1, 9)
        yield {"id": f"m{seed}-{number}", "subject": subject, "type": kind, "data": data}


class Poster:
    """Posts market events at a steady rate, in a thread of its own, while it is entered."""

    def __init__(self, server: Server, events: Iterator[dict[str, object]]) -> None:
        self._server, self._events = server, events
        self._stop = threading.Event()
        self.posted = 0
        self.took_s = 0.0
        self.failure: Exception | None = None

    def __enter__(self) -> "Poster":
        self._stop.clear()
        self._thread = threading.Thread(target=self._post)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.failure is not None:
            raise RuntimeError("the market's events were not taken") from self.failure

    @property
    def rate(self) -> float:
        return self.posted / self.took_s

    def _post(self) -> None:
        address = urlsplit(self._server.url)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=60)
        began_s = time.monotonic()
        try:
            for turn in itertools.count(1):
                now_us = time.time_ns() // 1000
                batch = list(itertools.islice(self._events, BATCH))
                for place, event in enumerate(batch, 1 - BATCH):  # each at an instant of its own, as they happen
                    event["time"] = format_time(now_us + place * SECOND_US // RATE)
                body = ndjson(batch)
                connection.request("POST", EVENTS, body, {"Content-Type": "application/x-ndjson"})
                answer = json.loads(connection.getresponse().read())
                if answer.get("accepted") != BATCH:
                    raise RuntimeError(f"{answer}"[:500])
                self.posted += BATCH
                if self._stop.wait(max(0.0, began_s + turn * BATCH / RATE - time.monotonic())):
                    break
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits
            self.failure = error
        finally:
            connection.close()
            self.took_s += time.monotonic() - began_s


def load(server: Server) -> None:
    """A thousand leads, and a month of market."""
    for start in range(0, LEADS, 20):
        events = [each for number in range(start, start + 20) for each in lead_events(number)]
        fetch(server.url + EVENTS, body=ndjson(events), kind="application/x-ndjson")
    now_us = time.time_ns() // 1000
    history = market_events(seed=2)
    step_us = (30 * DAY_US - 10 * MINUTE_US) // HISTORY
    for start in range(0, HISTORY, 5000):
        batch = list(itertools.islice(history, 5000))
        for place, event in enumerate(batch, start):
            event["time"] = format_time(now_us - 30 * DAY_US + place * step_us)
        fetch(server.url + EVENTS, body=ndjson(batch), kind="application/x-ndjson")


def events_alone(server: Server, events: Iterator[dict[str, object]]) -> float:
    """The server's CPU for a market event that nobody reads, in microseconds."""
    poster = Poster(server, events)
    before_s = cpu_s(server.process.pid)
    with poster:
        time.sleep(SECONDS)
    return (cpu_s(server.process.pid) - before_s) / poster.posted * 1e6


def write_script(directory: Path, name: str, query: str) -> Path:
    script = directory / f"{name}.lua"
    script.write_text(SCRIPT % {"leads": LEADS, "query": query})
    return script


def _extra_share(still: Side, busy: Side) -> float:
    """Share of a core that events took beside reads: what the reads took more than as many of a still market."""
    return statistics.median(
        share * (1 - still_us / busy_us)
        for share, still_us, busy_us in zip(busy.core_share, still.cpu_us, busy.cpu_us, strict=True)
    )


def main() -> None:
    require("wrk")
    say(f"market: {LEADS} leads read, {RATE} market events a second or none, {ROUNDS} x {SECONDS} s a side")
    with scratch() as directory, leadwheel(directory / "data") as server:
        load(server)
        poster = Poster(server, market_events())
        scripts = {"own": write_script(directory, "own", ""), "all": write_script(directory, "all", "?views=*")}
        sides = {
            f"{name}_{state}": Side(server, "/", connections=CONNECTIONS, seconds=SECONDS)
            for name in scripts
            for state in ("still", "busy")
        }

        def busy(name: str) -> float:
            with poster:
                return sides[f"{name}_busy"].run(scripts[name])

        turns = {}
        for name in scripts:
            turns[f"{name}_still"] = lambda name=name: sides[f"{name}_still"].run(scripts[name])
            turns[f"{name}_busy"] = lambda name=name: busy(name)
        medians = in_turns(ROUNDS, **turns)
        alone_us = events_alone(server, market_events(seed=3))
    cost_us = {name: statistics.median(side.cpu_us) for name, side in sides.items()}
    # Round by round, since neighbours on the machine change from one to the next.
    ratios = {
        name: statistics.median(
            busy_us / still_us
            for busy_us, still_us in zip(sides[f"{name}_busy"].cpu_us, sides[f"{name}_still"].cpu_us, strict=True)
        )
        for name in scripts
    }
    extra_share = {name: _extra_share(sides[f"{name}_still"], sides[f"{name}_busy"]) for name in scripts}
    report(
        "market",
        [
            Claim("CPU per read of own views", ratios["own"], 1.10, "of a still market", True),
            Claim("CPU per read of all views", ratios["all"], 1.10, "of a still market", True),
        ],
        {
            "market_events_per_s": poster.rate,
            "cpu_us_per_event_without_reads": alone_us,
            "all_ratio_without_the_events_own_cost": (cost_us["all_busy"] - alone_us * RATE / medians["all_busy"])
            / cost_us["all_still"],
            **{f"{name}_ratio_at_a_full_core": 1 / (1 - share) for name, share in extra_share.items()},
            **{f"{name}_per_s": rate for name, rate in medians.items()},
            **{key: value for name, side in sides.items() for key, value in side.figures(name).items()},
        },
    )


if __name__ == "__main__":
    run_main(main)
