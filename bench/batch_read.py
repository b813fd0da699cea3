"""Fifty leads × all features in one request, against Feast's Python server with as many features beside it.

Feast lives in an environment of its own, ``.venv-feast``, made at the first run; where it cannot be installed the
comparison is skipped loudly and our own figures are reported alone.
"""

import json
import subprocess
import sys
from pathlib import Path

from bench.events import lead_events, ndjson
from bench.harness import (
    ROOT,
    Claim,
    Server,
    Skipped,
    fetch,
    free_port,
    in_turns,
    leadwheel,
    report,
    require,
    run_main,
    say,
    scratch,
    wrk,
)

ROUNDS, SECONDS, LEADS, CONNECTIONS = 3, 5, 50, 4
VENV = ROOT / ".venv-feast"
FEAST = "feast==0.67.*"
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[%s]==]
"""


def main() -> None:
    require("wrk")
    say(f"batch_read: {LEADS} leads x all features in one request, {CONNECTIONS} connections")
    with scratch() as directory, leadwheel(directory / "data") as ours:
        events = [event for number in range(LEADS) for event in lead_events(number)]
        fetch(f"{ours.url}/v1/orgs/default/events", body=ndjson(events), kind="application/x-ndjson")
        body = json.dumps({"leads": [f"lead-{number:06d}" for number in range(LEADS)], "views": ["*"]})
        answer, _ = fetch(f"{ours.url}/v1/orgs/default/features", body=body.encode())
        found = json.loads(answer)
        features = len(found["names"])
        if any(len(result["values"]) != features for result in found["results"]):
            raise RuntimeError("a lead was not answered in full")
        script = write_script(directory / "ours.lua", body)

        def ours_per_s() -> float:
            return load(f"{ours.url}/v1/orgs/default/features", script)

        try:
            with feast(directory / "feast", features) as peer:
                asked = {
                    "features": [f"leads:f{index}" for index in range(features)],
                    "entities": {"lead": [f"lead-{number:06d}" for number in range(LEADS)]},
                }
                check_feast(peer, asked, features)
                peer_script = write_script(directory / "feast.lua", json.dumps(asked))
                medians = in_turns(
                    ROUNDS,
                    ours=ours_per_s,
                    feast=lambda: load(f"{peer.url}/get-online-features", peer_script),
                )
            claims = [Claim("batch reads", medians["ours"] / medians["feast"], 20, "times Feast")]
        except Skipped as reason:
            print(f"SKIPPED the comparison: {reason}", file=sys.stderr, flush=True)
            medians = in_turns(ROUNDS, ours=ours_per_s)
            claims = []
    vectors = {f"{side}_vectors_per_s": rate * LEADS for side, rate in medians.items()}
    requests = {f"{side}_requests_per_s": rate for side, rate in medians.items()}
    report("batch_read", claims, {**vectors, **requests, "features": features, "answer_bytes": len(answer)})


def load(url: str, script: Path) -> float:
    seen = wrk(url, connections=CONNECTIONS, seconds=SECONDS, script=script)
    if seen.failed:
        raise RuntimeError(f"{seen.failed} requests to {url} failed")
    return seen.requests_per_s


def write_script(path: Path, body: str) -> Path:
    path.write_text(SCRIPT % body)
    return path


def feast(directory: Path, features: int) -> Server:
    """Feast's Python server on an SQLite online store with one view of so many float features, filled."""
    python = VENV / "bin" / "python"
    if not (VENV / ".installed").exists():
        say(f"  installing {FEAST} into {VENV.name}, once")
        try:
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, capture_output=True)
            subprocess.run([str(python), "-m", "pip", "install", "-q", FEAST], check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            raise Skipped(f"{FEAST} cannot be installed: {error.stderr.decode()[-300:]}") from error
        (VENV / ".installed").touch()
    directory.mkdir()
    peer = Path(__file__).with_name("feast_peer.py")
    filled = subprocess.run(
        [str(python), str(peer), str(directory), str(LEADS), str(features)], capture_output=True, check=False
    )
    if filled.returncode:
        raise Skipped(f"Feast could not be filled: {filled.stderr.decode()[-500:]}")
    port = free_port()
    arguments = ["-m", "feast.cli.cli", "-c", str(directory), "serve", "-p", str(port), "--no-access-log"]
    return Server(arguments, url=f"http://127.0.0.1:{port}", ready="/health", timeout_s=90, python=str(python))


def check_feast(peer: Server, asked: dict[str, object], features: int) -> None:
    answer, _ = fetch(f"{peer.url}/get-online-features", body=json.dumps(asked).encode())
    results = json.loads(answer)["results"]
    if len(results) != features + 1 or results[1]["values"][0] is None:
        raise RuntimeError("Feast did not answer in full")


if __name__ == "__main__":
    run_main(main)
