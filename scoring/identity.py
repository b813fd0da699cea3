"""Identifiers of what scoring writes: hashes of what caused it, so that writing it twice is a duplicate.

Outside, a prediction is ``HASH.type`` (``3f…9a.conversion``) and an alert ``HASH``; their events are ``~pm:HASH`` and
``~al:HASH``.
"""

from hashlib import sha256
from typing import Any, NamedTuple, get_args

import msgspec

from scoring.model import PredictionType

_TYPES: dict[str, PredictionType] = {each.lower(): each for each in get_args(PredictionType)}
_HASH_LENGTH = 64


class PredictionId(NamedTuple):
    """Which making, and which of its predictions."""

    making: str
    type: PredictionType

    @property
    def event_id(self) -> str:
        return f"~pm:{self.making}"

    def __str__(self) -> str:
        return f"{self.making}.{self.type.lower()}"


def hashed(*causes: Any) -> str:
    """Lower-case hex SHA-256 of the causes as compact JSON."""
    return sha256(msgspec.json.encode(causes)).hexdigest()


def making_of(event_id: str) -> str:
    """The making that a ``prediction_made`` event is."""
    return event_id.removeprefix("~pm:")


def parse_prediction_id(text: str) -> PredictionId | None:
    """The parts of a prediction's id; None for what is none.

    Examples
    --------
    >>> parse_prediction_id("a" * 64 + ".churn").type, parse_prediction_id("42")
    ('CHURN', None)
    """
    making, _, kind = text.partition(".")
    is_hash = len(making) == _HASH_LENGTH and set(making) <= set("0123456789abcdef")
    return PredictionId(making, _TYPES[kind]) if is_hash and kind in _TYPES else None


def made_event_id(lead: str, configuration: str, inputs: str, made_us: int) -> str:
    """Of a ``prediction_made``: whose, under which configuration, from what, when."""
    return f"~pm:{hashed(lead, configuration, inputs, made_us)}"


def outcome_event_id(prediction: str) -> str:
    """Of the one verdict on a prediction that its outcome gives."""
    return f"~pv:{hashed(prediction, 'outcome')}"


def opinion_event_id(prediction: str, place: int) -> str:
    """Of the verdict that people give on a prediction for the ``place``-th time, from 1."""
    return f"~pv:{hashed(prediction, 'person', place)}"


def alert_id(lead: str, rule: str, episode: int) -> str:
    """Of the ``episode``-th alert of a rule for a lead, from 1."""
    return hashed(lead, rule, episode)


def raised_event_id(alert: str) -> str:
    return f"~al:{alert}"


def resolved_event_id(alert: str) -> str:
    return f"~ax:{alert}"


def acknowledged_event_id(alert: str) -> str:
    return f"~aa:{alert}"


def delivery_id(alert: str, transition: str, sink: str) -> str:
    """Of what a webhook is to be told: whichever way it ends."""
    return hashed(alert, transition, sink)


def delivered_event_id(delivery: str, outcome: str) -> str:
    return f"~ad:{hashed(delivery, outcome)}"
