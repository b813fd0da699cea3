"""The written form of a snapshot.

A row is four bytes of CRC-32, four bytes with the number of dead letters (both big-endian), then a msgpack array
``[version, fingerprint, due_us, state]``. The sum covers the entity's number (8 bytes, big-endian), the rest of the row and the dead letters, which
are kept apart; so a flipped bit, a row under another's key and a lost dead letter are all noticed. It guards
against rot, not against an attacker: who can write the file can write the log beside it.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from eventstore.snapshots import Snapshot
from kernel.errors import SnapshotCorrupt

_SUM_SIZE = 4
_COUNT_SIZE = 4
_HEAD_SIZE = _SUM_SIZE + _COUNT_SIZE


class _Row(msgspec.Struct, array_like=True, gc=False):
    version: int
    fingerprint: str
    due_us: int | None
    state: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Row)


def number_key(number: int) -> bytes:
    """Eight bytes, big-endian: the order of keys is the order of numbers."""
    return number.to_bytes(8, "big")


def encode(snapshot: Snapshot) -> bytes:
    """The row of a snapshot, without its dead letters."""
    row = _Row(snapshot.version, snapshot.fingerprint, snapshot.due_us, snapshot.state)
    body = len(snapshot.dead).to_bytes(_COUNT_SIZE, "big") + _encoder.encode(row)
    return _sum(snapshot.number, body, snapshot.dead) + body


def dead_count(row: bytes) -> int:
    """How many dead letters belong to a row; unchecked until ``decode``."""
    return int.from_bytes(row[_SUM_SIZE:_HEAD_SIZE], "big")


def decode(number: int, row: bytes, dead: Sequence[bytes]) -> Snapshot:
    """The snapshot of a row and its dead letters. Raises ``SnapshotCorrupt``."""
    if row[:_SUM_SIZE] != _sum(number, memoryview(row)[_SUM_SIZE:], dead) or dead_count(row) != len(dead):
        raise SnapshotCorrupt(f"snapshot {number}: wrong checksum")
    try:
        decoded = _decoder.decode(memoryview(row)[_HEAD_SIZE:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:  # a whole row, of something else
        raise SnapshotCorrupt(f"snapshot {number}: {error}") from error
    return Snapshot(number, decoded.version, decoded.fingerprint, decoded.state, decoded.due_us, tuple(dead))


def _sum(number: int, body: bytes | memoryview, dead: Sequence[bytes]) -> bytes:
    total = crc32(body, crc32(number_key(number)))
    for letter in dead:
        total = crc32(letter, total)
    return total.to_bytes(_SUM_SIZE, "big")
