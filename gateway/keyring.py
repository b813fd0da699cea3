"""API keys in a file of their own, ``keys.json`` in the data directory.

Format: one JSON object ``{"keys": [{id, org, scopes, hash, created, revoked}]}``, times in RFC 3339,
``hash`` the hex SHA-256 of the whole key (40 characters of 5 random bits: nothing to guess, so a slow hash
would only slow each request down). A key's first 8 characters are its id. Written whole to a temporary
file, fsynced and renamed, under a lock of its own file and outside the data directory's lock, so that keys
are made and revoked while the service runs; a torn write leaves the old file. A revoked key stays as an
entry, and ``keys.json`` is never empty again once it had one: a directory that had a key never opens. The
empty file ``keyed`` says the same if ``keys.json`` is lost.
"""

import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import msgspec
import structlog
from msgspec import Meta

from kernel.clock import Clock
from kernel.errors import SettingsError
from kernel.settings import ORG_NAME
from kernel.times import SECOND_US, format_time
from kernel.tokens import new_token

Scope = Literal["ingest", "read", "decide", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ID_LENGTH = 8
KEY_LENGTH = 40
CHECK_INTERVAL_US = SECOND_US // 2  # "in force within a second", the time of the command itself included

_log = structlog.get_logger(__name__)


class KeyRecord(msgspec.Struct, frozen=True):
    """A key as stored: everything but the key."""

    id: str
    org: str
    scopes: tuple[Scope, ...]
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    created: str
    revoked: str | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key has the scope; ``admin`` includes the others."""
        return scope in self.scopes or "admin" in self.scopes


class KeyFile(msgspec.Struct, frozen=True):
    """The whole of ``keys.json``."""

    keys: list[KeyRecord] = []


def create_key(directory: Path, *, org: str, scopes: Sequence[str], clock: Clock) -> str:
    """Make a key and answer it; it is stored nowhere else. Raises ``SettingsError`` for a bad org or scope."""
    if not ORG_NAME.fullmatch(org):
        raise SettingsError("org", "flag --org", "expected 1-64 letters, digits, '_', '-', '.'")
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise SettingsError("scopes", "flag --scopes", f"expected some of {', '.join(SCOPES)}")
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        keys = _read(directory).keys
        taken = {record.id for record in keys}
        token = new_token(KEY_LENGTH)
        while token[:ID_LENGTH] in taken:
            token = new_token(KEY_LENGTH)
        ordered = tuple(scope for scope in SCOPES if scope in scopes)
        record = KeyRecord(token[:ID_LENGTH], org, ordered, _digest(token).hex(), format_time(clock.now_us()))
        (directory / "keyed").touch()
        _write(directory, KeyFile([*keys, record]))
    return token


def list_keys(directory: Path) -> list[KeyRecord]:
    """All keys ever made, revoked ones included."""
    return _read(directory).keys


def revoke_key(directory: Path, key_id: str, clock: Clock) -> bool:
    """Revoke by id; False when no such key is in force."""
    with _locked(directory):
        keys = _read(directory).keys
        found = [record for record in keys if record.id == key_id and record.revoked is None]
        if found:
            now = format_time(clock.now_us())
            revoked = [msgspec.structs.replace(r, revoked=now) if r in found else r for r in keys]
            _write(directory, KeyFile(revoked))
    return bool(found)


class Keyring:
    """The keys in force, read again when the file changed; its state is looked at twice a second at most.

    Parameters
    ----------
    directory : the data directory; None for a service without one, which is open.
    trusted_orgs : given for the process that owns the directory and asks itself: it needs no key, and may
        name these orgs and those that have a key.
    """

    def __init__(self, directory: Path | None, clock: Clock, *, trusted_orgs: frozenset[str] | None = None) -> None:
        self.trusted_orgs = trusted_orgs
        self._directory = directory
        self._clock = clock
        self._in_force: dict[str, tuple[KeyRecord | None, bytes]] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._next_check_us = 0
        self._is_open = directory is None or not (directory / "keyed").exists()
        self._reload(is_start=True)

    @property
    def is_open(self) -> bool:
        """No key was ever made here: callers need none. As of the last ``refresh``."""
        return self._is_open

    def orgs(self) -> set[str]:
        """The orgs that exist by a key."""
        self.refresh(self._clock.monotonic_us())
        return {record.org for record, _ in self._in_force.values() if record is not None}

    def find(self, token: str) -> KeyRecord | None:
        """The key in force, compared in constant time; None for none. As of the last ``refresh``."""
        record, stored = self._in_force.get(token[:ID_LENGTH], _NOBODY)
        return record if hmac.compare_digest(_digest(token), stored) else None

    def refresh(self, now_us: int) -> None:
        """Look at the file if it was not looked at just now.

        Parameters
        ----------
        now_us : of the monotonic clock; the caller has just read it anyway.
        """
        if now_us >= self._next_check_us:
            self._next_check_us = now_us + CHECK_INTERVAL_US
            self._reload()

    def _reload(self, *, is_start: bool = False) -> None:
        if self._directory is None:
            return
        stamp = _stamp(self._directory)
        if stamp == self._stamp:
            return
        try:
            keys = _read(self._directory).keys
        except SettingsError as error:
            if is_start:
                raise
            _log.error("keys_unreadable", reason=str(error))  # the keys read before stay in force
            return
        self._stamp = stamp
        self._is_open = self._is_open and not keys
        self._in_force = {r.id: (r, bytes.fromhex(r.hash)) for r in keys if r.revoked is None}


_NOBODY: tuple[KeyRecord | None, bytes] = (None, bytes(32))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _stamp(directory: Path) -> tuple[int, int, int] | None:
    try:
        status = (directory / "keys.json").stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(directory: Path) -> KeyFile:
    path = directory / "keys.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeyFile)
    except FileNotFoundError:
        return KeyFile()
    except (msgspec.MsgspecError, OSError) as error:
        raise SettingsError("keys", str(path), f"expected a readable file of keys: {error}") from error


def _write(directory: Path, file: KeyFile) -> None:
    path = directory / "keys.json"
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(file), indent=2))
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / "keys.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """``read,ingest`` as scopes; unknown words are left for ``create_key`` to refuse."""
    return cast("tuple[Scope, ...]", tuple(part.strip() for part in text.split(",") if part.strip()))
