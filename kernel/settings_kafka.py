"""``[kafka]``: the topic that is the log, where one machine is not to be the only one that has it."""

from typing import Annotated, Literal

from msgspec import Meta

from kernel.sections import Must, Seconds, Secret, Section


class KafkaSettings(Section, frozen=True):
    """``[kafka]``: read when ``store.kind`` is ``kafka``, and for topics of others."""

    brokers: str = ""  # HOST:PORT of one or more, separated by commas; the others are learned from them
    topic: str = ""  # the log; it must exist, and is never shared with another service
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"  # as the brokers listen
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = (
        "PLAIN"  # PLAIN shows the password: over TLS only
    )
    sasl_username: str = ""  # with SASL; it must be allowed to read, write and describe the topic, and its transactions
    sasl_password: Secret | None = None  # better in LEADWHEEL_KAFKA__SASL_PASSWORD than in a file
    ca_file: str = ""  # PEM of who signs the brokers' certificates; empty: the system's authorities
    cert_file: str = ""  # PEM of the service's own certificate, where brokers ask for one
    key_file: str = ""  # and of its key
    attempt_s: Seconds = (
        15.0  # brokers that hold a batch no sooner are away: further appends are refused until it is settled
    )
    request_s: Seconds = 5.0  # for one answer of a broker
    retry_s: Annotated[float, Meta(gt=0, le=60)] = 0.5  # between two looks for brokers that are away


def check_kafka(kafka: KafkaSettings, *, is_used: bool, must: Must) -> None:
    """The forms that types cannot say."""
    if not is_used:
        return
    must(bool(kafka.topic), "kafka.topic", "expected the name of a topic, as store.kind is kafka")
    expected = f"expected HOST:PORT, one or more separated by commas, got {kafka.brokers!r}"
    must(are_brokers(kafka.brokers), "kafka.brokers", expected)
    check_security(kafka, must)


def check_security(kafka: KafkaSettings, must: Must) -> None:
    """What must be given together for brokers to be reached."""
    is_named = bool(kafka.sasl_username) or not kafka.security_protocol.startswith("SASL")
    must(is_named, "kafka.sasl_username", f"expected a name, as kafka.security_protocol is {kafka.security_protocol}")
    must(bool(kafka.cert_file) == bool(kafka.key_file), "kafka.cert_file", "expected cert_file and key_file together")


def are_brokers(text: str) -> bool:
    """Whether it is ``HOST:PORT``, or several of them, separated by commas."""
    parts = [part.strip().rpartition(":") for part in text.split(",")]
    return all(host and port.isdigit() and 0 < int(port) < 65_536 for host, _, port in parts)
