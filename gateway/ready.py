"""An answer that is bytes already, head and body: written in one go.

aiohttp builds and checks the head of a response for each request, a third of what a cached answer costs. Where nothing
about it depends on the request but the date, the head is kept beside the body; an answer that is new each time
(``ready_json``) needs its length besides. Only ordinary requests take this way (``fits``): HTTP/1.1, not HEAD, kept
alive; every other one gets a ``web.Response``, equal but for speed (tests/integration/test_http_ready.py compares both).
"""

from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.http import SERVER_SOFTWARE
from multidict import CIMultiDict

from kernel.times import SECOND_US


def fits(request: web.BaseRequest) -> bool:
    """Whether the request can be answered by bytes that were made for another one."""
    return request.version == HttpVersion11 and request.method != "HEAD" and request.keep_alive


def head_of(headers: CIMultiDict[str]) -> bytes:
    """The head of a 200 as it goes over the wire, but for its date and the empty line."""
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items()), f"Server: {SERVER_SOFTWARE}"]
    return "\r\n".join(lines).encode("latin-1")


#: Up to the length of the body.
_JSON_HEAD = head_of(CIMultiDict({"Content-Type": "application/json"})) + b"\r\nContent-Length: "


def ready_json(request: web.BaseRequest, date_line: bytes, body: bytes) -> web.StreamResponse:
    """A 200 whose body is JSON that was encoded for this request alone."""
    if not fits(request):
        return web.Response(body=body, content_type="application/json")
    return ReadyResponse(b"%b%d" % (_JSON_HEAD, len(body)), date_line, body)


class Dates:
    """The Date line with the empty line after it, made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def line(self, now_us: int) -> bytes:
        second = now_us // SECOND_US
        if second != self._second:
            self._second = second
            self._line = f"\r\nDate: {formatdate(second, usegmt=True)}\r\n\r\n".encode()
        return self._line


class ReadyResponse(web.StreamResponse):
    """A 200 whose bytes are at hand, the body in one piece or in several."""

    def __init__(self, head: bytes, date_line: bytes, *body: bytes) -> None:
        super().__init__()
        self._ready = (head, date_line, *body)
        self._request: web.BaseRequest | None = None

    @property
    def keep_alive(self) -> bool:
        return True

    def parts(self) -> tuple[bytes, bytes]:
        """The head without its last lines, and the body."""
        return self._ready[0], b"".join(self._ready[2:])

    @property
    def body_length(self) -> int:
        return sum(map(len, self._ready[2:]))

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing to prepare; aiohttp calls it before ``write_eof``."""
        self._request = request

    async def write_eof(self, data: bytes = b"") -> None:
        """Send everything; waits only while the connection takes nothing more."""
        request = self._request
        transport = None if request is None else request.transport
        if request is None or transport is None or transport.is_closing():
            raise ConnectionResetError("the caller is gone")
        transport.write(b"".join(self._ready))
        if request.protocol.writing_paused:
            await request.writer.drain()
