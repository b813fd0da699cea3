"""Ownership of a data directory: one process at a time.

An advisory lock (``flock``) on the file ``lock``, which holds its owner's process id as text. The kernel
drops the lock with the process, however it ends, so nothing has to be cleaned up after a crash; the file
stays.
"""

import fcntl
import os
from pathlib import Path

from kernel.errors import DirectoryInUse


class DirectoryLock:
    """Owns a directory, which is made if it is missing, until ``release``.

    Raises
    ------
    DirectoryInUse
        Another process owns it, or another lock of this one.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise DirectoryInUse(str(directory), f"process {holder}" if holder else "another process") from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Give the directory up. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def sync_directory(directory: Path) -> None:
    """Make the names of new files in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
