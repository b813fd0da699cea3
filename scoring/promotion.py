"""Which model of each family is in use: a fold of the ``model_promoted`` events in an organisation's stream.

The model in use is the *champion*; one that was trained later and waits beside it is the *challenger*. A promotion names a
version; rolling back is a promotion of the champion before. The log says who was in use when, and a replay needs
nothing else.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Literal

import msgspec

from eventstore.event import Event, NewEvent
from eventstore.fields import Id, Text
from eventstore.system import org_stream
from eventstore.types import Payload
from scoring.model import Family
from scoring.registry import Version

MODEL_PROMOTED = "model_promoted"


class ModelPromoted(Payload, frozen=True, gc=False):
    """From now on this version is used for its family, in this configuration. ``number`` counts promotions.

    ``replaces`` is the version before it, if there was one, ``sha256`` names the file. ``number`` and ``version`` are
    what a policy's promotion carries, too, so that one declaration of the type can read both.
    """

    number: int
    version: Id
    family: Family
    config: Id
    sha256: Text
    fingerprint: Text
    replaces: Id | None = None
    reason: Literal["promote", "rollback"] = "promote"


_DECODER = msgspec.json.Decoder(ModelPromoted)


class Promotions:
    """Champions of one organisation, by configuration and family: fold its stream's events by version."""

    def __init__(self) -> None:
        self._champions: dict[tuple[str, Family], list[ModelPromoted]] = {}
        self._count = 0

    def fold(self, event: Event) -> None:
        """Take the next event of the stream; other types are nobody's promotion."""
        if event.type != MODEL_PROMOTED:
            return
        payload = event.payload
        promoted = payload if isinstance(payload, ModelPromoted) else _DECODER.decode(event.data)
        self._count = max(self._count, promoted.number)
        line = self._champions.setdefault((promoted.config, promoted.family), [])
        if promoted.reason == "rollback" and len(line) > 1:
            line.pop()
        else:
            line.append(promoted)

    def champion(self, family: Family, config: str = "default") -> ModelPromoted | None:
        """The version in use."""
        line = self._champions.get((config, family))
        return line[-1] if line else None

    def before(self, family: Family, config: str = "default") -> ModelPromoted | None:
        """The version that a roll back brings back."""
        line = self._champions.get((config, family), [])
        return line[-2] if len(line) > 1 else None

    def challenger(self, versions: Iterable[Version], family: Family, config: str = "default") -> Version | None:
        """The newest version that was trained after the champion and never promoted."""
        mine = [each for each in versions if each.family == family and each.config == config]
        champion = self.champion(family, config)
        known = {promoted.version for promoted in self._champions.get((config, family), [])}
        place = next((i for i, each in enumerate(mine) if champion and each.id == champion.version), -1)
        return next((each for each in reversed(mine[place + 1 :]) if each.id not in known), None)

    def promote(self, org: str, version: Version, at_us: int) -> NewEvent | None:
        """The event that puts a version in use; None when it is."""
        champion = self.champion(version.family, version.config)
        if champion is not None and champion.version == version.id:
            return None
        payload = ModelPromoted(
            number=self._count + 1,
            version=version.id,
            family=version.family,
            config=version.config,
            sha256=version.sha256,
            fingerprint=version.card.fingerprint,
            replaces=champion.version if champion else None,
        )
        return self._event(org, payload, at_us)

    def roll_back(self, org: str, family: Family, at_us: int, *, config: str = "default") -> NewEvent | None:
        """The event that brings the champion before back; None when there was none."""
        champion, before = self.champion(family, config), self.before(family, config)
        if champion is None or before is None:
            return None
        payload = msgspec.structs.replace(before, number=self._count + 1, replaces=champion.version, reason="rollback")
        return self._event(org, payload, at_us)

    def _event(self, org: str, payload: ModelPromoted, at_us: int) -> NewEvent:
        """Its id follows from what it says, its number included: written again, it is a duplicate."""
        data = msgspec.json.encode(payload)
        return NewEvent(
            org_stream(org), f"~mp:{sha256(data).hexdigest()}", MODEL_PROMOTED, at_us, data, payload, has_time=False
        )
