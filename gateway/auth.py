"""Who may call: from a request's headers to the org it may act for, or a refusal.

Another org's data is answered with 404, before scopes are looked at, so that a key learns nothing of what
exists beside its own org. Without any key in the data directory the org ``default`` is open.
"""

import base64
import binascii
import ipaddress

from aiohttp import web

from gateway.keyring import KeyRecord, Keyring, Scope
from gateway.problems import Problem
from kernel.settings import DEFAULT_ORG

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


def token_of(request: web.BaseRequest) -> str | None:
    """The key a request carries: bearer, subscription key, or the user name of basic auth."""
    authorization = request.headers.get("Authorization")
    if authorization is None:
        return request.headers.get("Ocp-Apim-Subscription-Key")
    if authorization.startswith("Bearer "):
        return authorization[7:].strip()
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    return _user_name(rest) if scheme.lower() == "basic" else None


def _user_name(encoded: str) -> str | None:
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return None


def authorize(keyring: Keyring, request: web.BaseRequest, scope: Scope, org: str | None, now_us: int) -> str:
    """The org the caller acts for.

    Parameters
    ----------
    org : as named in the path; None where the org comes with the key.
    now_us : of the monotonic clock, for the keyring to look whether the keys changed.

    Raises
    ------
    Problem
        ``unauthorized``, ``org_not_found`` or ``forbidden``.
    """
    keyring.refresh(now_us)
    if keyring.trusted_orgs is not None:
        return _trusted(keyring, keyring.trusted_orgs, org or DEFAULT_ORG)
    if keyring.is_open:
        if org is not None and org != DEFAULT_ORG:
            raise Problem("org_not_found", f"no org {org}: while no key exists, only {DEFAULT_ORG} is served")
        return DEFAULT_ORG
    record = _key(keyring, request)
    if org is not None and org != record.org:
        raise Problem("org_not_found", f"no org {org}")
    if not record.allows(scope):
        raise Problem("forbidden", f"key {record.id} lacks the scope {scope}")
    return record.org


def authorize_page(keyring: Keyring, request: web.BaseRequest, now_us: int) -> None:
    """``authorize`` to read, for what is opened in a browser: it asks for the key as the user name of basic auth."""
    try:
        authorize(keyring, request, "read", None, now_us)
    except Problem as problem:
        if problem.code == "unauthorized":
            problem.headers["WWW-Authenticate"] = 'Basic realm="leadwheel: the key is the user name", charset="UTF-8"'
        raise


def _trusted(keyring: Keyring, orgs: frozenset[str], org: str) -> str:
    if org != DEFAULT_ORG and org not in orgs and org not in keyring.orgs():
        raise Problem("org_not_found", f"no org {org}: it has neither a table in the settings nor a key")
    return org


def _key(keyring: Keyring, request: web.BaseRequest) -> KeyRecord:
    token = token_of(request)
    record = keyring.find(token) if token else None
    if record is None:
        raise Problem("unauthorized", "a key is needed: Authorization: Bearer KEY" if not token else "no such key")
    return record


def is_loopback(host: str) -> bool:
    """Whether an address to bind, or of a peer, is this machine's own."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def comes_from_loopback(request: web.BaseRequest) -> bool:
    """Whether the caller is on this machine. Behind a proxy on this machine nobody is known to be."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    is_local = isinstance(peer, tuple) and is_loopback(str(peer[0]))
    return is_local and not any(name in request.headers for name in _FORWARDED)
