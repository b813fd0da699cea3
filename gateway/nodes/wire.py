"""What goes from node to node: the headers of a request that is sent on, and the bytes of one.

A request that was sent on says so by its secret, names the organisation that it acts for (its key was checked where it came
in) and the partition that it is about. It is answered by that partition's owner or by nobody.
"""

import hmac
from typing import Final

from aiohttp import web

from gateway.nodes.cluster import NODE_HEADER

NODE: Final = NODE_HEADER
ORG: Final = "Leadwheel-Org"
PARTITION: Final = "Leadwheel-Partition"  #: a number, or ``NODE_ITSELF``
STALE: Final = "Leadwheel-Stale"  #: asked for with ``ok``; told with ``true``
PART: Final = "Leadwheel-Part"  #: of a list: behind which place, and how many

NODE_ITSELF: Final = "node"
CALLS: Final = "/internal/nodes"  #: what only nodes ask

#: Of a caller's headers: what is about the connection, about who calls, or written anew.
_OWN: Final = frozenset(
    (
        b"authorization",
        b"connection",
        b"content-length",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"ocp-apim-subscription-key",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"user-agent",
    )
)


def is_from_node(request: web.BaseRequest, secret: str) -> bool:
    """Whether another node sent the request on."""
    given = request.headers.get(NODE)
    return given is not None and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())


def onward(
    request: web.BaseRequest,
    authority: bytes,
    secret: str,
    org: str,
    partition: int | str,
    body: bytes,
    more: bytes = b"",
) -> bytes:
    """A caller's request as it goes to another node.

    Parameters
    ----------
    more : further header lines, each with its end.
    """
    target = request.rel_url.raw_path_qs.encode("utf-8", "surrogateescape")
    kept = b"".join(
        [
            b"%b: %b\r\n" % (name, value)
            for name, value in request.raw_headers
            if (lower := name.lower()) not in _OWN and not lower.startswith(b"leadwheel-")
        ]
    )
    return b"%b %b HTTP/1.1\r\n%b%b%b%b\r\n%b" % (
        request.method.encode(),
        target,
        _addressed(authority, secret, org, partition),
        kept,
        more,
        b"Content-Length: %d\r\n" % len(body) if body or request.method in ("POST", "PUT") else b"",
        body,
    )


def call(authority: bytes, secret: str, org: str, partition: int | str, name: str, body: bytes) -> bytes:
    """A question from node to node."""
    return b"POST %b/%b HTTP/1.1\r\n%bContent-Type: application/x-msgpack\r\nContent-Length: %d\r\n\r\n%b" % (
        CALLS.encode(),
        name.encode(),
        _addressed(authority, secret, org, partition),
        len(body),
        body,
    )


def _addressed(authority: bytes, secret: str, org: str, partition: int | str) -> bytes:
    return b"Host: %b\r\nLeadwheel-Node: %b\r\nLeadwheel-Org: %b\r\nLeadwheel-Partition: %b\r\n" % (
        authority,
        secret.encode(),
        org.encode(),
        str(partition).encode(),
    )
