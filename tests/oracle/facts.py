"""Events as the oracle takes them, and which of them count at a time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.exact import DAY_US, Local, instant
from tests.oracle.vocabulary import KINDS, PACKS

Value = int | float | str | list[str] | None

FREE_EMAIL_DOMAINS = frozenset(
    [
        "gmail.com",
        "googlemail.com",
        "yahoo.com",
        "yahoo.co.uk",
        "yahoo.de",
        "yahoo.fr",
        "ymail.com",
        "hotmail.com",
        "hotmail.co.uk",
        "hotmail.de",
        "hotmail.fr",
        "outlook.com",
        "outlook.de",
        "live.com",
        "msn.com",
        "icloud.com",
        "me.com",
        "mac.com",
        "aol.com",
        "proton.me",
        "protonmail.com",
        "pm.me",
        "gmx.de",
        "gmx.net",
        "gmx.com",
        "web.de",
        "t-online.de",
        "mail.ru",
        "yandex.ru",
        "yandex.com",
        "zoho.com",
        "fastmail.com",
        "mail.com",
        "qq.com",
        "163.com",
        "126.com",
        "orange.fr",
        "free.fr",
        "libero.it",
    ]
)


@dataclass(frozen=True)
class Fact:
    """One event of one entity. ``data`` is the parsed JSON; an amount may be a number, a Decimal or a string."""

    id: str
    type: str
    at_us: int
    data: Mapping[str, Any] = field(default_factory=dict)
    recorded_us: int | None = None

    def get(self, name: str) -> Any:
        """The field's value, None when it is missing or null: *not given*."""
        return self.data.get(name)


@dataclass(frozen=True)
class Settings:
    """What features read of an org's settings. ``business_hours`` is (from, until): from ≤ local hour < until."""

    timezone: str = "UTC"
    packs: tuple[str, ...] = PACKS
    min_interactions: int = 1
    max_interaction_gap_hours: float = 72
    engagement_weights: Mapping[str, float] = field(
        default_factory=lambda: {"view": 1, "click": 2, "inquiry": 3, "message": 4, "schedule": 5}
    )
    business_hours: tuple[int, int] = (9, 17)
    free_email_domains: frozenset[str] = FREE_EMAIL_DOMAINS


def facts_from(envelopes: Iterable[Mapping[str, Any]]) -> list[Fact]:
    """Facts of events in the form in which they are posted."""
    return [Fact(each["id"], each["type"], instant(each["time"]), each.get("data") or {}) for each in envelopes]


def standing(facts: Iterable[Fact], known_us: int | None = None) -> list[Fact]:
    """The stored, unretracted events of outside, each once.

    The first of several with one id wins. An ``event_retracted`` counts as nothing itself, whatever its time;
    one that names a retraction is inert. ``known_us`` leaves out what was recorded later.
    """
    stored: dict[str, Fact] = {}
    for fact in facts:
        known = known_us is None or (fact.recorded_us is not None and fact.recorded_us <= known_us)
        if known:
            stored.setdefault(fact.id, fact)
    retracted = {fact.get("event_id") for fact in stored.values() if fact.type == "event_retracted"}
    return [
        fact
        for fact in stored.values()
        if fact.type != "event_retracted" and fact.id not in retracted and KINDS[fact.type].pack != "system"
    ]


class Log:
    """The events of one entity that count at ``tau_us``, in the order (time, id)."""

    def __init__(self, facts: Iterable[Fact], tau_us: int, settings: Settings, known_us: int | None = None) -> None:
        self.tau_us = tau_us
        self.settings = settings
        counted = [
            fact
            for fact in standing(facts, known_us)
            if fact.at_us <= tau_us and KINDS[fact.type].pack in settings.packs
        ]
        self.events = sorted(counted, key=lambda fact: (fact.at_us, fact.id))

    def of(self, *types: str) -> list[Fact]:
        """The events of these types, in order."""
        return [fact for fact in self.events if fact.type in types]

    def interactions(self) -> list[Fact]:
        """The events initiated by the lead, of whatever pack."""
        return [fact for fact in self.events if KINDS[fact.type].by == "lead"]

    def activities(self) -> list[Fact]:
        return [fact for fact in self.events if KINDS[fact.type].is_activity]

    def within(self, days: int, events: Sequence[Fact]) -> list[Fact]:
        """Those in the half-open window (τ − days, τ]."""
        return [fact for fact in events if self.tau_us - days * DAY_US < fact.at_us <= self.tau_us]

    def days_since(self, fact: Fact | None) -> int | None:
        """Whole days since an event; null without one."""
        return None if fact is None else (self.tau_us - fact.at_us) // DAY_US

    def local(self, fact: Fact) -> Local:
        return Local(fact.at_us, self.settings.timezone)


def given(events: Iterable[Fact], name: str) -> list[Any]:
    """The values of a field where given, in order."""
    return [fact.get(name) for fact in events if fact.get(name) is not None]


def first(events: Sequence[Fact]) -> Fact | None:
    return events[0] if events else None


def last(events: Sequence[Fact]) -> Fact | None:
    return events[-1] if events else None
