"""``python -m tests.broker [--brokers 1|3 | --secured] [--directory DIR]``: a Kafka to try things out with, until interrupted.

Prints the addresses for ``leadwheel serve --kafka`` alone on standard output; of a secured one, the settings for each way in.
"""

import argparse
import logging
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.broker.cluster import missing_tools, running_cluster
from tests.broker.secured import MECHANISMS, PASSWORD, missing_tools_secured, running_secured_cluster


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.broker", description=__doc__)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--secured", action="store_true", help="one broker that asks for a password or a certificate")
    parser.add_argument("--directory", type=Path, help="an empty one; a temporary one when absent")
    asked = parser.parse_args()
    if missing := missing_tools_secured() if asked.secured else missing_tools():
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that it cannot connect yet is no news
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the brokers end with it
    with tempfile.TemporaryDirectory() as scratch:
        directory = asked.directory or Path(scratch) / "kafka"
        try:
            with _running(directory, asked.brokers, is_secured=asked.secured) as told:
                print(told, flush=True)
                signal.pause()
        except KeyboardInterrupt:
            pass
    return 0


@contextmanager
def _running(directory: Path, size: int, *, is_secured: bool) -> Iterator[str]:
    """What to tell of a cluster that is up."""
    if not is_secured:
        with running_cluster(directory, size=size) as cluster:
            yield cluster.bootstrap
        return
    with running_secured_cluster(directory) as secured:
        ways = [secured.settings(secured.with_password("leads", each)) for each in MECHANISMS]
        password = f"# LEADWHEEL_KAFKA__SASL_PASSWORD='{PASSWORD}'\n"
        yield password + "\n".join([*ways, secured.settings(secured.with_certificate("leads"))])


if __name__ == "__main__":
    sys.exit(main())
