"""What predictions go by: a model's features by permutation on held-out rows, or the points that the rules can give."""

import msgspec

from gateway.scoring.scores import OrgScores
from scoring.lead_features import GROUPS
from scoring.points import CATEGORIES

_OTHER = "other"
_CATEGORY_OF_VIEW = {view: category for category, (view, _) in GROUPS.items()}


class FeatureImportance(msgspec.Struct, frozen=True):
    """``category`` is one of the rules' four, or ``other``."""

    feature: str
    category: str
    importance: float
    std: float


class ImportanceAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """``method`` is ``permutation`` (of the model) or ``points`` (of the rules: the most that a feature can give)."""

    model_version: str | None
    method: str
    items: list[FeatureImportance]


def importance_of(scores: OrgScores, configuration: str) -> ImportanceAnswer:
    """Of the model of conversion; of the rules where there is none. Raises ``Problem``."""
    settings = scores.settings(configuration)
    model = scores.scorer(configuration).models.conversion
    if model is not None:
        items = [
            FeatureImportance(each.feature, _category(each.feature), each.importance, each.std)
            for each in model.card.importance
        ]
        return ImportanceAnswer(model.version, "permutation", items)
    items = [
        FeatureImportance(each.feature, category.name, each.best * getattr(settings.weights, category.name) / 100, 0.0)
        for category in CATEGORIES
        for each in category.scored
    ]
    return ImportanceAnswer(None, "points", sorted(items, key=lambda each: -each.importance))


def _category(feature: str) -> str:
    return _CATEGORY_OF_VIEW.get(feature.partition(":")[0], _OTHER)
