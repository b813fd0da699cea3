"""Topics beside the log, which the program makes for itself when they are missing: as many copies as the log has."""

from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from eventstore.kafka_client import Connections, Found, asking, look_up, look_up_new
from kernel.errors import BrokersRefused, TopicUnfit

_IS_THERE = 36
_REFUSALS = (29, 31)


async def side_topic(
    connections: Connections, topic: str, *, use: str, configs: Mapping[str, str], must: Mapping[str, str]
) -> Found:
    """A topic with as many partitions and copies as the log, made when it is missing, else checked.

    Parameters
    ----------
    use : what it is for, in words that follow *cannot be*.
    configs : of one that is made.
    must : those that one which is there already must have, too.

    Raises
    ------
    TopicUnfit, BrokersRefused, StoreUnavailable
    """
    async with asking(connections) as admin:
        log = await look_up_new(connections, admin, connections.options.topic)
        if log is None:
            raise TopicUnfit(connections.options.topic, "a topic that exists", "none of that name")
        found = await look_up(connections, admin, topic)
        if found is None:
            await _make(connections, admin, topic, log, use, configs)
            found = await look_up_new(connections, admin, topic)
    if found is None:
        raise TopicUnfit(topic, "a topic that exists", f"none of that name at {connections.options.brokers}", use=use)
    if found.partitions != log.partitions:
        raise TopicUnfit(topic, f"{log.partitions} partitions, as the log has", str(found.partitions), use=use)
    for name, value in must.items():
        if (actual := found.configs.get(name)) != value:
            raise TopicUnfit(topic, f"{name}={value}", f"{name}={actual}", use=use)
    return found


async def _make(
    connections: Connections,
    admin: AIOKafkaAdminClient,
    topic: str,
    log: Found,
    use: str,
    configs: Mapping[str, str],
) -> None:
    chosen = dict(configs)
    if (least := log.configs.get("min.insync.replicas")) is not None:
        chosen["min.insync.replicas"] = least  # what is lost with a machine, another one has
    new = NewTopic(topic, num_partitions=log.partitions, replication_factor=log.copies, topic_configs=chosen)
    response = (await admin.create_topics([new])).to_object()
    (said,) = response["topic_errors"]
    code = said["error_code"]
    if code and code != _IS_THERE:  # another node was faster
        wanted = f"{log.partitions} partitions, {log.copies} copies, " + ", ".join(
            f"{k}={v}" for k, v in chosen.items()
        )
        reason = said.get("error_message") or f"error {code}"
        if code in _REFUSALS:
            asked = f"to make the topic {topic} ({reason}). Make it: {wanted}"
            raise BrokersRefused(connections.options.brokers, asked)
        raise TopicUnfit(topic, f"a new topic of {wanted}", reason, use=use)
