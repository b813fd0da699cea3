"""What the commands share: where the service is, how it is told, and what an exit code means."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console

from gateway.client import Client, local, remote
from kernel.errors import SettingsError
from kernel.settings import DEFAULT_ORG, Settings
from kernel.settings_sources import FILE_NAME, KEY_VARIABLE, load_settings, process_environment

DEFAULT_DIRECTORY = Path("leadwheel-data")

DONE, PARTLY, USAGE, UNREACHABLE = 0, 1, 2, 3

#: Progress, notes and errors: never on standard output, which carries results only.
notes = Console(stderr=True, highlight=False, emoji=False)
results = Console(highlight=False, emoji=False, markup=False)


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """A stopped data directory, or a running service.

    Parameters
    ----------
    data_dir
        Directory of the data.
    url
        Address of a running service, instead of a directory.
    key
        API key for it; the environment variable LEADWHEEL_KEY otherwise.
    org
        Organisation.
    config
        Settings file; default: leadwheel.toml in the data directory, if it is there.
    """

    data_dir: Path = DEFAULT_DIRECTORY
    url: str | None = None
    key: str | None = None
    org: str = DEFAULT_ORG
    config: Path | None = None


Json = Annotated[bool, Parameter(name="--json", negative="")]


def settings_of(directory: Path, config: Path | None, flags: Mapping[str, object] | None = None) -> Settings:
    """The settings as every command reads them. Raises ``SettingsError``."""
    default = directory / FILE_NAME
    file = config or (default if default.is_file() else None)
    return load_settings(file, process_environment(), flags)


@asynccontextmanager
async def connect(where: Where) -> AsyncIterator[Client]:
    """A client of the service that ``where`` names."""
    if where.url is not None:
        async with remote(where.url, where.key or process_environment().get(KEY_VARIABLE), where.org) as client:
            yield client
        return
    if not where.data_dir.is_dir():
        raise SettingsError("data-dir", str(where.data_dir), "expected an existing directory")
    async with local(where.data_dir, settings_of(where.data_dir, where.config), where.org) as client:
        yield client


def print_json(body: Any) -> None:
    """A route's body on standard output, one line."""
    sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
    sys.stdout.flush()
