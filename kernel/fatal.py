"""Ending the process when only a restart from disk can tell the truth."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

#: Called, in any thread, when a write's fate is unknown. Tests hand in one that returns.
OnFatal = Callable[[BaseException], None]

#: ``EX_IOERR`` of sysexits.
EXIT_CODE = 74


def exit_now(error: BaseException) -> NoReturn:
    """Say why on standard error and end the process at once: nothing more is written, nobody is answered.

    After a failed fsync the kernel may have dropped the pages and report success the next time, so neither a
    retry nor an orderly stop can be trusted.
    """
    sys.stderr.write(f"leadwheel: fatal: {type(error).__name__}: {error}; exiting to recover from disk\n")
    sys.stderr.flush()
    os._exit(EXIT_CODE)
