"""Services: named lists of features, for readers, policies and models that must mean the same by one name.

A definition is an event in the org's stream, so is a deletion, and what is current is a fold of that stream: read
when the org is first asked for, and kept up by every event that is delivered. Equal content makes no new
version; the id of the event follows from its content and version, so that writing it twice is a duplicate.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha256

import msgspec

from actors.ingest import Ingest
from eventstore.event import Event, NewEvent
from eventstore.store import EventStore
from eventstore.system import ServiceDefined, org_stream
from gateway.problems import Invalid, Problem
from kernel.clock import Clock
from kernel.errors import UnknownFeature
from projections.catalogue import Catalogue
from projections.market import Span

SERVICE_DEFINED = "service_defined"
_PAGE = 1000
_DECODER = msgspec.json.Decoder(ServiceDefined)


class FeatureService(msgspec.Struct, gc=False):
    """One version of a service. ``is_current`` until the next one, or a deletion."""

    name: str
    version: int
    features: tuple[str, ...]
    defined_us: int
    is_current: bool = True
    span: Span | None = None


class FeatureServices:
    """The services of one org.

    Attributes
    ----------
    is_loaded : whether every event of the stream that was ever delivered is in.
    """

    def __init__(self, org: str, catalogue: Catalogue) -> None:
        self.stream = org_stream(org)
        self.is_loaded = False
        self._catalogue = catalogue
        self._version = 0  # of the stream
        self._current: dict[str, FeatureService] = {}
        self._versions: dict[str, int] = {}
        self._writing = asyncio.Lock()

    def get(self, name: str) -> FeatureService | None:
        return self._current.get(name)

    def names(self) -> list[str]:
        """Names of the services that there are, in order."""
        return sorted(self._current)

    def span(self, service: FeatureService) -> Span:
        """What the service asks for, in its order. Raises ``Problem`` when a feature is no longer in the catalogue."""
        if service.span is None:
            try:
                service.span = self._catalogue.span(features=service.features)
            except UnknownFeature as error:
                detail = f"service {service.name}: {error.name} is no longer in the catalogue"
                fault = Invalid("service", "features that are in the catalogue", error.name)
                raise Problem("unknown_feature", detail, errors=[fault]) from error
        return service.span

    def fold(self, event: Event) -> None:
        """Take the next event of the stream; one that was taken already is skipped, after a gap all is read again."""
        if event.version > self._version + 1:
            self.is_loaded = False
        if event.version != self._version + 1:
            return
        self._version = event.version
        if event.type != SERVICE_DEFINED:
            return
        defined: ServiceDefined = event.payload or _DECODER.decode(event.data)
        before = self._current.pop(defined.name, None)
        if before is not None:
            before.is_current = False
        self._versions[defined.name] = defined.version
        if defined.features is not None:
            self._current[defined.name] = FeatureService(
                defined.name, defined.version, tuple(defined.features), event.at_us
            )

    async def load(self, store: EventStore) -> None:
        """Read the stream to its end."""
        while events := await store.read(self.stream, after_version=self._version, limit=_PAGE):
            for event in events:
                self.fold(event)
        self.is_loaded = True

    async def define(
        self, name: str, features: Sequence[str], *, ingest: Ingest, store: EventStore, clock: Clock
    ) -> FeatureService:
        """Make this the service's list, durably. What it is already makes no new version.

        Raises ``UnknownFeature``, ``StoreUnavailable``.
        """
        self._catalogue.span(features=features)
        async with self._writing:
            current = self._current.get(name)
            if current is None or current.features != tuple(features):
                await self._write(name, list(features), ingest, clock)
                await self.load(store)  # the delivery told of it, unless it stood in the log before
            return self._current[name]

    async def delete(self, name: str, *, ingest: Ingest, store: EventStore, clock: Clock) -> bool:
        """Forget a service, durably; False when there is none."""
        async with self._writing:
            if name not in self._current:
                return False
            await self._write(name, None, ingest, clock)
            await self.load(store)
            return True

    async def _write(self, name: str, features: list[str] | None, ingest: Ingest, clock: Clock) -> None:
        payload = ServiceDefined(name, self._versions.get(name, 0) + 1, features)
        data = msgspec.json.encode(payload)
        event_id = f"~sd:{sha256(data).hexdigest()}"
        # Without a time of its own: the same definition, written again after a doubtful answer, is a duplicate.
        event = NewEvent(self.stream, event_id, SERVICE_DEFINED, clock.now_us(), data, payload, has_time=False)
        await ingest.record([event])
