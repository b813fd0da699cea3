"""Run every benchmark in turn, each in a process of its own, and print the claims as a table.

Exit code 1 when a benchmark failed to run; a missed bound is shown, not punished: figures depend on the machine.
"""

import json
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from bench.harness import RESULTS

NAMES = (
    "wheel",
    "fold_packs",
    "memory_per_lead",
    "replay",
    "http_read",
    "forwarded_read",
    "batch_read",
    "market",
    "ingest_durable",
    "ingest_single",
    "start",
    "ranking",
    "kafka_cost",
    "kafka_nodes",
    "kafka_changelog",
    "kafka_topics",
    "decide_http",
    "predict_http",
    "bandit_core",
    "policy_rebuild",
    "supervised_to_bandit",
    "business",
)
TIMEOUT_S = 900
SKIP = 77


def main() -> int:
    wanted = sys.argv[1:] or list(NAMES)
    table = Table("benchmark", "claim", "figure", "bound", "", "took")
    is_failed = False
    for name in wanted:
        (RESULTS / f"{name}.json").unlink(missing_ok=True)
        began_s = time.monotonic()
        try:
            code = subprocess.run([sys.executable, "-m", f"bench.{name}"], timeout=TIMEOUT_S, check=False).returncode
        except subprocess.TimeoutExpired:
            code = -1
        took = f"{time.monotonic() - began_s:.0f} s"
        result = RESULTS / f"{name}.json"
        if code or not result.exists():
            is_failed = is_failed or code != SKIP
            table.add_row(name, "", "", "", "skipped" if code == SKIP else "FAILED", took)
            continue
        for claim in json.loads(result.read_text())["claims"]:
            bound = f"{'≤' if claim['is_upper_bound'] else '≥'} {claim['bound']:g}"
            verdict = "holds" if claim["holds"] else "MISSED"
            table.add_row(name, claim["name"], f"{claim['value']:,.4g} {claim['unit']}", bound, verdict, took)
    Console().print(table)
    return int(is_failed)


if __name__ == "__main__":
    sys.exit(main())
