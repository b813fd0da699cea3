"""The market in a lead's answer: which features of which subjects, between which features of the lead.

A subject is an entity of its own with a small vector; its features carry its name in the answers of leads
(``market:tutor_count_algebra``), row by row: all subjects of the first feature, then of the second. A span says
what of an answer is the lead's and what is its market's, so that each side can be encoded, kept and joined alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b, sha256
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from kernel.errors import DefinitionError, UnknownFeature
from projections.feature import Feature
from projections.listing import Listing
from projections.selection import Column, Selection, columns_of, is_values, vector_of

#: A feature of the market: its subject, and its place among the features of a subject.
Place = tuple[str, int]


class MarketFeatures:
    """The features of an org's subjects under the names that they have in answers.

    Attributes
    ----------
    features : of all subjects, row by row.
    of_subject : the features of each subject alone, in the order in which its entity computes them.
    """

    def __init__(self, entities: Listing, subjects: Sequence[str]) -> None:
        self.subjects, self.views = tuple(subjects), entities.views
        own = {subject: tuple(_named(each, subject) for each in entities.features) for subject in subjects}
        self.of_subject = {
            subject: Listing(entities.views, features, _digest(entities.fingerprint, subject))
            for subject, features in own.items()
        }
        self.features = tuple(own[subject][row] for row in range(len(entities.features)) for subject in subjects)
        self.places: dict[str, Place] = {
            own[subject][row].feature: (subject, row) for subject in subjects for row in range(len(own[subject]))
        }
        self.fingerprint = fingerprint_of(self.features)
        self._by_reference: dict[str, Feature] = {}
        for each in self.features:
            if each.feature in self._by_reference:
                hint = "a feature and a subject together name it: rename one of them"
                raise DefinitionError("subjects", f"{each.feature} would be two features", hint)
            self._by_reference[each.feature] = each

    def get(self, reference: str) -> Feature | None:
        return self._by_reference.get(reference)


def _named(feature: Feature, subject: str) -> Feature:
    return msgspec.structs.replace(
        feature,
        feature=f"{feature.feature}_{subject}",
        name=f"{feature.name}_{subject}",
        description=f"{feature.description}, in {subject}",
    )


class Run(NamedTuple):
    """Consecutive features of one side: ``[start, stop)`` of the lead's, or of the market's, of a span."""

    is_own: bool
    start: int
    stop: int


class Span:
    """Features of a lead and of its org's subjects, in the order of one answer.

    Attributes
    ----------
    own : the lead's features among them.
    market : places of the market's features among them.
    runs : which side comes when.
    fingerprint : of the lead's catalogue alone while nothing else is asked for: it does not know of the market then.
    """

    def __init__(self, listing: Listing, market: MarketFeatures, features: tuple[Feature, ...]) -> None:
        self.features = features
        self.names = tuple(each.feature for each in features)
        self.own = _own(listing, market, features)
        self.market = tuple(market.places[name] for name in self.names if name in market.places)
        self.subjects = tuple(dict.fromkeys(subject for subject, _ in self.market))
        self.runs = tuple(_runs([name not in market.places for name in self.names]))
        self.fingerprint = listing.fingerprint
        if self.market:
            self.fingerprint = _digest(listing.fingerprint, market.fingerprint)

    @property
    def is_own(self) -> bool:
        """Whether every feature is the lead's."""
        return not self.market

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the vector, of both sides."""
        return columns_of(self.features)

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self.columns)

    @cached_property
    def is_numbers(self) -> bool:
        """Whether each feature has one column, its number."""
        return is_values(self.columns, len(self.features))

    def vector(self, values: Sequence[Any]) -> Sequence[Any]:
        """The numbers of the columns, given the values of both sides in the span's order."""
        return values if self.is_numbers else vector_of(self.features, self.columns, values)

    @cached_property
    def encoded_columns(self) -> bytes:
        """Their names as JSON, encoded once."""
        return msgspec.json.encode(self.column_names)

    @cached_property
    def key(self) -> str:
        """Equal for equal features in equal order."""
        return blake2b("\n".join(self.names).encode(), digest_size=12).hexdigest()

    @cached_property
    def definition(self) -> str:
        """The fingerprint of these very features in this order."""
        return fingerprint_of(self.features)


def select_span(
    listing: Listing,
    market: MarketFeatures,
    views: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
) -> Span:
    """Features named, in that order; or those of the views named, in catalogue order, ``*`` being all views.

    By default all of the lead's own. Raises ``UnknownFeature``.
    """
    if features is not None:
        return Span(listing, market, tuple(market.get(each) or listing.feature(each) for each in features))
    if views is None:
        return Span(listing, market, listing.features)
    for view in views:
        if view != "*" and view not in listing.views and view not in market.views:
            raise UnknownFeature(view)
    everything = (*listing.features, *market.features)
    return Span(listing, market, tuple(f for f in everything if "*" in views or f.view in views))


def fingerprint_of(features: Sequence[Feature]) -> str:
    """Names the definitions of these features, and their order."""
    return _digest(*(each.feature + each.fingerprint for each in features))


def _own(listing: Listing, market: MarketFeatures, features: tuple[Feature, ...]) -> Selection:
    own = tuple(each for each in features if each.feature not in market.places)
    return listing.everything if own == listing.features else Selection(listing, own)


def _runs(sides: Sequence[bool]) -> list[Run]:
    """Runs of a span, given for each feature whether it is the lead's own."""
    runs: list[Run] = []
    ends = {True: 0, False: 0}
    for is_own, group in groupby(sides):
        start = ends[is_own]
        ends[is_own] = start + sum(1 for _ in group)
        runs.append(Run(is_own, start, ends[is_own]))
    return runs


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:16]
