"""Which views were last folded under another definition: told at start, folded again, noted when that is done.

``views.json`` in the data directory holds the fingerprint of every view of every org as of the last time when all leads
were folded under one set of definitions: ``{"ORG": {"VIEW": "FINGERPRINT"}}``, an empty one while they are folded anew. It
decides nothing, and what is lost with it is what a start says: no state of another fingerprint is ever read, whatever
stands here.
"""

import os
from pathlib import Path

import msgspec
import structlog

from gateway.orgs import Orgs

FILE_NAME = "views.json"

Fingerprints = dict[str, dict[str, str]]

_log = structlog.get_logger(__name__)


class Staleness:
    """The views that some leads may not be folded for yet, by org.

    Parameters
    ----------
    directory : where the record is kept; None keeps none.
    """

    def __init__(self, directory: Path | None, orgs: Orgs) -> None:
        self._path = None if directory is None else directory / FILE_NAME
        self._present = {name: _fingerprints(orgs, name) for name in sorted(orgs)}
        self._stale: dict[str, tuple[str, ...]] = {}

    def find(self) -> None:
        """Compare with the record, and say what is stale."""
        recorded = self._read()
        if recorded is None:
            self.settle()
            return
        for org, views in self._present.items():
            before = recorded.get(org, {})
            stale = tuple(view for view, fingerprint in views.items() if before.get(view) != fingerprint)
            if stale and before:
                self._stale[org] = stale
                named = ",".join(stale)
                _log.warning(
                    "views_stale", org=org, views=named, folded="lead by lead as they are read",
                    at_once=f"leadwheel replay --views {named}",
                )  # fmt: skip
        self._write({org: views | dict.fromkeys(self.stale(org), "") for org, views in self._present.items()})

    def stale(self, org: str) -> tuple[str, ...]:
        """Views of an org that were changed or added since all leads were folded."""
        return self._stale.get(org, ())

    def settle(self) -> None:
        """All leads are folded under today's definitions."""
        self._stale = {}
        self._write(self._present)

    def _write(self, fingerprints: Fingerprints) -> None:
        if self._path is None:
            return
        aside = self._path.with_suffix(".new")
        aside.write_bytes(msgspec.json.format(msgspec.json.encode(fingerprints)))
        os.replace(aside, self._path)

    def _read(self) -> Fingerprints | None:
        if self._path is None or not self._path.exists():
            return None
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Fingerprints)
        except (msgspec.MsgspecError, OSError) as error:
            _log.warning("views_record_unreadable", path=str(self._path), error=str(error))
            return None


def _fingerprints(orgs: Orgs, name: str) -> dict[str, str]:
    catalogue = orgs[name].catalogue
    return catalogue.view_fingerprints | catalogue.subjects.view_fingerprints
