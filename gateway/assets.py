"""The static files of the pages: read once from the package, sent with a long life and an ETag.

Enters: a file's name. Leaves: its bytes and headers. Pages name a file with a digest of its content
(``static/docs.js?v=…``): under that address it never changes and may be kept for a year; under its bare name a
browser asks each time, and is told ``304``. Files of others live in ``console/static/vendor`` as they were
published; ``manifest.json`` beside them says from where, and what they hash to.
"""

from hashlib import sha256
from pathlib import Path

import msgspec

STATIC = Path(__file__).parent / "console" / "static"
VENDOR = STATIC / "vendor"

_YEAR = "public, max-age=31536000, immutable"
_ASK = "public, no-cache"
_DIGITS = 16  # of the digest in an address: enough to tell the versions of one file apart

_SCRIPT = "text/javascript; charset=utf-8"
_STYLE = "text/css; charset=utf-8"

#: Name in the address → file and media type. Nothing else below ``static`` is served.
_FILES: dict[str, tuple[Path, str]] = {
    "docs.js": (STATIC / "docs.js", _SCRIPT),
    "docs.css": (STATIC / "docs.css", _STYLE),
    "swagger-ui.css": (VENDOR / "swagger-ui" / "swagger-ui.css", _STYLE),
    "swagger-ui-bundle.js": (VENDOR / "swagger-ui" / "swagger-ui-bundle.js", _SCRIPT),
}


class Asset(msgspec.Struct, frozen=True, gc=False):
    """A static file in memory."""

    name: str
    body: bytes
    media_type: str
    digest: str

    @property
    def etag(self) -> str:
        return f'"{self.digest}"'

    @property
    def link(self) -> str:
        """The address by which pages name it, relative to the service's root."""
        return f"static/{self.name}?v={self.digest}"

    def caching(self, version: str | None) -> str:
        """The Cache-Control of an answer; ``version`` is the digest that was asked for."""
        return _YEAR if version == self.digest else _ASK


class Assets:
    """All static files; each is read when it is first asked for, and kept: together they are 2 MB."""

    def __init__(self) -> None:
        self._read: dict[str, Asset] = {}

    def get(self, name: str) -> Asset | None:
        """The file of a name; None where there is none."""
        asset = self._read.get(name)
        if asset is None and name in _FILES:
            path, media_type = _FILES[name]
            body = path.read_bytes()  # from the page cache, with its digest: 2 ms for the largest
            asset = self._read[name] = Asset(name, body, media_type, sha256(body).hexdigest()[:_DIGITS])
        return asset

    def link(self, name: str) -> str:
        """The address of a file that exists. Raises ``KeyError``."""
        asset = self.get(name)
        if asset is None:
            raise KeyError(name)
        return asset.link

    @staticmethod
    def names() -> list[str]:
        """What there is."""
        return list(_FILES)
