"""The features of a lead as sales people see them: grouped into the four categories of the rules, in camelCase."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

_S = TypeVar("_S", bound=msgspec.Struct)


class Demographic(msgspec.Struct, frozen=True, rename="camel"):
    """View ``demographic``. A boolean is null only where the organisation has no such feature."""

    has_company: bool | None
    has_title: bool | None
    has_phone: bool | None
    email_domain_type: str | None
    title_seniority: str | None
    company_size_estimate: str | None


class Behavioral(msgspec.Struct, frozen=True, rename="camel"):
    """View ``activity``."""

    email_open_count: int | None
    email_click_count: int | None
    page_view_count: int | None
    form_submit_count: int | None
    meeting_count: int | None
    call_count: int | None
    activity_velocity: float | None
    channel_diversity: int | None
    high_value_action_count: int | None


class Temporal(msgspec.Struct, frozen=True, rename="camel"):
    """View ``timing``."""

    days_since_created: int | None
    days_since_last_activity: int | None
    recency_score: float | None
    activity_burst: bool | None
    day_pattern: str | None
    time_pattern: str | None


class Engagement(msgspec.Struct, frozen=True, rename="camel"):
    """View ``outreach``."""

    email_open_rate: float | None
    email_click_rate: float | None
    sequence_engagement: float | None
    avg_response_time: float | None
    is_in_active_sequence: bool | None


class LeadFeatures(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to ``GET …/ml/features``."""

    lead_id: str
    as_of: str
    demographic: Demographic
    behavioral: Behavioral
    temporal: Temporal
    engagement: Engagement


#: Category → the view that its features stand in, and their struct.
GROUPS: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "demographic": ("demographic", Demographic),
    "behavioral": ("activity", Behavioral),
    "temporal": ("timing", Temporal),
    "engagement": ("outreach", Engagement),
}

_BOOLEAN = ("has_", "is_")


def lead_features(lead: str, as_of: str, values: Mapping[str, Any]) -> LeadFeatures:
    """Group a lead's values, by reference; what the organisation does not have is null."""
    return LeadFeatures(
        lead,
        as_of,
        _grouped(Demographic, "demographic", values),
        _grouped(Behavioral, "activity", values),
        _grouped(Temporal, "timing", values),
        _grouped(Engagement, "outreach", values),
    )


def _grouped(kind: type[_S], view: str, values: Mapping[str, Any]) -> _S:
    return kind(**{name: _shown(name, values.get(f"{view}:{name}")) for name in kind.__struct_fields__})


def _shown(name: str, value: Any) -> Any:
    is_claim = name.startswith(_BOOLEAN) or name == "activity_burst"
    return bool(value) if is_claim and value is not None else value
