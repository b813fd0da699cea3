"""What a process would end at, in a test that runs it within its own: told, so that a failing test says why it fails."""

import sys


def tell(error: BaseException) -> None:
    """An ``OnFatal`` that returns: the store refuses everything from then on."""
    print(f"fatal: {error!r}", file=sys.stderr)
