"""Single events over 64 connections, each durable and folded before its answer, against a bare aiohttp handler.

The bare handler reads the body and answers with bytes of the same size.
"""

import itertools
import statistics
from pathlib import Path

from bench.harness import (
    Claim,
    Side,
    bare_aiohttp,
    command,
    fetch,
    in_turns,
    leadwheel,
    report,
    require,
    run_main,
    say,
    scratch,
)

ROUNDS, SECONDS, CONNECTIONS, LEADS = 3, 5, 64, 1000
PATH = "/v1/orgs/default/events"

SCRIPT = """
local sent = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %(key)s"
request = function()
  sent = sent + 1
  return wrk.format(nil, nil, nil, string.format(
    '{"id":"r%(round)d-%%d","lead":"lead-%%06d","type":"interaction","data":{"action":"view","item":"item-%%d"}}',
    sent, sent %% %(leads)d, sent %% 500))
end
"""


def main() -> None:
    require("wrk")
    say(f"ingest_single: one event a request, {CONNECTIONS} connections, {ROUNDS} x {SECONDS} s a side")
    scripts = itertools.count(1)
    with scratch() as directory:
        data = directory / "data"
        key = command("keys", "create", "--data-dir", str(data), "--org", "default", "--scopes", "admin")
        with leadwheel(data) as server:
            body = b'{"id":"first","lead":"lead-000000","type":"interaction","data":{"action":"view"}}'
            answer, _ = fetch(server.url + PATH, body=body, key=key)
            with bare_aiohttp(answer) as peer:
                ours = Side(server, PATH, connections=CONNECTIONS, seconds=SECONDS)
                bare = Side(peer, "/", connections=CONNECTIONS, seconds=SECONDS)
                medians = in_turns(
                    ROUNDS,
                    ours=lambda: ours.run(write_script(directory, key, next(scripts))),
                    bare=lambda: bare.run(write_script(directory, key, next(scripts))),
                )
    report(
        "ingest_single",
        [Claim("durable single posts", medians["ours"] / medians["bare"], 0.4)],
        {
            "ours_per_s": medians["ours"],
            "bare_per_s": medians["bare"],
            "ratio_by_cpu": statistics.median(bare.cpu_us) / statistics.median(ours.cpu_us),
            **ours.figures("ours"),
            **bare.figures("bare"),
        },
    )


def write_script(directory: Path, key: str, round_: int) -> Path:
    script = directory / "post.lua"
    script.write_text(SCRIPT % {"key": key, "round": round_, "leads": LEADS})
    return script


if __name__ == "__main__":
    run_main(main)
