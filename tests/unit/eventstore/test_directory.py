import os
from pathlib import Path

import pytest

from eventstore.directory import DirectoryLock
from kernel.errors import DirectoryInUse


def test_a_directory_has_one_owner_who_is_named(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "new" / "data")
    with pytest.raises(DirectoryInUse, match=f"process {os.getpid()}") as refused:
        DirectoryLock(tmp_path / "new" / "data")
    assert refused.value.holder == f"process {os.getpid()}"
    lock.release()


def test_a_released_directory_can_be_owned_again(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.release()
    lock.release()
    again = DirectoryLock(tmp_path)
    with pytest.raises(DirectoryInUse):
        DirectoryLock(tmp_path)
    again.release()
