"""The trained models of each org: which ones there are, which are in use, and why one is not.

Versions are files in the data directory (``scoring.registry``); which of them is in use is a fold of the org's stream
(``scoring.promotion``). A model in use that cannot be read, or was trained on features that are others today, is
refused by name: predictions of its kind are made by the rules, and the list of models says why. Files are read, and
what explains is loaded, in a thread.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import structlog

from eventstore.event import Event
from eventstore.store import EventStore
from eventstore.system import org_stream
from gateway.engine import Engine
from gateway.orgs import Org
from gateway.problems import Problem
from kernel.errors import LeadwheelError, ModelCorrupt, ModelNotFound
from kernel.settings_scoring import DEFAULT_CONFIGURATION
from kernel.times import format_time
from scoring import registry
from scoring.features import feature_set
from scoring.model import FAMILIES, Card, Family
from scoring.promotion import MODEL_PROMOTED, ModelPromoted, Promotions
from scoring.registry import Version
from scoring.trained import Models, Trained

DIRECTORY = "models"  #: of the models of all organisations, in the data directory
_PAGE = 1000
_log = structlog.get_logger(__name__)

ModelState = Literal["champion", "challenger", "archived"]


class ModelDrift(msgspec.Struct, frozen=True):
    """How far leads have moved from those that a model was trained on.

    Attributes
    ----------
    leads : so many were looked at, as they were when it was measured.
    share : of the model's importance, on features whose population stability index is above 0.25.
    columns : the ten that have moved farthest, with their index.
    """

    measured: str
    leads: int
    share: float
    columns: dict[str, float]


class ModelRecord(msgspec.Struct, frozen=True):
    """One version as it is answered.

    Attributes
    ----------
    state : ``champion``: in use; ``challenger``: the newest one trained after it; ``archived``: any other.
    promoted : since when it is in use; null for any but a champion.
    refused : why it cannot be used; null for one that can.
    drift : null until it was measured; of models in use, and the newest ones, once a day.
    card : null where it cannot be read.
    """

    id: str
    family: str
    config: str | None
    state: ModelState
    promoted: str | None
    refused: str | None
    sha256: str | None
    size_bytes: int | None
    drift: ModelDrift | None
    card: Card | None


class OrgModels:
    """The models of one org. ``refresh`` reads what is new; everything else only looks.

    Attributes
    ----------
    refused : model in use → why it is not used.
    drift : model → how far leads have moved from its training, where that was measured.
    """

    def __init__(self, org: Org, directory: Path | None) -> None:
        self.org, self.directory = org, directory
        self.promotions = Promotions()
        self.refused: dict[str, str] = {}
        self.drift: dict[str, ModelDrift] = {}
        self.writing = asyncio.Lock()
        self._promoted_us: dict[str, int] = {}
        self._version = 0  # of the org's stream
        self._trained: dict[str, Trained[Any]] = {}
        self._fits: dict[str, str | None] = {}  # model → why it does not fit; a catalogue lives as long as this

    def fold(self, event: Event) -> None:
        """Take the next event of the org's stream; after a gap ``refresh`` reads on."""
        if event.version != self._version + 1:
            return
        self._version = event.version
        if event.type == MODEL_PROMOTED:
            try:
                self.promotions.fold(event)
            except msgspec.MsgspecError:
                return  # written by another version of this program
            champion = msgspec.json.decode(event.data, type=ModelPromoted)
            self._promoted_us[champion.version] = event.at_us

    async def refresh(self, store: EventStore) -> None:
        """Read the stream to its end, and the files of the models in use that are not loaded yet."""
        while events := await store.read(org_stream(self.org.name), after_version=self._version, limit=_PAGE):
            for event in events:
                self.fold(event)
        champions = self._champions()
        self.refused = {}
        for promoted in champions.values():
            if promoted.version in self._trained:
                continue
            try:
                self._trained[promoted.version] = await asyncio.to_thread(self.read, promoted.version, promoted.sha256)
            except (LeadwheelError, OSError) as error:
                self.refused[promoted.version] = str(error)
                _log.warning("model_refused", org=self.org.name, model=promoted.version, reason=str(error))
        in_use = {promoted.version for promoted in champions.values()}
        self._trained = {name: trained for name, trained in self._trained.items() if name in in_use}

    def read(self, model_id: str, digest: str | None = None) -> Trained[Any]:
        """A model, ready to answer and to explain. Blocks: seconds where shap is loaded for the first time.

        Raises
        ------
        ModelNotFound, ModelCorrupt, ModelSchemaMismatch, UnknownFeature
        """
        directory = self._directory(model_id)
        found = registry.version(directory, model_id)
        if digest not in (None, found.sha256):
            raise ModelCorrupt(model_id, "it is another file than the one that was promoted")
        features = feature_set(self.org.catalogue, found.card.features)
        model = registry.load(directory, model_id, fingerprint=features.fingerprint)
        trained: Trained[Any] = Trained(model_id, found.card, features, cast("Any", model))
        trained.warm()
        return trained

    def models(self, configuration: str) -> Models:
        """What predicts under a configuration: its own models; the default's where the outcome is the same one."""
        champions = self._champions()
        found: dict[str, Trained[Any] | None] = {}
        for family in FAMILIES:
            promoted = champions.get((configuration, family))
            if promoted is None and self._is_like_default(configuration, family):
                promoted = champions.get((DEFAULT_CONFIGURATION, family))
            found[family] = None if promoted is None else self._trained.get(promoted.version)
        return Models(**found)

    def version(self, model_id: str) -> Version:
        """What is known of a version. Blocks. Raises ``ModelNotFound``, ``ModelCorrupt``."""
        return registry.version(self._directory(model_id), model_id)

    def versions(self) -> list[Version]:
        """All versions that can be read, the newest of each family last. Blocks: reads every card."""
        return self._readable()[0]

    def records(self) -> list[ModelRecord]:
        """All versions, the newest of each family first. Blocks: reads every card."""
        versions, corrupt = self._readable()
        broken = [ModelRecord(name, _family(name), None, "archived", None, why, *[None] * 4) for name, why in corrupt]
        found = [self.record(each, versions) for each in versions] + broken
        return sorted(found, key=lambda each: (each.family, -int(each.id.rpartition("-")[2])))

    def _readable(self) -> tuple[list[Version], list[tuple[str, str]]]:
        """Versions, the newest of each family last; and the ids of those that are damaged, with the reason."""
        versions: list[Version] = []
        corrupt: list[tuple[str, str]] = []
        for model_id in registry.ids(self.directory) if self.directory is not None else ():
            try:
                versions.append(registry.version(self._directory(model_id), model_id))
            except ModelNotFound:
                continue  # deleted in between
            except ModelCorrupt as error:
                corrupt.append((model_id, str(error)))
        return sorted(versions, key=lambda each: (each.family, int(each.id.rpartition("-")[2]))), corrupt

    def record(self, found: Version, versions: list[Version]) -> ModelRecord:
        """One version among all of them. May block for milliseconds, once for each version."""
        champion = self.promotions.champion(found.family, found.config)
        challenger = self.promotions.challenger(versions, found.family, found.config)
        is_champion = champion is not None and champion.version == found.id
        is_challenger = challenger is not None and challenger.id == found.id
        promoted_us = self._promoted_us.get(found.id) if is_champion else None
        return ModelRecord(
            id=found.id,
            family=found.family,
            config=found.config,
            state="champion" if is_champion else "challenger" if is_challenger else "archived",
            promoted=None if promoted_us is None else format_time(promoted_us),
            refused=self.refused.get(found.id) or self.unfit(found),
            sha256=found.sha256,
            size_bytes=found.size_bytes,
            drift=self.drift.get(found.id),
            card=found.card,
        )

    def unfit(self, found: Version) -> str | None:
        """Why a version is of other features than today's; None where it fits. May block for milliseconds, once."""
        if found.id not in self._fits:
            try:
                registry.check(found, feature_set(self.org.catalogue, found.card.features).fingerprint)
                self._fits[found.id] = None
            except LeadwheelError as error:
                self._fits[found.id] = str(error)
        return self._fits[found.id]

    def _directory(self, model_id: str) -> Path:
        if self.directory is None:
            raise ModelNotFound(model_id)
        return self.directory

    def _champions(self) -> Mapping[tuple[str, Family], ModelPromoted]:
        configurations = {DEFAULT_CONFIGURATION, *self.org.settings.scoring}
        found = {
            (name, family): self.promotions.champion(family, name) for name in configurations for family in FAMILIES
        }
        return {key: champion for key, champion in found.items() if champion is not None}

    def _is_like_default(self, configuration: str, family: Family) -> bool:
        """Churn, calls and health are the same under every configuration; a conversion is what its settings say."""
        mine, default = (self.org.settings.scoring_of(name) for name in (configuration, DEFAULT_CONFIGURATION))
        if family == "multitask" or mine is None or default is None:
            return family == "multitask"
        same = (mine.horizon_days, mine.conversion_events) == (default.horizon_days, default.conversion_events)
        return same


