"""Features under their names: what can be asked for, by reference or by view."""

from collections.abc import Sequence
from functools import cached_property

from kernel.errors import UnknownFeature
from projections.feature import Feature
from projections.selection import Selection


class Listing:
    """The features of one kind of entity, in catalogue order.

    Parameters
    ----------
    features : view by view, in the order of ``views``.
    fingerprint : names the definitions and the settings that they read.
    """

    def __init__(self, views: Sequence[str], features: Sequence[Feature], fingerprint: str) -> None:
        self.views, self.features, self.fingerprint = tuple(views), tuple(features), fingerprint
        self._by_reference = {each.feature: each for each in features}

    def feature(self, reference: str) -> Feature:
        """Raises ``UnknownFeature``."""
        found = self._by_reference.get(reference)
        if found is None:
            raise UnknownFeature(reference)
        return found

    def select(self, views: Sequence[str] | None = None, features: Sequence[str] | None = None) -> Selection:
        """Features of the views named, in catalogue order, or the features named, in that order; all by default.

        Raises ``UnknownFeature``.
        """
        if features is not None:
            return Selection(self, tuple(self.feature(each) for each in features))
        if views is None:
            return self.everything
        for view in views:
            if view not in self.views:
                raise UnknownFeature(view)
        return Selection(self, tuple(f for f in self.features if f.view in views))

    @cached_property
    def everything(self) -> Selection:
        return Selection(self, self.features)
