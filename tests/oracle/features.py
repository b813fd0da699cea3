"""The entry points: a lead's features, a subject's features, a lead's ignored campaigns."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping

from tests.oracle import browsing, commerce, market, sales, service, tutoring
from tests.oracle.facts import Fact, Log, Settings, Value

#: View → the pack that it belongs to and its function, in the order of the specification's tables.
VIEWS: dict[str, tuple[str, Callable[[Log], dict[str, Value]]]] = {
    "rfm": ("commerce", commerce.rfm),
    "engagement": ("commerce", commerce.engagement),
    "behavior": ("commerce", commerce.behavior),
    "temporal": ("commerce", commerce.temporal),
    "campaign": ("commerce", commerce.campaign),
    "window": ("tutoring", tutoring.window),
    "recency": ("tutoring", tutoring.recency),
    "lifetime": ("tutoring", tutoring.lifetime),
    "tutor": ("tutoring", tutoring.tutor),
    "segment": ("tutoring", tutoring.segment),
    "trend": ("tutoring", tutoring.trend),
    "customer": ("service", service.customer),
    "property": ("service", service.property_),
    "interaction": ("browsing", browsing.interaction),
    "demographic": ("sales", sales.demographic),
    "activity": ("sales", sales.activity),
    "timing": ("sales", sales.timing),
    "outreach": ("sales", sales.outreach),
}


def lead_features(
    facts: Iterable[Fact],
    tau_us: int,
    settings: Settings | None = None,
    *,
    views: Iterable[str] | None = None,
    known_us: int | None = None,
) -> dict[str, Value]:
    """The values ``view:name`` → value of a lead as of ``tau_us``, in the order of the specification.

    Views of packs that the settings leave out are left out; ``views`` asks for some only. With ``known_us``
    only facts that carry a ``recorded_us`` not after it are stored yet.
    """
    settings = settings or Settings()
    log = Log(facts, tau_us, settings, known_us)
    asked = set(VIEWS if views is None else views)
    return {
        f"{view}:{name}": value
        for view, (pack, compute) in VIEWS.items()
        if view in asked and pack in settings.packs
        for name, value in compute(log).items()
    }


def subject_features(facts: Iterable[Fact], tau_us: int, *, known_us: int | None = None) -> dict[str, Value]:
    """The four market values of one subject, from the subject's own events; names without the subject's suffix."""
    values = market.market(Log(facts, tau_us, Settings(), known_us))
    return {f"market:{name}": value for name, value in values.items()}


def market_features(facts_of: Mapping[str, Iterable[Fact]], tau_us: int) -> dict[str, Value]:
    """The market view over subjects: row by row, each expanded over the subjects in the order given."""
    by_subject = {subject: subject_features(facts, tau_us) for subject, facts in facts_of.items()}
    rows = subject_features([], tau_us)
    return {f"{row}_{subject}": values[row] for row in rows for subject, values in by_subject.items()}


def campaigns_ignored(
    facts: Iterable[Fact], tau_us: int, settings: Settings | None = None, *, known_us: int | None = None
) -> dict[str, int]:
    """Each campaign ignored as of ``tau_us`` with its r + 7 d, the time of the event that the wheel writes."""
    return commerce.ignored(Log(facts, tau_us, settings or Settings(), known_us))


def ignored_event_id(lead: str, campaign_id: str) -> str:
    """The id of the ``campaign_ignored`` event.

    >>> ignored_event_id("7", "c")[:12]
    '~ci:2653e440'
    """
    compact = json.dumps([lead, campaign_id], ensure_ascii=False, separators=(",", ":"))
    return "~ci:" + hashlib.sha256(compact.encode()).hexdigest()