class ScoringModels:
    """The models of all orgs.

    Parameters
    ----------
    directory : the data directory; None: nothing is on disk, so there are none.
    """

    def __init__(self, engine: Engine, directory: Path | None) -> None:
        self._engine = engine
        self._directory = None if directory is None else directory / DIRECTORY
        self._orgs: dict[str, OrgModels] = {}
        self._reading: dict[str, asyncio.Lock] = {}
        self._users: list[Callable[[OrgModels], None]] = []
        self._following: set[asyncio.Task[None]] = set()

    def tell(self, use: Callable[[OrgModels], None]) -> None:
        """From now on tell this one, too, when an org has other models in use."""
        self._users.append(use)

    def tell_no_more(self, use: Callable[[OrgModels], None]) -> None:
        """Tell it no more."""
        self._users.remove(use)

    def fold(self, event: Event) -> None:
        """An event of an org's stream was delivered."""
        found = self._orgs.get(event.stream.org)
        if found is None:
            return
        found.fold(event)
        if event.type == MODEL_PROMOTED and not self._engine.is_leading:  # promoted where the log is written
            task = asyncio.get_running_loop().create_task(self._follow(found), name="models-follow")
            self._following.add(task)
            task.add_done_callback(self._following.discard)

    async def close(self) -> None:
        """Follow no more. Idempotent."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    async def _follow(self, models: OrgModels) -> None:
        async with models.writing:
            await self._put_to_use(models)

    def has_any(self, org: Org) -> bool:
        """Whether there is a directory for the org's models. Looks at the disk."""
        return self._directory is not None and (self._directory / org.name).is_dir()

    async def of(self, org: Org) -> OrgModels:
        """Those of an org; the first call reads them."""
        found = self._orgs.get(org.name)
        if found is not None:
            return found
        async with self._reading.setdefault(org.name, asyncio.Lock()):
            if org.name not in self._orgs:
                directory = None if self._directory is None else self._directory / org.name
                found = OrgModels(org, directory)
                await found.refresh(self._engine.store)
                self._orgs[org.name] = found
            return self._orgs[org.name]

    async def promote(self, org: Org, model_id: str) -> ModelRecord:
        """Use a version from now on, durably; one that is in use stays so.

        Raises
        ------
        Problem
            ``configuration_not_found``: of the model.
        ModelNotFound, ModelCorrupt, ModelSchemaMismatch, UnknownFeature
            Nothing was changed.
        """
        models = await self.of(org)
        async with models.writing:
            version = await asyncio.to_thread(models.version, model_id)
            if org.settings.scoring_of(version.config) is None:
                raise Problem("configuration_not_found", f"no scoring configuration {version.config}")
            await asyncio.to_thread(models.read, model_id)  # a file that is no good is told before it is in use
            event = models.promotions.promote(org.name, version, self._engine.clock.now_us())
            if event is not None:
                await self._engine.ingest.record([event])
            return await self._in_use(models, model_id)

    async def roll_back(self, org: Org, model_id: str) -> ModelRecord:
        """Use the version again that was in use before this one, durably.

        Raises
        ------
        Problem
            ``model_not_in_use``: it is not the champion, or none was before it.
        ModelNotFound, ModelCorrupt
        """
        models = await self.of(org)
        async with models.writing:
            version = await asyncio.to_thread(models.version, model_id)
            champion = models.promotions.champion(version.family, version.config)
            if champion is None or champion.version != model_id:
                raise Problem("model_not_in_use", f"{model_id} is not in use")
            now_us = self._engine.clock.now_us()
            event = models.promotions.roll_back(org.name, version.family, now_us, config=version.config)
            before = models.promotions.before(version.family, version.config)
            if event is None or before is None:
                raise Problem("model_not_in_use", f"no model was in use before {model_id}")
            await self._engine.ingest.record([event])
            return await self._in_use(models, before.version)

    async def records(self, org: Org) -> list[ModelRecord]:
        """All versions of an org."""
        return await asyncio.to_thread((await self.of(org)).records)

    async def _in_use(self, models: OrgModels, model_id: str) -> ModelRecord:
        await self._put_to_use(models)
        records = await asyncio.to_thread(models.records)
        return next(each for each in records if each.id == model_id)

    async def _put_to_use(self, models: OrgModels) -> None:
        await models.refresh(self._engine.store)
        for use in self._users:
            use(models)


def _family(model_id: str) -> str:
    return model_id.rpartition("-")[0]
