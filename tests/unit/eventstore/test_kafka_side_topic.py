"""A topic beside the log: how it is asked for, and what is said where it may not be made."""

from types import SimpleNamespace
from typing import Any

import pytest

from eventstore import kafka_side_topic
from eventstore.kafka_client import Connections, Found, KafkaOptions
from eventstore.kafka_side_topic import side_topic
from kernel.errors import BrokersRefused, TopicUnfit

MUST = {"cleanup.policy": "compact"}
LOG = Found(12, 3, {"min.insync.replicas": "2"})


class Brokers:
    """Answers as they do: with a code for what was to be made, and what there is."""

    def __init__(self, code: int = 0, message: str | None = None) -> None:
        self.code, self.message = code, message
        self.topics = {"leads": LOG}
        self.made: list[Any] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def create_topics(self, new: list[Any]) -> Any:
        self.made += new
        if self.code in (0, 36):
            (each,) = new
            self.topics[each.name] = Found(each.num_partitions, each.replication_factor, each.topic_configs)
        said = {"error_code": self.code, "error_message": self.message}
        return SimpleNamespace(to_object=lambda: {"topic_errors": [said]})


async def asked(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> Found:
    async def look_up(connections: object, admin: object, topic: str) -> Found | None:
        return brokers.topics.get(topic)

    connections = Connections(KafkaOptions(brokers="b:1", topic="leads"))
    monkeypatch.setattr(connections, "admin", lambda: brokers)
    monkeypatch.setattr(kafka_side_topic, "look_up", look_up)
    monkeypatch.setattr(kafka_side_topic, "look_up_new", look_up)
    return await side_topic(connections, "leads.x", use="a changelog", configs=MUST, must=MUST)


@pytest.mark.parametrize("code", [0, 36])
async def test_it_is_made_as_the_log_is_by_whoever_is_first(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    brokers = Brokers(code)
    assert await asked(brokers, monkeypatch) == Found(12, 3, MUST | {"min.insync.replicas": "2"})
    assert len(brokers.made) == 1
    await asked(brokers, monkeypatch)
    assert len(brokers.made) == 1, "it is there"


@pytest.mark.parametrize("code", [29, 31])
async def test_who_may_not_make_it_is_told_what_to_make(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with pytest.raises(BrokersRefused) as refused:
        await asked(Brokers(code, "Authorization failed."), monkeypatch)
    assert str(refused.value) == (
        "the Kafka brokers at b:1 refuse: to make the topic leads.x (Authorization failed.). "
        "Make it: 12 partitions, 3 copies, cleanup.policy=compact, min.insync.replicas=2"
    )


async def test_any_other_refusal_is_told_as_the_brokers_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TopicUnfit, match=r"leads\.x cannot be a changelog: .*got Topics end in a vowel"):
        await asked(Brokers(44, "Topics end in a vowel"), monkeypatch)
    with pytest.raises(TopicUnfit, match="error 44"):
        await asked(Brokers(44), monkeypatch)


async def test_one_that_is_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, said in ((Found(11, 3, MUST), "12 partitions"), (Found(12, 3, {}), "cleanup.policy=compact")):
        brokers = Brokers()
        brokers.topics["leads.x"] = there
        with pytest.raises(TopicUnfit, match=said):
            await asked(brokers, monkeypatch)
