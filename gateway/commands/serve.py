"""``leadwheel serve``: the service itself."""

from pathlib import Path

from gateway import server
from gateway.commands.common import DEFAULT_DIRECTORY, settings_of


def serve(
    *,
    data_dir: Path = DEFAULT_DIRECTORY,
    host: str | None = None,
    port: int | None = None,
    config: Path | None = None,
    kafka: str | None = None,
    topic: str | None = None,
    node_url: str | None = None,
) -> int:
    """Run the service until it is told to stop; it is ready when /readyz says 200.

    Parameters
    ----------
    data_dir
        Directory of the data; made if it is missing.
    host
        Address to listen on; only this machine's own until a key exists.
    port
        Port to listen on.
    config
        Settings file; default: leadwheel.toml in the data directory, if it is there.
    kafka
        Keep the log on Kafka: HOST:PORT of one or more brokers, separated by commas.
    topic
        The Kafka topic that is the log; the data directory holds a copy of it.
    node_url
        Share the topic with other processes: where they reach this one, such as http://10.0.0.5:8780. All need the same
        secret, in LEADWHEEL_NODES__SECRET.
    """
    flags = {
        "server.host": host,
        "server.port": port,
        "kafka.brokers": kafka,
        "kafka.topic": topic,
        "nodes.url": node_url,
    }
    if kafka is not None:
        flags["store.kind"] = "kafka"
    settings = settings_of(data_dir, config, flags)
    data_dir.mkdir(parents=True, exist_ok=True)
    if settings.nodes.url:
        from gateway.nodes import serving  # with Kafka's client, which a service alone does without

        return serving.run(settings, data_dir)
    return server.run(settings, data_dir)
