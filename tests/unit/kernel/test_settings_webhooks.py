"""Webhooks in the settings: what is refused at start, and what nobody sees."""

from pathlib import Path

import msgspec
import pytest

from kernel.errors import SettingsError
from kernel.settings_sources import load_settings, public_settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def load(directory: Path, text: str, name: str = "crm") -> object:
    file = directory / "leadwheel.toml"
    file.write_text(f"[org.default.webhooks.{name}]\n{text}\n")
    return load_settings(file)


def test_a_webhook_has_an_address_and_a_secret_that_never_shows_itself(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.of_org("default").webhooks == {}
    loaded = load(tmp_path, f'url = "https://crm.example.com/hook"\nsecret = "{SECRET}"')
    webhook = loaded.of_org("default").webhooks["crm"]  # type: ignore[attr-defined]
    assert (webhook.url, webhook.secret.value, webhook.resolved) == ("https://crm.example.com/hook", SECRET, True)
    shown = msgspec.json.encode(public_settings(loaded, "default")).decode()  # type: ignore[arg-type]
    assert "crm.example.com" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f'secret = "{SECRET}"', "url"),
        ('url = "https://a.example"', "secret"),
        (f'url = "ftp://a.example"\nsecret = "{SECRET}"', "url"),
        (f'url = "https://"\nsecret = "{SECRET}"', "url"),
        (f'url = "http://a.example:99999"\nsecret = "{SECRET}"', "url"),
        ('url = "https://a.example"\nsecret = "hunter2"', "secret"),
        ('url = "https://a.example"\nsecret = "whsec_c2hvcnQ="', "secret"),
        ('url = "https://a.example"\nsecret = "whsec_****************************"', "secret"),
        (f'url = "https://a.example"\nsecret = "{SECRET}"\nattempts = 0', "attempts"),
        (f'url = "https://a.example"\nsecret = "{SECRET}"\nbackoff_s = 10.0\nbackoff_max_s = 5.0', "backoff_s"),
        (f'url = "https://a.example"\nsecret = "{SECRET}"\nretries = 3', "retries"),
    ],
)
def test_a_wrong_webhook_stops_the_start_and_names_its_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert caught.value.key in (f"org.default.webhooks.crm.{key}", "org.default.webhooks.crm")
    assert key in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["log", "stream"])
def test_the_sinks_that_are_always_told_are_no_webhooks(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="another name"):
        load(tmp_path, f'url = "https://a.example"\nsecret = "{SECRET}"', name)
