import base64
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.auth import authorize, is_loopback, token_of
from gateway.keyring import Keyring, create_key
from gateway.problems import Problem
from kernel.clock import VirtualClock


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({}, None),
        ({"Authorization": "Bearer abc"}, "abc"),
        ({"Authorization": "bearer  abc "}, "abc"),
        ({"Authorization": basic("abc:")}, "abc"),
        ({"Authorization": basic("abc:secret")}, "abc"),
        ({"Authorization": basic("abc")}, "abc"),
        ({"Ocp-Apim-Subscription-Key": "abc"}, "abc"),
        ({"Authorization": "Basic !!!"}, None),
        ({"Authorization": "Digest abc"}, None),
        ({"Authorization": ""}, None),
    ],
)
def test_a_key_comes_as_bearer_subscription_key_or_basic_user(headers: dict[str, str], token: str | None) -> None:
    assert token_of(make_mocked_request("GET", "/", headers=headers)) == token


def refused(keyring: Keyring, headers: dict[str, str], org: str | None = "acme") -> str:
    with pytest.raises(Problem) as caught:
        authorize(keyring, make_mocked_request("GET", "/", headers=headers), "read", org, 0)
    return caught.value.code


def test_without_any_key_only_the_default_org_is_open() -> None:
    keyring = Keyring(None, VirtualClock())
    request = make_mocked_request("GET", "/")
    assert authorize(keyring, request, "admin", "default", 0) == "default"
    assert authorize(keyring, request, "admin", None, 0) == "default"
    assert refused(keyring, {}) == "org_not_found"


def test_with_a_key_each_refusal_has_its_code(tmp_path: Path) -> None:
    clock = VirtualClock()
    reader = create_key(tmp_path, org="acme", scopes=["read"], clock=clock)
    writer = create_key(tmp_path, org="acme", scopes=["ingest"], clock=clock)
    keyring = Keyring(tmp_path, clock)
    request = make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {reader}"})
    assert authorize(keyring, request, "read", "acme", 0) == "acme"
    assert authorize(keyring, request, "read", None, 0) == "acme"
    assert refused(keyring, {}) == "unauthorized"
    assert refused(keyring, {"Authorization": "Bearer nonsense"}) == "unauthorized"
    assert refused(keyring, {"Authorization": f"Bearer {writer}"}) == "forbidden"
    assert refused(keyring, {"Authorization": f"Bearer {reader}"}, "other") == "org_not_found"
    assert refused(keyring, {"Authorization": f"Bearer {writer}"}, "other") == "org_not_found"
    assert refused(keyring, {}, "other") == "unauthorized"


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("example.com", False),
        ("::ffff:8.8.8.8", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


def test_who_owns_the_directory_needs_no_key_and_names_orgs_that_exist(tmp_path: Path) -> None:
    clock = VirtualClock()
    create_key(tmp_path, org="keyed", scopes=["read"], clock=clock)
    keyring = Keyring(tmp_path, clock, trusted_orgs=frozenset({"tabled"}))
    request = make_mocked_request("GET", "/")
    for org in ("default", "keyed", "tabled"):
        assert authorize(keyring, request, "admin", org, 0) == org
    assert refused(keyring, {}, "typo") == "org_not_found"
