"""Predictions over HTTP, each made anew, explained and durable, against the bare calls of the same models; bulk; holds of the loop.

The peer is what the models themselves take for one lead: the three champions' probabilities and their reasons, from the
lead's values, in a loop in one process. ``probabilities`` is the least of that, without the reasons. Ours adds all
that a prediction is besides: the lead read, rules, risks, recommendations, the event on disk, the answer. One
connection, so that the figure is a wait and not a queue. Bulk is a job over all leads, every prediction forced.

While both run, and under eight connections at once, a pulse in the service's loop measures for how long the loop did
not turn (``bench/watched.py``).
"""

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from threadpoolctl import threadpool_limits

from bench.harness import (
    SERVER_CORE,
    Claim,
    Server,
    command,
    cpu_s,
    fetch,
    free_port,
    in_turns,
    pin_self,
    report,
    require,
    run_main,
    say,
    scratch,
    wrk,
)
from bench.posting import post_all
from kernel.settings import OrgSettings
from kernel.settings_scoring import ScoringSettings
from projections.catalogue import Catalogue
from scoring.estimates import estimates_of
from scoring.features import feature_set
from scoring.model import FAMILIES
from scoring.registry import ids, load, version
from scoring.trained import Models, Trained

LEADS, ROUNDS, CALLS, BULKS, SECONDS, CONNECTIONS = 2000, 5, 100, 3, 5, 8
BATCH = 2000  # events a request
BASE, SCORING = "/v1/orgs/default", "/api/lead-scoring"
FORCED = b'{"forceRefresh":true}'

SCRIPT = """
local sent = 0
request = function()
  sent = sent + 1
  local path = string.format("/api/lead-scoring/leads/lead-%%06d/ml/predict", (sent * 7919) %% %(leads)d)
  return wrk.format("POST", path, {["Content-Type"] = "application/json"}, '{"forceRefresh":true}')
end
"""


def main() -> None:
    require("wrk")
    say(f"predict_http: {LEADS} leads of synth, three models; {ROUNDS} x {CALLS} predictions a side, {BULKS} bulk jobs")
    with scratch() as directory:
        data = directory / "data"
        data.mkdir()
        prepare(directory, data)
        pin_self(SERVER_CORE)  # both sides on one core, in turns
        with watched(data) as (server, holds):
            promote(server.url, data)
            singles = measure_singles(server, data)
            holds_of = {"singles": holds()}
            warm = timed(lambda path: ask(server, path, b"{}"))
            rates = [bulk_rate(server) for _ in range(BULKS)]
            holds_of["bulk"] = holds()
            load_s = flood(server, directory)
            holds_of["flood"] = holds()
            time.sleep(SECONDS)
            holds_of["idle"] = holds()
    longest_ms = max(each["longest_busy_ms"] for name, each in holds_of.items() if name != "idle")
    report(
        "predict_http",
        [
            Claim("a prediction over HTTP", singles["ours"] / singles["models"], 3.0, "times the models", True),
            Claim("bulk predictions", statistics.median(rates), 60_000, "a minute"),
            Claim("longest hold of the loop", longest_ms, 20.0, "ms of processor time", True),
        ],
        {
            **{f"{name}_ms": value for name, value in singles.items()},
            "times_probabilities_alone": singles["ours"] / singles["probabilities"],
            "stored_ms": warm,
            "bulk_per_minute": [round(rate) for rate in rates],
            "flood_per_s": load_s,
            **{f"{name}_{key}": value for name, each in holds_of.items() for key, value in each.items()},
        },
    )


def prepare(directory: Path, data: Path) -> None:
    """A log of invented leads whose end is now, and models trained on it."""
    log = directory / "log.ndjson"
    today = time.strftime("%Y-%m-%d", time.gmtime())
    command("synth", "--leads", str(LEADS), "--seed", "3", "--end", today, "--out", str(log))
    with watched(data) as (server, _), log.open("rb") as file:
        lines = iter(file)
        post_all(server.url, iter(lambda: b"".join(itertools.islice(lines, BATCH)), b""))
    say("  training")
    command("train", "--data-dir", str(data))


@contextlib.contextmanager
def watched(data: Path) -> Iterator[tuple[Server, Callable[[], dict[str, float]]]]:
    """Our service, and what asks for the longest holds since the last time."""
    port, pulse_port = free_port(), free_port()
    arguments = ["-m", "bench.watched", "--data-dir", str(data), "--port", str(port), "--pulse-port", str(pulse_port)]

    def holds() -> dict[str, float]:
        found: dict[str, float] = msgspec.json.decode(fetch(f"http://127.0.0.1:{pulse_port}/")[0])
        return found

    with Server(arguments, url=f"http://127.0.0.1:{port}", ready="/readyz", timeout_s=120) as server:
        holds()  # what came before it was ready
        yield server, holds


