"""Decisions over HTTP, each durable before its answer, on 32 connections, against a bare aiohttp POST handler.

The policy's context is 60 numbers of a lead with events, eight arms with features, and a linear model that has learned. The
bare handler reads the body and answers with bytes of the same size. Beside both stands the floor: the bare handler, and a row
like a decision's in an SQLite log before the answer, of which nothing was decided (``bench.durable_peer``).
"""

import contextlib
import itertools
import sqlite3
import statistics
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import msgspec

from bandit.events import DECISION_MADE
from bench.harness import (
    Claim,
    Server,
    Side,
    bare_aiohttp,
    command,
    fetch,
    free_port,
    in_turns,
    leadwheel,
    report,
    require,
    run_main,
    say,
    scratch,
)
from bench.posting import post_all
from kernel.settings import OrgSettings
from projections.catalogue import Catalogue

ROUNDS, SECONDS, CONNECTIONS, LEADS, LEARNED = 3, 5, 32, 1000, 300
NUMBERS, ARMS = 60, 8
BASE = "/v1/orgs/default"
PATH = f"{BASE}/policies/offers/decide"

SCRIPT = """
local sent = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %(key)s"
request = function()
  sent = sent + 1
  return wrk.format(nil, nil, nil, string.format('{"lead":"lead-%%06d"}', (sent * 7919 + %(round)d) %% %(leads)d))
end
"""


def main() -> None:
    require("wrk")
    say(f"decide_http: one decision a request, {CONNECTIONS} connections, {ROUNDS} x {SECONDS} s a side")
    scripts = itertools.count(1)
    with scratch() as directory:
        data = directory / "data"
        data.mkdir()
        with leadwheel(data) as server:
            post_all(server.url, [b"".join(events())])
            define(server.url)
        key = command("keys", "create", "--data-dir", str(data), "--org", "default", "--scopes", "admin")
        with leadwheel(data) as server:
            answer, _ = fetch(server.url + PATH, body=b'{"lead":"lead-000001"}', key=key)
            with bare_aiohttp(answer) as bare_peer, durable_aiohttp(answer, logged(data), directory) as floor_peer:
                ours = Side(server, PATH, connections=CONNECTIONS, seconds=SECONDS)
                bare = Side(bare_peer, "/", connections=CONNECTIONS, seconds=SECONDS)
                floor = Side(floor_peer, "/", connections=CONNECTIONS, seconds=SECONDS)
                medians = in_turns(
                    ROUNDS,
                    ours=lambda: ours.run(write_script(directory, key, next(scripts))),
                    bare=lambda: bare.run(write_script(directory, key, next(scripts))),
                    floor=lambda: floor.run(write_script(directory, key, next(scripts))),
                )
    report(
        "decide_http",
        [Claim("durable decisions", medians["ours"] / medians["bare"], 0.35)],
        {
            "ours_per_s": medians["ours"],
            "bare_per_s": medians["bare"],
            "floor_per_s": medians["floor"],
            "ratio_by_cpu": statistics.median(bare.cpu_us) / statistics.median(ours.cpu_us),
            "floor_of_the_peer": medians["floor"] / medians["bare"],
            "floor_of_the_peer_by_cpu": statistics.median(bare.cpu_us) / statistics.median(floor.cpu_us),
            "answer_bytes": len(answer),
            **ours.figures("ours"),
            **bare.figures("bare"),
            **floor.figures("floor"),
        },
    )


def durable_aiohttp(answer: bytes, payload: bytes, directory: Path) -> Server:
    """The floor: aiohttp, and a row with this payload in a log of its own."""
    port = free_port()
    (directory / "answer").write_bytes(answer)
    (directory / "payload").write_bytes(payload)
    arguments = ["-m", "bench.durable_peer", "--port", str(port), "--answer", str(directory / "answer")]
    arguments += ["--payload", str(directory / "payload"), "--directory", str(directory)]
    return Server(arguments, url=f"http://127.0.0.1:{port}", ready="/ready")


def logged(data: Path) -> bytes:
    """The payload of the newest decision in a log."""
    sql = (
        "SELECT data FROM events WHERE type IN (SELECT number FROM types WHERE name = ?) ORDER BY position DESC LIMIT 1"
    )
    with contextlib.closing(sqlite3.connect(f"file:{data / 'events.db'}?mode=ro", uri=True)) as connection:
        return bytes(connection.execute(sql, (DECISION_MADE,)).fetchone()[0])


def events() -> "itertools.chain[bytes]":
    """A few events of each lead."""
    return itertools.chain.from_iterable(
        (
            msgspec.json.encode(
                {"id": f"p{n}", "lead": lead, "type": "purchase_completed", "data": {"amount": n % 97 + 1}}
            )
            + b"\n",
            msgspec.json.encode(
                {"id": f"i{n}", "lead": lead, "type": "interaction", "data": {"action": "view", "item": str(n % 50)}}
            )
            + b"\n",
        )
        for n in range(3 * LEADS)
        for lead in (f"lead-{n % LEADS:06d}",)
    )


def features() -> list[str]:
    """As many numbers of a lead's own, in the catalogue's order."""
    catalogue = Catalogue("default", OrgSettings())
    numbers = [each.feature for each in catalogue.features if each.dtype in ("int", "float")]
    return numbers[:NUMBERS]


def define(url: str) -> None:
    """The service, the policy, and some rewards to learn from."""
    put(f"{url}{BASE}/services/wide", {"features": features()})
    arms = [{"id": f"arm-{n}", "features": {"channel": ["mail", "phone"][n % 2], "cost": n}} for n in range(ARMS)]
    policy: dict[str, Any] = {"arms": arms, "context": "wide", "reward": {"aggregation": "earliest"}}
    put(f"{url}{BASE}/policies/offers", policy)
    for number in range(LEARNED):
        body = msgspec.json.encode({"lead": f"lead-{number:06d}", "decision_id": f"d{number}"})
        fetch(url + PATH, body=body)
        fetch(f"{url}{BASE}/decisions/d{number}/reward", body=b'{"value": %d}' % (number % 2))


def put(url: str, body: object) -> None:
    request = Request(url, data=msgspec.json.encode(body), method="PUT", headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=60):
        pass


def write_script(directory: Path, key: str, round_: int) -> Path:
    script = directory / "decide.lua"
    script.write_text(SCRIPT % {"key": key, "round": round_, "leads": LEADS})
    return script


if __name__ == "__main__":
    run_main(main)
