"""From the settings to how a log is kept in a file: one that is the truth, and a copy of one."""

import msgspec

from eventstore.sqlite import SqliteOptions
from kernel.settings import StoreSettings


def sqlite_options(store: StoreSettings) -> SqliteOptions:
    """Options for the log itself."""
    chosen = msgspec.structs.asdict(store)
    del chosen["kind"]
    return SqliteOptions(**chosen)


def copy_options(store: StoreSettings) -> SqliteOptions:
    """Options for a copy of a topic: what it loses with the machine, the topic holds."""
    return msgspec.structs.replace(sqlite_options(store), durability="process")
