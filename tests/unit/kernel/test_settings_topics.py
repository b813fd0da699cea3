"""Tables of topics are refused at the start by the key at fault; what they name stands in the settings as written."""

from pathlib import Path

import pytest

from kernel.errors import SettingsError
from kernel.settings import Settings
from kernel.settings_sources import load_settings

BROKERS = "[kafka]\nbrokers = 'b:9092'\n"


def load(path: Path, text: str, **environment: str) -> Settings:
    (path / "leadwheel.toml").write_text(text, "utf-8")
    return load_settings(path / "leadwheel.toml", environment)


def test_tables_of_topics_stand_as_they_are_written(tmp_path: Path) -> None:
    text = f"""{BROKERS}
[org.acme.topics_in.orders]
topic = "shop.orders"
dead_letters = "dead"
[org.acme.topics_in.orders.mapping]
"basket.total" = "data.amount"
"@key" = "lead"
[org.acme.topics_in.orders.constants]
type = "purchase_completed"
"data.items" = 3
[org.acme.topics_out.all]
topic = "changes"
kinds = ["features", "alert"]
features = ["rfm"]
"""
    org = load(tmp_path, text, LEADWHEEL_ORG__ACME__TOPICS_IN__ORDERS__BATCH_EVENTS="50").org["acme"]
    table = org.topics_in["orders"]
    assert (table.topic, table.dead_letters, table.batch_events, table.format) == ("shop.orders", "dead", 50, "json")
    assert table.mapping == {"basket.total": "data.amount", "@key": "lead"}
    assert table.constants == {"type": "purchase_completed", "data.items": 3}
    assert (org.topics_out["all"].kinds, org.topics_out["all"].features) == (("features", "alert"), ("rfm",))


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ("topics_in.a]", "topics_in.a", "topic"),
        ("topics_in.a]\ntopic = ''", "topics_in.a.topic", "length"),
        ("topics_in.a]\ntopic = 't'\nbrokers = 'nowhere'", "topics_in.a.brokers", "HOST:PORT"),
        ("topics_in.a]\ntopic = 't'\ndead_letters = 't'", "topics_in.a.dead_letters", "another topic"),
        ("topics_in.a]\ntopic = 't'\nformat = 'avro'", "topics_in.a.format", "'json', 'cloudevents'"),
        ("topics_in.a]\ntopic = 't'\nmapping = {x = 'amount'}", "topics_in.a.mapping.x", "data.FIELD"),
        ("topics_in.a]\ntopic = 't'\nmapping = {x = 'data.'}", "topics_in.a.mapping.x", "data.FIELD"),
        ("topics_in.a]\ntopic = 't'\nmapping = {'@kye' = 'lead'}", "topics_in.a.mapping.@kye", "@key, @time"),
        ("topics_in.a]\ntopic = 't'\nmapping = {x = 'lead', y = 'lead'}", "topics_in.a.mapping", "each key once"),
        (
            "topics_in.a]\ntopic = 't'\nmapping = {x = 'data.a', y = 'data.a.b'}",
            "topics_in.a.mapping",
            "within another",
        ),
        ("topics_in.a]\ntopic = 't'\nconstants = {kind = 'x'}", "topics_in.a.constants.kind", "data.FIELD"),
        (
            "topics_in.a]\ntopic = 't'\nformat = 'cloudevents'\nmapping = {x = 'lead'}",
            "topics_in.a.mapping",
            "CloudEvents",
        ),
        ("topics_out.a]\ntopic = 't'\nkinds = []", "topics_out.a.kinds", "each kind once"),
        ("topics_out.a]\ntopic = 't'\nkinds = ['alert']\nfeatures = ['rfm']", "topics_out.a.features", "no features"),
        ("topics_out.a]\ntopic = 't'\ntopics = 'x'", "topics_out.a.topics", "did you mean topic"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(tmp_path: Path, table: str, key: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, f"{BROKERS}[org.acme.{table}\n")
    assert refused.value.key == f"org.acme.{key}"
    assert said in refused.value.expected


def test_a_topic_needs_brokers_of_its_own_or_of_the_service(tmp_path: Path) -> None:
    table = "[org.acme.topics_in.a]\ntopic = 't'\n"
    with pytest.raises(SettingsError, match=r"org\.acme\.topics_in\.a\.brokers.*here or as kafka\.brokers"):
        load(tmp_path, table)
    assert load(tmp_path, table + "brokers = 'b:1'\n").org["acme"].topics_in["a"].brokers == "b:1"


def test_security_is_checked_for_topics_though_the_log_is_not_on_kafka(tmp_path: Path) -> None:
    text = "[kafka]\nbrokers = 'b:1'\nsecurity_protocol = 'SASL_SSL'\n[org.acme.topics_out.a]\ntopic = 't'\n"
    with pytest.raises(SettingsError, match="sasl_username"):
        load(tmp_path, text)
