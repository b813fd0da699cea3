from pathlib import Path

import msgspec
import pytest

from kernel.errors import SettingsError
from kernel.settings import OrgSettings, Secret, Settings
from kernel.settings_scoring import ScoringSettings
from kernel.settings_sources import load_settings, public_settings


def load(text: str = "", environment: dict[str, str] | None = None, flags: dict[str, object] | None = None) -> Settings:
    return load_settings(_FILES.write(text) if text else None, environment, flags)


class _Files:
    directory: Path

    def write(self, text: str) -> Path:
        path = self.directory / "leadwheel.toml"
        path.write_text(text, "utf-8")
        return path


_FILES = _Files()


@pytest.fixture(autouse=True)
def directory(tmp_path: Path) -> None:
    _FILES.directory = tmp_path


def test_without_any_source_all_settings_have_defaults() -> None:
    settings = load_settings()
    assert settings.server.host == "127.0.0.1"
    assert settings.server.port == 8780
    assert settings.of_org("any") == OrgSettings()
    assert settings.of_org("any").timezone == "UTC"
    assert settings.of_org("any").trigger_max_age_s == 86_400


def test_environment_overrules_the_file_and_flags_overrule_both() -> None:
    text = "[server]\nport = 1\nhost = '::1'\n[store]\nbatch_events = 5\n"
    environment = {"LEADWHEEL_SERVER__PORT": "2", "LEADWHEEL_SERVER__HOST": "localhost", "PATH": "/bin"}
    settings = load(text, environment, {"server.port": 3, "server.host": None})
    assert (settings.server.port, settings.server.host, settings.store.batch_events) == (3, "localhost", 5)
    assert settings.sources["server.port"] == "flag --port"
    assert settings.sources["server.host"] == "environment LEADWHEEL_SERVER__HOST"


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("ORG__ACME__TIMEZONE", "Europe/Berlin", "timezone", "Europe/Berlin"),
        ("ORG__ACME__SUBJECTS", "algebra, physics", "subjects", ("algebra", "physics")),
        ("ORG__ACME__SUBJECTS", '["algebra"]', "subjects", ("algebra",)),
        ("ORG__ACME__MAX_CLOCK_SKEW_S", "1.5", "max_clock_skew_s", 1.5),
        ("ORG__ACME__BROWSING__BUSINESS_HOURS", "8,20", "browsing.business_hours", (8, 20)),
        ("ORG__ACME__BROWSING__ENGAGEMENT_WEIGHTS__VIEW", "7", "browsing.engagement_weights.view", 7.0),
        ("ORG__ACME__SCORING__DEFAULT__HORIZON_DAYS", "14", "scoring.default.horizon_days", 14),
        ("ORG__ACME__SCORING__DEFAULT__ACCURATE_FROM", "0.25", "scoring.default.accurate_from", 0.25),
        ("ORG__ACME__SCORING__DEFAULT__THRESHOLDS__HOT", "90", "scoring.default.thresholds.hot", 90.0),
        (
            "ORG__ACME__SCORING__DEFAULT__LANGUAGE_MODEL__API_KEY",
            "7x",
            "scoring.default.language_model.api_key.value",
            "7x",
        ),
    ],
)
def test_a_nested_environment_name_sets_one_key_of_one_org(name: str, text: str, path: str, value: object) -> None:
    found: object = load(environment={f"LEADWHEEL_{name}": text}).org["acme"]
    for part in path.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value


def test_an_environment_name_finds_the_org_as_the_file_spells_it() -> None:
    settings = load("[org.Acme]\ncurrency = 'EUR'\n", {"LEADWHEEL_ORG__ACME__TIMEZONE": "Asia/Tokyo"})
    assert list(settings.org) == ["Acme"]
    assert settings.org["Acme"].timezone == "Asia/Tokyo"


