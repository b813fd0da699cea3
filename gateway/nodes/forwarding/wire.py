"""What goes from node to node: the headers of a request that is sent on, and the bytes of one.

A request that was sent on says so by one header: the partition that it is about, the organisation that it acts for (its key
was checked where it came in), and a digest of the secret of the nodes. It is answered by that partition's owner or by nobody.
"""

import hmac
import re
from hashlib import sha256
from typing import Final, NamedTuple

from aiohttp import web

from gateway.nodes.forwarding.cluster import NODE_HEADER
from gateway.nodes.forwarding.link import Reply

NODE: Final = (
    NODE_HEADER  #: partition (a number, or ``NODE_ITSELF``), organisation, secret: one header costs less than three
)
STALE: Final = "Leadwheel-Stale"  #: asked for with ``ok``; told with ``true``
STALE_OK: Final = f"{STALE}: ok\r\n".encode()
PART: Final = "Leadwheel-Part"  #: of a list: behind which place, and how many

NODE_ITSELF: Final = "node"
CALLS: Final = "/internal/nodes"  #: what only nodes ask
_NODE: Final = NODE.encode()

REFUSED: Final = "Leadwheel-Refused"  #: why a node does not do what another one asked for
MOVED: Final = "moved"  #: it does not lead the partition (yet): nothing was done
GIVEN_BACK: Final = "given-back"  #: it did not lead it any more before it was done: whether it was is not known
_REFUSED_LINE: Final = re.compile(rb"\r\n%b: ([a-z-]+)" % REFUSED.encode(), re.IGNORECASE)
_DIGITS: Final = 12

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


def digest(secret: str) -> bytes:
    """What nodes show each other: any secret as something that a header can hold."""
    return sha256(secret.encode()).hexdigest().encode()


class Addressed(NamedTuple):
    """What a request of another node is about.

    ``generation`` is that of the map by which it was sent; None where its sender would rather be refused than wait.
    """

    partition: str
    org: str
    generation: int | None


def addressed(told: str, secret: bytes) -> Addressed | None:
    """What the header of another node says; None where it was not a node that sent it."""
    partition, _, rest = told.partition(" ")
    org, _, rest = rest.partition(" ")
    given, _, generation = rest.partition(" ")
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret):
        return None
    is_number = generation.isascii() and generation.isdigit() and len(generation) < _DIGITS
    return Addressed(partition, org, int(generation) if is_number else None)


def address(secret: bytes, org: str, partition: int | str) -> bytes:
    """The value of the header."""
    return b"%b %b %b" % (str(partition).encode(), org.encode(), secret)


def with_generation(node: bytes, generation: int) -> bytes:
    """An ``address``, of who will wait."""
    return b"%b %d" % (node, generation)


def refusal(reply: Reply) -> str | None:
    """Why a node did not do what it was asked: ``MOVED`` or ``GIVEN_BACK``; None where it has answered."""
    if reply.status != 503 or (found := _REFUSED_LINE.search(reply.head)) is None:
        return None
    return found[1].decode()


def onward(request: web.BaseRequest, authority: bytes, node: bytes, body: bytes, more: bytes = b"") -> bytes:
    """A caller's request as it goes to another node.

    Parameters
    ----------
    authority : of the other node.
    node : an ``address``.
    more : further header lines, each with its end.
    """
    method = request.method
    lines = [
        b"%b %b HTTP/1.1\r\nHost: %b\r\n%b: %b\r\n"
        % (method.encode(), request.rel_url.raw_path_qs.encode("utf-8", "surrogateescape"), authority, _NODE, node)
    ]
    for name, value in request.raw_headers:
        lower = name.lower()
        if lower not in _OWN and not lower.startswith(b"leadwheel-"):
            lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(more)
    if body or method in ("POST", "PUT"):
        lines.append(b"Content-Length: %d\r\n" % len(body))
    lines.append(b"\r\n")
    lines.append(body)
    return b"".join(lines)


def call(authority: bytes, node: bytes, name: str, body: bytes, more: bytes = b"") -> bytes:
    """A question from node to node."""
    return (
        b"POST %b/%b HTTP/1.1\r\nHost: %b\r\n%b: %b\r\n%bContent-Type: application/x-msgpack\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (CALLS.encode(), name.encode(), authority, _NODE, node, more, len(body), body)
    )
