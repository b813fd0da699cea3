"""The LMDB environment of the snapshot cache: its tables, its validity, its beginning and its end.

Format (one directory, LMDB's ``data.mdb`` and ``lock.mdb``). All integers are big-endian, so that the order of keys is
the order of what they mean.

- ``snapshots``: number (8 bytes) → the row of ``snapshot_codec``.
- ``deadlines``: due_us + 2⁶³ (8 bytes), number (8 bytes) → empty.
- ``dead``: number (8 bytes), index (4 bytes) → an encoded dead letter.
- ``meta``: ``meta`` → CRC-32 (4 bytes), msgpack of ``Meta``.

Validity: nothing is synced while running, so after a crash of the *process* the file holds every committed batch (they
are in the page cache, and a transaction's pages are written before its meta page), and after a crash of the *machine*
it may hold anything. Hence the boot id: when it changed and the last stop was not clean, or when the meta record
or LMDB itself says that the file is damaged, the whole directory is thrown away and begins empty. A torn
write needs no repair: the log is the truth.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import lmdb
import msgspec
import structlog

from kernel.ids import Position

FORMAT = 1
_META_KEY = b"meta"

# What LMDB raises at opening for a file that is not, or no longer, one of its own.
_DAMAGED = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.IncompatibleError,
)

log = structlog.get_logger(__name__)


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """What the cache says of itself. ``fingerprint`` names the catalogue its snapshots were folded under."""

    format: int
    boot_id: str
    is_clean: bool
    applied: int
    fingerprint: str = ""


_decoder = msgspec.msgpack.Decoder(Meta)


def read_boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """The id that changes with every start of the machine; empty, and never equal to any, where there is none."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Environment:
    """An open environment with its tables. Opening may block for milliseconds; it happens at start only.

    Raises
    ------
    lmdb.Error, ValueError
        The directory cannot be used, or its file is damaged.
    """

    def __init__(self, path: Path, map_size_bytes: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        # No writemap: a full disk would be a SIGBUS. No readahead: reads are single rows, anywhere.
        self.lmdb = lmdb.open(
            str(path), map_size=map_size_bytes, max_dbs=4, sync=False, metasync=False, writemap=False, readahead=False
        )
        try:
            self._check_length()
            self.snapshots = self.lmdb.open_db(b"snapshots")
            self.deadlines = self.lmdb.open_db(b"deadlines")
            self.dead = self.lmdb.open_db(b"dead")
            self.meta = self.lmdb.open_db(b"meta")
        except (lmdb.Error, ValueError):
            self.lmdb.close()
            raise

    def _check_length(self) -> None:
        # Reading a page that the file does not have is a SIGBUS, so this comes before the first table.
        if (self.path / "data.mdb").stat().st_size < self.used_bytes():
            raise ValueError("the file is shorter than its pages")

    def read_meta(self) -> Meta | None:
        """The meta record: None in a fresh environment. Raises ``ValueError`` when it is unreadable."""
        with self.lmdb.begin() as txn:
            row = txn.get(_META_KEY, db=self.meta)
            if row is None:
                if txn.stat(self.snapshots)["entries"]:
                    raise ValueError("snapshots without a meta record")
                return None
        if row[:4] != crc32(row[4:]).to_bytes(4, "big"):
            raise ValueError("wrong checksum of the meta record")
        return _decoder.decode(row[4:])

    def write_meta(self, txn: "lmdb.Transaction[bytes]", meta: Meta) -> None:
        """Write the meta record in the caller's transaction."""
        body = msgspec.msgpack.encode(meta)
        txn.put(_META_KEY, crc32(body).to_bytes(4, "big") + body, db=self.meta)

    def used_bytes(self) -> int:
        """Bytes of the file up to its last page in use; it never shrinks."""
        return (self.lmdb.info()["last_pgno"] + 1) * self.lmdb.stat()["psize"]

    def close(self) -> None:
        self.lmdb.close()


def open_valid(path: Path, *, map_size_bytes: int, boot_id: str, fingerprint: str) -> tuple[Environment, Meta, str]:
    """Open what is there if it can be trusted, else throw it away and begin empty.

    Returns
    -------
    The environment, its meta record as it was found (marked as not clean from now on), and why the old
    content was discarded: empty when it was kept or there was none.

    Raises
    ------
    lmdb.Error
        The directory cannot be used at all (no rights, no room).
    """
    fresh = Meta(FORMAT, boot_id, False, Position(0), fingerprint)
    reason, environment, found = "", None, None
    try:
        environment = Environment(path, map_size_bytes)
        found = environment.read_meta()
        reason = _distrust(found, boot_id, fingerprint)
    except (*_DAMAGED, ValueError, msgspec.MsgspecError) as error:
        reason = f"damaged: {error}"
    if environment is None or reason:
        if environment is not None:
            environment.close()
        log.warning("snapshot_cache_discarded", path=str(path), reason=reason)
        shutil.rmtree(path)
        environment, found = Environment(path, map_size_bytes), None
    meta = fresh if found is None else msgspec.structs.replace(found, boot_id=boot_id, is_clean=False)
    _write_synced(environment, meta)
    return environment, meta, reason


def close_clean(environment: Environment, meta: Meta, on_fatal: Callable[[Exception], None]) -> None:
    """Bring everything to the disk, then the mark of a clean stop, then close.

    A failed sync goes to ``on_fatal``: LMDB would carry on as if nothing had happened, with pages in memory
    that the disk may never have.
    """
    try:
        environment.lmdb.sync(True)
        _write_synced(environment, msgspec.structs.replace(meta, is_clean=True))
    except lmdb.Error as error:
        on_fatal(error)
    finally:
        environment.close()


def _write_synced(environment: Environment, meta: Meta) -> None:
    with environment.lmdb.begin(write=True) as txn:
        environment.write_meta(txn, meta)
    environment.lmdb.sync(True)


def _distrust(meta: Meta | None, boot_id: str, fingerprint: str) -> str:
    """Why the content must not be used; empty when it may."""
    if meta is None:
        return ""
    if meta.format != FORMAT:
        return f"format {meta.format}, not {FORMAT}"
    if not meta.is_clean and (not boot_id or meta.boot_id != boot_id):
        return "the machine was restarted without a clean stop"
    if meta.fingerprint != fingerprint:
        return "folded under another catalogue"
    return ""
