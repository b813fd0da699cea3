"""The high-water mark: the highest position that was acknowledged, kept apart from the log.

A damaged write-ahead log makes SQLite drop the commits behind the damage without a word. The mark notices:
at start the log must reach it.

Format: two slots of 64 bytes, written in turn, little-endian: magic ``LWHWMARK``, serial number of the
write (u64), position (u64), synced position (u64), boot id (16 bytes), CRC-32 of these 48 bytes (u32), zeros.
The valid slot with the higher serial counts, so a torn write leaves the one before it. The mark is written after each commit and before
its acknowledgement, and synced about once a second: it may lag the log, and never leads it.

``synced`` is the highest position known to have reached the disk. With durability "power" it is the position
itself. With "process" a power cut may take the last commits, as chosen: then, told by another boot id, the
log must reach ``synced`` only.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from eventstore.directory import sync_directory
from kernel.boot import boot_id
from kernel.errors import HighWaterUnreadable, LogBehindHighWater

_MAGIC = b"LWHWMARK"
_FIELDS = struct.Struct("<8sQQQ16s")
_CRC = struct.Struct("<I")
_SLOT_BYTES = 64


class Mark(NamedTuple):
    """What one slot says."""

    serial: int
    position: int
    synced: int
    boot: bytes


class HighWater:
    """The mark's file, open for writing.

    Raises
    ------
    HighWaterUnreadable
        The file exists and no slot of it is valid.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        is_new = not path.exists()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._boot = boot_id()
        self._is_dirty = False
        self.mark = Mark(0, 0, 0, self._boot)
        try:
            self._load(is_new)
        except BaseException:
            os.close(self._fd)
            raise

    def check(self, log_position: int, *, log_path: str) -> None:
        """Compare with the log's last position, and go on from it.

        Raises
        ------
        LogBehindHighWater
            Acknowledged events are missing.
        """
        least = self.mark.position if self.mark.boot == self._boot else self.mark.synced
        if log_position < least:
            raise LogBehindHighWater(log_path, least, log_position)
        self.write(log_position, synced=min(log_position, max(self.mark.synced, least)))

    def write(self, position: int, *, synced: int) -> None:
        """Record that ``position`` is committed. A microsecond; durable after ``sync``."""
        self.mark = Mark(self.mark.serial + 1, position, synced, self._boot)
        os.pwrite(self._fd, _encode(self.mark), self.mark.serial % 2 * _SLOT_BYTES)
        self._is_dirty = True

    def sync(self) -> None:
        """Make what was written durable. Raises ``OSError``, after which only a restart is truthful."""
        if self._is_dirty:
            self._is_dirty = False
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Close without syncing. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _load(self, is_new: bool) -> None:
        raw = os.pread(self._fd, 2 * _SLOT_BYTES, 0)
        marks = [mark for slot in (0, 1) if (mark := _decode(raw, slot)) is not None]
        if marks:
            self.mark = max(marks)
        elif raw and not is_new:
            raise HighWaterUnreadable(str(self._path))
        else:  # both slots at once: later writes need no new block, so a full disk cannot fail them
            os.pwrite(self._fd, _encode(self.mark) * 2, 0)
            os.fsync(self._fd)
            sync_directory(self._path.parent)


def _encode(mark: Mark) -> bytes:
    fields = _FIELDS.pack(_MAGIC, mark.serial, mark.position, mark.synced, mark.boot)
    return (fields + _CRC.pack(zlib.crc32(fields))).ljust(_SLOT_BYTES, b"\0")


def _decode(raw: bytes, slot: int) -> Mark | None:
    part = raw[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES]
    if len(part) < _SLOT_BYTES:
        return None
    fields = part[: _FIELDS.size]
    magic, serial, position, synced, boot = _FIELDS.unpack(fields)
    (crc,) = _CRC.unpack_from(part, _FIELDS.size)
    return Mark(serial, position, synced, boot) if magic == _MAGIC and crc == zlib.crc32(fields) else None
