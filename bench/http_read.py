"""One lead's full vector over HTTP, 32 connections kept alive, against a bare aiohttp handler of ready bytes.

Ours checks a key, counts and times every request, and has its whole route table registered.
"""

import statistics

from bench.events import lead_events, ndjson
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

ROUNDS, SECONDS, CONNECTIONS = 3, 5, 32
PATH = "/v1/orgs/default/leads/lead-000000/features"


def main() -> None:
    require("wrk")
    say(f"http_read: one lead's full vector, {CONNECTIONS} connections, {ROUNDS} x {SECONDS} s a side")
    events = ndjson(list(lead_events(0)))
    with scratch() as directory:
        key = command("keys", "create", "--data-dir", str(directory / "keyed"), "--org", "default", "--scopes", "admin")
        with leadwheel(directory / "keyed") as keyed, leadwheel(directory / "open") as keyless:
            for server, secret in ((keyed, key), (keyless, None)):
                fetch(f"{server.url}/v1/orgs/default/events", body=events, kind="application/x-ndjson", key=secret)
            answer, headers = fetch(keyed.url + PATH, key=key)
            head = sum(len(name) + len(value) + 4 for name, value in headers.items())
            limits = {"connections": CONNECTIONS, "seconds": SECONDS}
            with bare_aiohttp(answer) as bare:
                sides = {
                    "keyed": Side(keyed, PATH, f"Authorization: Bearer {key}", **limits),
                    "keyless": Side(keyless, PATH, **limits),
                    "bare": Side(bare, "/", **limits),
                }
                medians = in_turns(ROUNDS, **{name: side.run for name, side in sides.items()})
    cost_us = {name: statistics.median(side.cpu_us) for name, side in sides.items()}
    report(
        "http_read",
        [Claim("a key checked, metrics on, all routes registered", medians["keyed"] / medians["bare"], 0.70)],
        {
            "keyless_ratio": medians["keyless"] / medians["bare"],
            "keyed_per_s": medians["keyed"],
            "keyless_per_s": medians["keyless"],
            "bare_per_s": medians["bare"],
            "keyed_ratio_by_cpu": cost_us["bare"] / cost_us["keyed"],
            "keyless_ratio_by_cpu": cost_us["bare"] / cost_us["keyless"],
            **{key: value for name, side in sides.items() for key, value in side.figures(name).items()},
            "answer_bytes": len(answer),
            "header_bytes": head,
        },
    )


if __name__ == "__main__":
    run_main(main)