def test_the_key_of_the_command_line_is_no_setting() -> None:
    assert load(environment={"LEADWHEEL_KEY": "secret"}) == Settings()


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("[server]\nprot = 1", "server.prot", "did you mean port"),
        ("[sever]\nport = 1", "sever", "did you mean server"),
        ("[server]\nport = 'x'", "server.port", "expected an integer, got a string"),
        ("[server]\nport = 70000", "server.port", "<= 65535"),
        ("server = 3", "server", "expected a table"),
        ("[store]\nkind = 'x'", "store.kind", "one of 'sqlite', 'kafka', 'memory', got 'x'"),
        ("[actors]\ntick_s = nan", "actors.tick_s", "> 0.0"),
        ("org = 1", "org", "tables"),
        ("[org]\nx = 1", "org.x", "expected a table"),
        ("[org.'a b']", "org.a b", "letters, digits"),
        ("[org.a]\ntimezone = 'Mars/North'", "org.a.timezone", "IANA time zone"),
        ("[org.a]\ntimezone = '../etc/passwd'", "org.a.timezone", "IANA time zone"),
        ("[org.a]\ntimezone = ''", "org.a.timezone", "IANA time zone"),
        ("[org.a]\ncurrency = 'euro'", "org.a.currency", "three letters"),
        ("[org.a]\npacks = ['x y']", "org.a.packs", "names of packs"),
        ("[org.a]\npacks = ['commerce', 'commerce']", "org.a.packs", "once"),
        ("[org.a]\nsubjects = ['Algebra']", "org.a.subjects", "[a-z0-9_]"),
        ("[org.a]\nsubjects = ['x', 'x']", "org.a.subjects", "once"),
        ("[org.a]\nsubjects = 'x'", "org.a.subjects", "expected a list"),
        ("[org.a]\nfree_email_domains = ['X.com']", "org.a.free_email_domains", "X.com"),
        ("[org.a.browsing]\nbusiness_hours = [17, 9]", "org.a.browsing.business_hours", "from before to"),
        ("[org.a.browsing]\nbusiness_hours = [1]", "org.a.browsing.business_hours", "length 2"),
        ("[org.a.browsing.engagement_weights]\nvew = 1", "org.a.browsing.engagement_weights.vew", "mean view"),
        ("[org.a.browsing.engagement_weights]\nview = inf", "org.a.browsing.engagement_weights.view", "<= 1000000"),
        (
            "[server]\nmax_body_mb = 1\nmax_event_kb = 1024\n[store]\npending_events = 5",
            "store.pending_events",
            "10000",
        ),
        ("[actors]\nintake_events = 5", "actors.intake_events", "server.max_events"),
        ("[org.a]\nscoring = 1", "org.a.scoring", "tables"),
        ("[org.a.scoring.'a b']", "org.a.scoring.a b", "letters, digits"),
        ("[org.a.scoring]\nb = 1", "org.a.scoring.b", "expected a table"),
        ("[org.a.scoring.b]\nhorizon = 3", "org.a.scoring.b.horizon", "did you mean horizon_days"),
        ("[org.a.scoring.b]\nhorizon_days = 0", "org.a.scoring.b.horizon_days", ">= 1"),
        (
            "[org.a.scoring.b.thresholds]\nhot = 10",
            "org.a.scoring.b.thresholds",
            "expected cold < warm < hot, got 20, 50, 10",
        ),
        ("[org.a.scoring.b.thresholds]\nhott = 90", "org.a.scoring.b.thresholds.hott", "did you mean hot"),
        ("[org.a.scoring.b.weights]\ntemporal = 25", "org.a.scoring.b.weights", "sum to 100, got 105"),
        ("[org.a.scoring.b]\ntriggers = ['x', 'x']", "org.a.scoring.b.triggers", "once"),
        ("[org.a.scoring.b]\nconversion_events = []", "org.a.scoring.b.conversion_events", "at least one"),
        ("[org.a.scoring.b.language_model]\nenabled = true", "org.a.scoring.b.language_model.base_url", "http"),
        (
            "[org.a.scoring.b.language_model]\nenabled = true\nbase_url = 'http://x/v1'",
            "org.a.scoring.b.language_model.model",
            "name",
        ),
        ("[org.a.scoring.b.language_model]\napi_key = 7", "org.a.scoring.b.language_model.api_key", "a string"),
        ("[actors]\nmailbox_events = 1000000", "actors.mailbox_events", "intake_events"),
        ("x", "(file)", "expected TOML"),
    ],
)
def test_a_wrong_setting_is_refused_with_key_source_and_expectation(text: str, key: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(text)
    assert caught.value.key == key
    assert expected in caught.value.expected
    assert caught.value.source.endswith("leadwheel.toml")


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("LEADWHEEL_SERVER__PRT", "1", "server.prt"),
        ("LEADWHEEL_SERVER__PORT", "x", "server.port"),
        ("LEADWHEEL_SERVER", "{}", "server"),
        ("LEADWHEEL_X", "1", "x"),
        ("LEADWHEEL_SERVER__ACCESS_LOG", "yes", "server.access_log"),
        ("LEADWHEEL_ORG__A", "1", "org.a"),
        ("LEADWHEEL_ORG__A__TIMEZONE", "Mars", "org.a.timezone"),
        ("LEADWHEEL_ORG__A__BROWSING", "[", "org.a.browsing"),
        ("LEADWHEEL_ORG__A__TIMEZONE__X", "1", "org.a.timezone.x"),
    ],
)
def test_a_wrong_environment_name_or_value_is_named(name: str, text: str, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environment={name: text})
    assert caught.value.key == key
    assert caught.value.source == f"environment {name}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.toml"):
        load_settings(tmp_path / "nothing.toml")


def test_secrets_hide_in_repr_and_in_what_is_shown() -> None:
    settings = load("[org.a.scoring.default.language_model]\napi_key = 'hush'\nmodel = 'tiny'\n")
    secret = settings.org["a"].scoring["default"].language_model.api_key
    assert isinstance(secret, Secret)
    assert secret.value == "hush"
    assert "hush" not in repr(settings)
    shown = public_settings(settings)
    assert "hush" not in repr(shown)
    model = shown["org"]["a"]["scoring"]["default"]["language_model"]
    assert (model["api_key"], model["model"]) == ("********", "tiny")


def test_the_default_configuration_of_scoring_exists_without_being_written() -> None:
    org = load("[org.a.scoring.mine]\nhorizon_days = 7\n").org["a"]
    default, mine = org.scoring_of("default"), org.scoring_of("mine")
    assert default is not None
    assert mine is not None
    assert (default.horizon_days, mine.horizon_days, org.scoring_of("other")) == (30, 7, None)


def test_one_org_is_shown_nothing_of_another() -> None:
    shown = public_settings(load("[org.a]\n[org.b]\n"), "a")
    assert list(shown["org"]) == ["a"]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load().server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("of", [Settings(), OrgSettings(), ScoringSettings()], ids=lambda of: type(of).__name__)
def test_a_default_is_what_a_file_makes_of_it(of: msgspec.Struct) -> None:
    """72 and 72.0 are equal, but another text: a default that is written out would then be another fingerprint."""
    written = msgspec.convert(msgspec.to_builtins(of), type(of))
    assert repr(written) == repr(of)
