"""Versions of a model: what was learned when, the bytes of the newest, and which one was promoted."""

from typing import Final

import msgspec

from bandit.learners.learner import LearnerSettings
from bandit.versions import model_sha256, stamp_in
from kernel.ids import Position

#: Versions that are listed, and of which the bytes are kept besides the promoted one's.
VERSIONS_LISTED: Final = 200
VERSIONS_KEPT: Final = 5


class ModelVersion(msgspec.Struct, frozen=True, array_like=True):
    """A model as it was after ``updates`` observations; ``position`` is the log's, of the last one learned."""

    version: str
    updates: int
    position: int
    recorded_us: int
    settings: LearnerSettings
    library: str
    sha256: str
    size_bytes: int


class ModelVersions(msgspec.Struct, array_like=True):
    """The versions since the learner began, oldest first."""

    listed: list[ModelVersion] = []
    kept: dict[str, bytes] = {}
    promoted: str | None = None
    newest_updates: int = 0
    newest_us: int | None = None  #: when the newest was made, or the first update came

    def add(
        self,
        version: str,
        model: bytes,
        *,
        updates: int,
        position: Position,
        recorded_us: int,
        settings: LearnerSettings,
    ) -> None:
        """Take the model as it is now as a version."""
        made = ModelVersion(
            version=version,
            updates=updates,
            position=position,
            recorded_us=recorded_us,
            settings=settings,
            library=stamp_in(model).library,
            sha256=model_sha256(model),
            size_bytes=len(model),
        )
        self.listed = [*self.listed[-VERSIONS_LISTED + 1 :], made]
        self.kept = {**self.kept, version: model}
        self.newest_updates, self.newest_us = updates, recorded_us
        self._forget()

    def promote(self, version: str | None) -> None:
        """Let decisions follow a version, or with None the model as it learns; one without bytes changes nothing."""
        if version is None or version in self.kept:
            self.promoted = version
            self._forget()

    def promoted_bytes(self) -> bytes | None:
        return None if self.promoted is None else self.kept.get(self.promoted)

    def before(self, version: str | None) -> str | None:
        """What a roll back goes to: the version before this one, or before the model as it learns; None: there is none."""
        names = [each.version for each in self.listed if each.version in self.kept]
        if version is None:
            return names[-1] if names else None
        earlier = names[: names.index(version)] if version in names else []
        return earlier[-1] if earlier else None

    def _forget(self) -> None:
        newest = {each.version for each in self.listed[-VERSIONS_KEPT:]}
        self.kept = {name: model for name, model in self.kept.items() if name in newest or name == self.promoted}
