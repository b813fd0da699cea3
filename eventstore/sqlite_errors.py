"""What an error of SQLite means for the log, decided once."""

import sqlite3
from typing import Literal

#: ``refused``: rolled back cleanly, the same may work later. ``unknown``: only a restart tells what is stored.
#: ``programming``: not the medium's fault.
Verdict = Literal["refused", "unknown", "programming"]

_REFUSED = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}
# A failed write is noticed at once and rolled back (a file size limit and a quota come as such); a failed
# fsync may have lost pages that the next fsync reports as written.
_REFUSED_EXTENDED = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_NOMEM}
_UNKNOWN = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def verdict(error: sqlite3.Error) -> Verdict:
    """What is known after an error while writing."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code in _REFUSED_EXTENDED or code & 0xFF in _REFUSED:
        return "refused"
    return "unknown" if code & 0xFF in _UNKNOWN else "programming"


def reason(error: sqlite3.Error) -> str:
    """The error in words, with SQLite's name for it."""
    return f"{error} ({getattr(error, 'sqlite_errorname', 'SQLITE_ERROR')})"