def promote(url: str, data: Path) -> None:
    for model in ids(data / "models" / "default"):
        fetch(f"{url}{BASE}/models/{model}/promote", body=b"{}")


def measure_singles(server: Server, data: Path) -> dict[str, float]:
    """Medians in milliseconds: over HTTP, the models' calls, their probabilities alone; and our processor time."""
    models, settings = champions(data), ScoringSettings()
    values = [lead_values(server.url, lead) for lead in leads(CALLS)]
    numbers = iter(itertools.cycle(values))
    # As the service does it: threads for such small matrices only wait for each other.
    threadpool_limits(limits=1)
    began_s = cpu_s(server.process.pid)
    medians = in_turns(
        ROUNDS,
        ours=lambda: timed(lambda path: ask(server, path, FORCED)),
        models=lambda: timed(lambda _: estimates_of([next(numbers)], models, settings)),
        probabilities=lambda: timed(lambda _: probabilities(models, next(numbers))),
    )
    used_s = cpu_s(server.process.pid) - began_s
    return {**medians, "ours_cpu": used_s / ((CALLS + WARMING) * ROUNDS) * 1e3}


WARMING = 5


def timed(call: Callable[[str], object]) -> float:
    """The median of so many calls, in milliseconds, after a few that warm."""
    took_s = []
    for number, lead in enumerate(leads(CALLS + WARMING)):
        began_s = time.perf_counter()
        call(f"{SCORING}/leads/{lead}/ml/predict")
        if number >= WARMING:
            took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s) * 1e3


_CONNECTIONS: dict[str, HTTPConnection] = {}


def ask(server: Server, path: str, body: bytes) -> bytes:
    """One request over a connection that is kept."""
    address = urlsplit(server.url)
    connection = _CONNECTIONS.get(server.url)
    if connection is None:
        connection = _CONNECTIONS[server.url] = HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{path}: {answer.status} {content[:300]!r}")
    return content


def leads(count: int) -> Iterator[str]:
    return (f"lead-{number * 13 % LEADS:06d}" for number in range(count))


def lead_values(url: str, lead: str) -> dict[str, Any]:
    body, _ = fetch(f"{url}{BASE}/leads/{lead}/features")
    found: dict[str, Any] = msgspec.json.decode(body)["values"]
    return found


def champions(data: Path) -> Models:
    """The models, as the service has them."""
    catalogue, directory = Catalogue("default", OrgSettings()), data / "models" / "default"
    found: dict[str, Any] = {}
    for model_id in ids(directory):
        card = version(directory, model_id).card
        trained: Trained[Any] = Trained(
            model_id, card, feature_set(catalogue, card.features), load(directory, model_id)
        )
        trained.warm()
        found[card.family] = trained
    if set(found) != set(FAMILIES):
        raise RuntimeError(f"only {sorted(found)} could be trained")
    return Models(**found)


def probabilities(models: Models, values: dict[str, Any]) -> object:
    """What the models say, without why."""
    conversion, closing, network = models
    if conversion is None or closing is None or network is None:
        raise RuntimeError("a model is missing")
    rows = conversion.rows([values])
    return (
        conversion.model.predict_proba(rows),
        closing.model.curve(rows),
        network.model.churn.predict_proba(rows),
        network.model.calls.predict_proba(rows),
        network.model.health(rows),
    )


def bulk_rate(server: Server) -> float:
    """Predictions a minute of one job over all leads."""
    path = f"{SCORING}/default/ml"
    began_s = time.perf_counter()
    body = msgspec.json.encode({"limit": LEADS, "forceRefresh": True})
    job = msgspec.json.decode(ask(server, f"{path}/bulk-predict", body))["jobId"]
    while True:
        found = msgspec.json.decode(fetch(f"{server.url}{path}/jobs/{job}")[0])
        if found["state"] != "running":
            break
        time.sleep(0.02)
    took_s = time.perf_counter() - began_s
    if found["state"] != "done" or found["result"]["predicted"] != LEADS:
        raise RuntimeError(f"{found}")
    rate = LEADS / took_s * 60
    say(f"  bulk: {rate:,.0f} a minute")
    return rate


def flood(server: Server, directory: Path) -> float:
    """Forced predictions a second over several connections."""
    script = directory / "predict.lua"
    script.write_text(SCRIPT % {"leads": LEADS})
    seen = wrk(server.url + "/", connections=CONNECTIONS, seconds=SECONDS, script=script)
    if seen.failed:
        raise RuntimeError(f"{seen.failed} predictions failed")
    return seen.requests_per_s


if __name__ == "__main__":
    run_main(main)
