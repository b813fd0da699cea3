"""The version that runs, as packaged."""

from importlib import metadata


def _read() -> str:
    try:
        return metadata.version("leadwheel")
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"


VERSION = _read()
