"""The generated reference is up to date and complete; a page is a promise only while a test holds it to the code."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from bandit.events import TYPES as BANDIT_TYPES
from eventstore.system import BUILT_IN
from gateway.app import ROUTES
from gateway.problems import CODES
from kernel import errors
from kernel.metrics import METRICS
from kernel.settings import DEFAULT_ORG, SECTIONS, BrowsingSettings, OrgSettings
from kernel.settings_scoring import (
    CategoryWeights,
    LanguageModelSettings,
    RetrainingSettings,
    ScoringSettings,
    ThresholdSettings,
)
from kernel.settings_topics import TopicInSettings, TopicOutSettings
from kernel.settings_webhooks import WebhookSettings
from projections.catalogue import Catalogue
from scoring.events import SCORING_TYPES
from scoring.points import SCORED_FEATURES
from scoring.risks import RISKS

ROOT = Path(__file__).parents[2]
NAMED_SECTIONS = (WebhookSettings, TopicInSettings, TopicOutSettings)
SCORING_SECTIONS = (ScoringSettings, ThresholdSettings, CategoryWeights, RetrainingSettings, LanguageModelSettings)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES: dict[str, str] = generator().pages()


def missing(names: Iterable[str], page: str) -> list[str]:
    return [name for name in names if f"`{name}`" not in PAGES[page]]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_make_docs_would_write(name: str) -> None:
    path = ROOT / "docs" / "reference" / name
    assert path.read_text(encoding="utf-8") == PAGES[name], "run `make docs`"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in (ROOT / "docs" / "reference").iterdir()} == set(PAGES)


def test_every_feature_is_documented_in_words() -> None:
    features = Catalogue(DEFAULT_ORG, OrgSettings()).features
    assert missing([feature.reference for feature in features], "features.md") == []
    assert [feature.reference for feature in features if not feature.description.strip()] == []


def test_every_event_type_is_documented() -> None:
    assert missing([each.name for each in Catalogue(DEFAULT_ORG, OrgSettings()).event_types], "events.md") == []
    assert missing([each.name for each in (*BUILT_IN, *BANDIT_TYPES, *SCORING_TYPES)], "events.md") == []


def test_what_the_service_writes_is_said_in_words() -> None:
    rows = [line.split(" | ") for line in PAGES["events.md"].partition("## system")[2].splitlines() if "| `" in line]
    assert len(rows) > 10
    assert [row for row in rows if len(row[2]) < 20] == []


def test_every_setting_is_documented_with_its_reason() -> None:
    names = [
        name
        for section in (*SECTIONS.values(), OrgSettings, BrowsingSettings, *NAMED_SECTIONS, *SCORING_SECTIONS)
        for name in section.__struct_fields__
    ]
    rows = {line.split("`")[1]: line for line in PAGES["settings.md"].splitlines() if line.startswith("| `")}
    tables = (
        "browsing",
        "engagement_weights",
        "scoring",
        "thresholds",
        "weights",
        "retraining",
        "language_model",
        "webhooks",
        "topics_in",
        "topics_out",
    )
    documented = [name for name in names if name not in tables]
    assert [name for name in documented if name not in rows] == []
    # What an action is worth explains itself; all other keys say why their default is what it is.
    reasons = {name: row.rsplit("|", 2)[1].strip() for name, row in rows.items()}
    assert [name for name in documented if not reasons[name]] == []


def test_every_scored_feature_and_every_risk_is_documented() -> None:
    assert missing([*SCORED_FEATURES, *(risk.code for risk in RISKS)], "scoring.md") == []


def test_every_code_and_every_error_is_documented() -> None:
    tree = [
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, errors.LeadwheelError)
    ]
    assert missing([*CODES, *tree[1:]], "errors.md") == []


def test_every_metric_is_documented() -> None:
    assert missing([each.name for each in METRICS], "metrics.md") == []


def test_every_route_is_documented() -> None:
    assert missing([f"{route.method} {route.path}" for route in ROUTES], "http.md") == []
