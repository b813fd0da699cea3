"""``leadwheel``: the command line.

Results go to standard output, progress and logs to standard error. Exit 0: done; 1: done, but something was
refused, differed or was not found; 2: usage or settings; 3: the directory is in use or damaged, or the service
cannot be reached.
"""

import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import TextIO, cast

import structlog
from cyclopts import App, CycloptsError

from gateway.client import Refused, Unreachable
from gateway.commands import (
    catalogue,
    demo,
    ingest,
    jobs,
    keys,
    migrate,
    models,
    policies,
    reading,
    serve,
    synth,
    topic,
    train,
)
from gateway.commands.common import DONE, PARTLY, UNREACHABLE, USAGE, notes
from gateway.version import VERSION
from kernel.errors import DefinitionError, EventStoreError, LeadwheelError, SettingsError

app = App(
    name="leadwheel",
    help="Live features of every lead from one event log.",
    version=VERSION,
    result_action="return_value",
    exit_on_error=False,
    error_console=notes,
)
app.command(serve.serve)
app.command(topic.create_topic)
app.command(migrate.app)
app.command(ingest.ingest)
app.command(reading.features)
app.command(catalogue.app)
app.command(reading.settings)
app.command(jobs.replay)
app.command(jobs.verify)
app.command(synth.synth)
app.command(train.train)
app.command(models.app)
app.command(policies.app)
app.command(policies.decide)
app.command(policies.decision)
app.command(keys.app)
app.command(demo.demo)

#: What an error that ends a command means for whoever called it; the first that fits decides.
EXIT_CODES: tuple[tuple[type[LeadwheelError], int], ...] = (
    (SettingsError, USAGE),
    (DefinitionError, USAGE),
    (Unreachable, UNREACHABLE),
    (EventStoreError, UNREACHABLE),
    (Refused, PARTLY),
)


def run(arguments: Sequence[str]) -> int:
    """Run one command and answer its exit code."""
    _configure_logs()
    try:
        code = app(list(arguments))
    except CycloptsError:
        return USAGE  # already told, with the usage
    except LeadwheelError as error:
        notes.print(f"leadwheel: {error}", markup=False, soft_wrap=True)
        return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), PARTLY)
    except KeyboardInterrupt:
        return 130  # as the shell counts an interrupt
    return code if isinstance(code, int) else DONE


def main() -> None:
    """Entry point of the installed command. Packs are also found in the working directory, last of all places."""
    sys.path.append(os.getcwd())
    sys.exit(run(sys.argv[1:]))


class _StandardError(io.TextIOBase):
    """Whatever is standard error when a line is written: loggers are kept for longer than a replaced stream lives."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _configure_logs() -> None:
    """Structured lines on standard error: readable on a terminal, JSON elsewhere."""
    renderer = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(sort_keys=True)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _StandardError())),
    )


if __name__ == "__main__":
    main()
