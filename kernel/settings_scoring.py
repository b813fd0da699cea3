"""``[org.X.scoring.NAME]``: how the leads of an organisation are scored. ``default`` exists without being written."""

from typing import Annotated, Literal

from msgspec import Meta

from kernel.sections import AtLeastOne, Must, NotNegative, Points, Seconds, Secret, Section, Share

DEFAULT_CONFIGURATION = "default"

Days = Annotated[int, Meta(ge=1, le=365)]


class ThresholdSettings(Section, frozen=True):
    """``thresholds``: from which priority on a lead is in a tier; below ``cold`` it is in ``low``."""

    hot: Points = 80.0  # tier top: whom to call today
    warm: Points = 50.0  # tier high
    cold: Points = 20.0  # tier medium


class CategoryWeights(Section, frozen=True):
    """``weights``: how many of the rules' 100 points each category can give."""

    demographic: Points = 25.0  # who the lead is
    behavioral: Points = 35.0  # what it did
    temporal: Points = 20.0  # how recently and how regularly
    engagement: Points = 20.0  # how it answers outreach


class LanguageModelSettings(Section, frozen=True):
    """``language_model``: an OpenAI-compatible endpoint as one more source of predictions. Off by default."""

    enabled: bool = False  # a lead's facts leave the house when it is on
    base_url: str = ""  # of a server that speaks OpenAI's chat completions, up to and with /v1
    model: str = ""  # as that server names it
    api_key: Secret | None = None  # servers of one's own mostly need none
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 8.0  # for the whole answer; then the model or the rules answer
    concurrency: AtLeastOne = 4  # requests under way at once; what finds no place is answered by the model or the rules
    pause_s: Seconds = 30.0  # nothing is asked for so long after a 429 without Retry-After, or after failures in a row
    failures_max: AtLeastOne = 3  # so many failures in a row make a pause
    prompt_chars: Annotated[int, Meta(ge=200, le=100_000)] = 2000  # of facts, about 500 tokens


class RetrainingSettings(Section, frozen=True):
    """``retraining``: when models that are in use are trained anew, and what becomes of the new ones."""

    every_days: Annotated[int, Meta(ge=0, le=365)] = 0  # after the newest version of a model; 0: not by the calendar
    on_drift: bool = False  # when leads no longer look like those that a model was trained on
    drift_check_h: Annotated[int, Meta(ge=1, le=8760)] = 24  # between two looks at drift; the list of models shows it
    drift_leads: Annotated[int, Meta(ge=100, le=100_000)] = 1000  # looked at for it; fewer make it rough
    drift_share_max: Share = 0.25  # of a model's importance, on features that have drifted; beyond it is drift
    promote: Literal["never", "better", "always"] = "never"  # better: than the one in use, on the same later rows


class ScoringSettings(Section, frozen=True):
    """``[org.X.scoring.NAME]``: one scoring configuration."""

    thresholds: ThresholdSettings = ThresholdSettings()
    weights: CategoryWeights = CategoryWeights()
    horizon_days: Days = 30  # a conversion counts when it comes within so many days
    conversion_events: tuple[str, ...] = ("deal_won", "purchase_completed")  # what a conversion is
    triggers: tuple[str, ...] = (
        "session_completed",
        "inbound_call",
        "payment_failed",
        "subscription_cancelled",
        "booking_request",
        "deal_won",
        "deal_lost",
    )  # events after which predictions are made without being asked for
    debounce_s: Annotated[float, Meta(ge=0, le=86_400)] = 10.0  # further triggers within it are one with the first
    refresh_age_s: Annotated[int, Meta(ge=60, le=31_536_000)] = 86_400  # older ones are remade if their inputs changed
    refresh_per_minute: NotNegative = 600  # of those remade because of age: a hundredth of a bulk job's rate
    explained_features: Annotated[int, Meta(ge=1, le=200)] = 12  # named in an explanation; the others are summed
    accurate_from: Share | None = None  # probability that says yes; empty: the model's own threshold, 0.5 for rules
    retraining: RetrainingSettings = RetrainingSettings()
    language_model: LanguageModelSettings = LanguageModelSettings()


def check_scoring(key: str, scoring: ScoringSettings, must: Must) -> None:
    """The relations within one configuration that types cannot say.

    Parameters
    ----------
    key : dotted, of the configuration's table.
    must : raises where a relation does not hold.
    """
    tiers, weights, llm = scoring.thresholds, scoring.weights, scoring.language_model
    must(
        tiers.cold < tiers.warm < tiers.hot,
        f"{key}.thresholds",
        f"expected cold < warm < hot, got {tiers.cold:g}, {tiers.warm:g}, {tiers.hot:g}",
    )
    total = weights.demographic + weights.behavioral + weights.temporal + weights.engagement
    must(abs(total - 100) < 1e-9, f"{key}.weights", f"expected weights that sum to 100, got {total:g}")
    must(bool(scoring.conversion_events), f"{key}.conversion_events", "expected at least one type of event")
    for name in ("conversion_events", "triggers"):
        listed: tuple[str, ...] = getattr(scoring, name)
        must(len(set(listed)) == len(listed) and all(listed), f"{key}.{name}", "expected each type of event once")
    must(
        not llm.enabled or llm.base_url.startswith(("http://", "https://")),
        f"{key}.language_model.base_url",
        f"expected http:// or https:// and an address, got {llm.base_url!r}",
    )
    must(
        not llm.enabled or bool(llm.model),
        f"{key}.language_model.model",
        "expected the model's name, as the server has it",
    )
