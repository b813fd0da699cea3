"""``python -m tests.broker [--brokers 1|3] [--directory DIR]``: a Kafka to try things out with, until interrupted.

Prints the addresses for ``leadwheel serve --kafka`` alone on standard output.
"""

import argparse
import logging
import signal
import sys
import tempfile
from pathlib import Path

from tests.broker.cluster import missing_tools, running_cluster


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.broker", description=__doc__)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--directory", type=Path, help="an empty one; a temporary one when absent")
    asked = parser.parse_args()
    if missing := missing_tools():
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that it cannot connect yet is no news
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the brokers end with it
    with tempfile.TemporaryDirectory() as scratch:
        directory = asked.directory or Path(scratch) / "kafka"
        try:
            with running_cluster(directory, size=asked.brokers) as cluster:
                print(cluster.bootstrap, flush=True)
                signal.pause()
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
