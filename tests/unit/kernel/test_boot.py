from pathlib import Path

import pytest

from kernel import boot


def test_the_boot_id_is_sixteen_bytes_that_stay() -> None:
    assert len(boot.boot_id()) == 16
    assert boot.boot_id() == boot.boot_id()


def test_where_it_cannot_be_told_it_is_zeros(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(boot, "_BOOT_ID", tmp_path / "missing")
    assert boot.boot_id() == bytes(16)
