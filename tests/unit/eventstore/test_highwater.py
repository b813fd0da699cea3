import os
from pathlib import Path

import pytest

from eventstore import highwater
from eventstore.highwater import HighWater
from kernel.errors import HighWaterUnreadable, LogBehindHighWater


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "high-water"


def written(path: Path, *positions: int) -> None:
    mark = HighWater(path)
    for position in positions:
        mark.write(position, synced=position)
    mark.sync()
    mark.close()


def test_the_last_position_written_is_found_again(path: Path) -> None:
    written(path, 1, 2, 3)
    assert HighWater(path).mark.position == 3


def test_a_log_that_reaches_the_mark_is_accepted_and_the_mark_follows_it(path: Path) -> None:
    written(path, 3)
    mark = HighWater(path)
    mark.check(5, log_path="events.db")
    assert HighWater(path).mark.position == 5


def test_a_log_behind_the_mark_is_refused_and_the_mark_stays(path: Path) -> None:
    written(path, 7)
    for _ in range(2):
        with pytest.raises(LogBehindHighWater, match="4 events are missing") as refused:
            HighWater(path).check(3, log_path="events.db")
        assert (refused.value.expected, refused.value.actual, refused.value.path) == (7, 3, "events.db")


def test_a_torn_slot_leaves_the_one_before(path: Path) -> None:
    written(path, 1, 2, 3)
    raw = bytearray(path.read_bytes())
    slot = 0 if int.from_bytes(raw[16:24], "little") == 3 else 1
    raw[slot * 64 + 20] ^= 1
    path.write_bytes(raw)
    assert HighWater(path).mark.position == 2


def test_a_mark_without_a_valid_slot_is_refused(path: Path) -> None:
    written(path, 1)
    path.write_bytes(b"\xff" * 128)
    with pytest.raises(HighWaterUnreadable):
        HighWater(path)


def test_after_a_power_cut_only_what_was_synced_must_be_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = HighWater(path)
    mark.write(9, synced=4)
    mark.close()
    with pytest.raises(LogBehindHighWater):
        HighWater(path).check(6, log_path="events.db")
    monkeypatch.setattr(highwater, "boot_id", lambda: b"another boot id!")
    with pytest.raises(LogBehindHighWater):
        HighWater(path).check(3, log_path="events.db")
    HighWater(path).check(6, log_path="events.db")
    assert HighWater(path).mark.position == 6


def test_writing_takes_no_new_block(path: Path) -> None:
    written(path)
    size = path.stat().st_size
    written(path, *range(10))
    assert path.stat().st_size == size == 128


def test_a_failed_sync_is_raised(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = HighWater(path)
    mark.write(1, synced=1)

    def fail(fd: int) -> None:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="I/O error"):
        mark.sync()
