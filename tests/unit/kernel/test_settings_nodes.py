"""``[nodes]``: what is refused at start."""

import pytest

from kernel.errors import SettingsError
from kernel.settings_sources import load_settings

NODE: dict[str, object] = {
    "store.kind": "kafka",
    "kafka.brokers": "broker:9092",
    "kafka.topic": "leads",
    "nodes.url": "http://10.0.0.5:8780",
    "nodes.secret": "sixteen characters",
}


def test_a_node_is_taken_and_its_secret_does_not_show() -> None:
    settings = load_settings(None, {}, NODE)
    assert settings.nodes.url == "http://10.0.0.5:8780"
    assert settings.nodes.secret is not None
    assert settings.nodes.secret.value == "sixteen characters"
    assert "sixteen" not in repr(settings)


@pytest.mark.parametrize(
    ("key", "value", "at"),
    [
        ("nodes.url", "10.0.0.5:8780", "nodes.url"),
        ("nodes.url", "http://10.0.0.5:8780/leads", "nodes.url"),
        ("nodes.url", "ftp://10.0.0.5", "nodes.url"),
        ("nodes.secret", "short", "nodes.secret"),
        ("nodes.secret", None, "nodes.secret"),
        ("nodes.heartbeat_s", 4, "nodes.heartbeat_s"),
        ("store.kind", "sqlite", "nodes.url"),
    ],
)
def test_what_cannot_be_a_node_is_refused_by_its_key(key: str, value: object, at: str) -> None:
    flags = {name: each for name, each in (NODE | {key: value}).items() if each is not None}
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {}, flags)
    assert caught.value.key == at
    assert "short" not in str(caught.value), "a secret never shows, not even one that is refused"


def test_one_process_needs_none_of_it() -> None:
    assert load_settings(None, {}, {}).nodes.url == ""
