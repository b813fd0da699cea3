import stat
from pathlib import Path

import pytest

from gateway.keyring import Keyring, create_key, list_keys, revoke_key
from kernel.clock import VirtualClock
from kernel.errors import SettingsError


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def test_a_key_is_found_by_itself_and_by_nothing_else(tmp_path: Path, clock: VirtualClock) -> None:
    key = create_key(tmp_path, org="acme", scopes=["read", "ingest"], clock=clock)
    keyring = Keyring(tmp_path, clock)
    record = keyring.find(key)
    assert record is not None
    assert (record.id, record.org, record.scopes) == (key[:8], "acme", ("ingest", "read"))
    for other in ("", key[:8], key[:-1], key + "a", key.upper(), "x" * 40, "\ud800", key[:8] + "é" * 32):
        assert keyring.find(other) is None


def test_admin_includes_the_other_scopes(tmp_path: Path, clock: VirtualClock) -> None:
    admin = Keyring(tmp_path, clock)
    key = create_key(tmp_path, org="a", scopes=["admin"], clock=clock)
    clock.advance(1)
    admin.refresh(clock.monotonic_us())
    record = admin.find(key)
    assert record is not None
    assert all(record.allows(scope) for scope in ("ingest", "read", "decide", "admin"))


def test_a_key_made_while_running_is_in_force_within_a_second(tmp_path: Path, clock: VirtualClock) -> None:
    keyring = Keyring(tmp_path, clock)
    assert keyring.is_open
    key = create_key(tmp_path, org="a", scopes=["read"], clock=clock)
    clock.advance(0.99)
    keyring.refresh(clock.monotonic_us())
    assert not keyring.is_open
    assert keyring.find(key) is not None
    assert keyring.orgs() == {"a"}


def test_a_revoked_key_is_refused_within_a_second(tmp_path: Path, clock: VirtualClock) -> None:
    key = create_key(tmp_path, org="a", scopes=["read"], clock=clock)
    keyring = Keyring(tmp_path, clock)
    assert keyring.find(key) is not None
    assert revoke_key(tmp_path, key[:8], clock)
    clock.advance(0.99)
    keyring.refresh(clock.monotonic_us())
    assert keyring.find(key) is None


def test_a_directory_that_had_a_key_never_opens_again(tmp_path: Path, clock: VirtualClock) -> None:
    key = create_key(tmp_path, org="a", scopes=["read"], clock=clock)
    revoke_key(tmp_path, key[:8], clock)
    assert not Keyring(tmp_path, clock).is_open
    running = Keyring(tmp_path, clock)
    (tmp_path / "keys.json").unlink()
    clock.advance(1)
    running.refresh(clock.monotonic_us())
    assert not running.is_open
    assert not Keyring(tmp_path, clock).is_open


def test_the_file_holds_no_key_and_is_its_owners_alone(tmp_path: Path, clock: VirtualClock) -> None:
    key = create_key(tmp_path, org="a", scopes=["read"], clock=clock)
    path = tmp_path / "keys.json"
    assert key not in path.read_text()
    assert key[8:] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_revoking_twice_or_an_unknown_key_says_so(tmp_path: Path, clock: VirtualClock) -> None:
    key = create_key(tmp_path, org="a", scopes=["read"], clock=clock)
    assert revoke_key(tmp_path, key[:8], clock)
    assert not revoke_key(tmp_path, key[:8], clock)
    assert not revoke_key(tmp_path, "unknown1", clock)


def test_listed_are_all_keys_ever_made(tmp_path: Path, clock: VirtualClock) -> None:
    first = create_key(tmp_path, org="a", scopes=["read"], clock=clock)
    second = create_key(tmp_path, org="b", scopes=["admin"], clock=clock)
    revoke_key(tmp_path, first[:8], clock)
    listed = list_keys(tmp_path)
    assert [record.id for record in listed] == [first[:8], second[:8]]
    assert [record.revoked is None for record in listed] == [False, True]


@pytest.mark.parametrize(
    ("org", "scopes"), [("a b", ["read"]), ("", ["read"]), ("a", ["write"]), ("a", []), ("a", ["read", ""])]
)
def test_a_key_with_a_bad_org_or_scope_is_not_made(
    tmp_path: Path, clock: VirtualClock, org: str, scopes: list[str]
) -> None:
    with pytest.raises(SettingsError):
        create_key(tmp_path, org=org, scopes=scopes, clock=clock)
    assert Keyring(tmp_path, clock).is_open


def test_a_rotten_file_stops_the_start_and_not_a_running_service(tmp_path: Path, clock: VirtualClock) -> None:
    key = create_key(tmp_path, org="a", scopes=["read"], clock=clock)
    running = Keyring(tmp_path, clock)
    (tmp_path / "keys.json").write_text("{")
    clock.advance(1)
    running.refresh(clock.monotonic_us())
    assert running.find(key) is not None
    with pytest.raises(SettingsError, match=r"keys\.json"):
        Keyring(tmp_path, clock)
