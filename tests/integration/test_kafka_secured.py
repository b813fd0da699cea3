"""Brokers that ask who connects: by name and password over TLS, and by a certificate. Who is let in works as ever, who is not is told why."""

import asyncio
import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventstore.kafka import open_kafka
from eventstore.kafka_client import Connections, KafkaOptions, create_topic, describe
from eventstore.store import EventStore
from gateway.nodes.forwarding.cluster import Remote
from kernel.clock import SystemClock
from kernel.errors import BrokersRefused, SettingsError, StoreUnavailable
from tests.broker.secured import (
    MECHANISMS,
    PASSWORD,
    SecuredCluster,
    missing_tools_secured,
    running_secured_cluster,
)
from tests.contract.store_events import TYPES, lead, purchase
from tests.integration.nodes import Nodes, bought
from tests.integration.process import call, command, serving
from tests.patience import eventually

# A connection that the client gives up while it is being made is left to the garbage collector.
ignored = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker"), ignored]

FEATURES = "/v1/orgs/default/leads/l/features?features=rfm:monetary_total"
PURCHASE = b'{"id": "p1", "lead": "l", "type": "purchase_completed", "data": {"amount": 7}}'


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredCluster]:
    if missing := missing_tools_secured():
        pytest.skip(f"NO KAFKA HERE, not installed: {', '.join(missing)}")
    with running_secured_cluster(tmp_path_factory.mktemp("kafka") / "secured") as cluster:
        yield cluster
    gc.collect()  # what is left of refused connections is found here, and not later in another test


# Let in.


def test_a_service_serves_by_name_and_password_and_goes_on_in_an_empty_directory(
    secured: SecuredCluster, tmp_path: Path
) -> None:
    settings = secured.settings(secured.with_password("served"))
    password = {"LEADWHEEL_KAFKA__SASL_PASSWORD": PASSWORD}
    for number in range(2):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "leadwheel.toml").write_text(f'{settings}\n[store]\nkind = "kafka"\n')
        if number == 0:
            made = command("create-topic", "--data-dir", str(directory), "--partitions", "2", **password)
            assert made.returncode == 0, made.stderr
        with serving(directory, **password) as (url, process):
            if number == 0:
                assert call(f"{url}/v1/orgs/default/events", PURCHASE)[0] == 200
            status, body = call(url + FEATURES)
            assert (status, body["values"]) == (200, {"rfm:monetary_total": 7.0})
            process.terminate()
            assert process.wait(20) == 0


@pytest.mark.parametrize("way", [*MECHANISMS, "certificate"])
async def test_a_log_is_written_and_read_again(secured: SecuredCluster, tmp_path: Path, way: str) -> None:
    name = f"by-{way}"
    topic = secured.with_certificate(name) if way == "certificate" else secured.with_password(name, way)
    await create_topic(topic, partitions=3)
    events = [purchase(lead(f"l{n}"), f"e{n}", n) for n in range(7)]
    store = await opened(tmp_path / "one", topic)
    await store.append(events[:5])
    await store.close()
    store = await opened(tmp_path / "two", topic)
    assert [event.id for event in await store.read_log()] == [event.id for event in events[:5]]
    await store.append(events)
    assert len(await store.read_log()) == 7
    await store.close()


async def opened(directory: Path, topic: KafkaOptions) -> EventStore:
    directory.mkdir()  # noqa: ASYNC240 - a test may wait
    return await open_kafka(directory, kafka=topic, owner=directory.name, types=TYPES, clock=SystemClock())


async def test_nodes_share_a_topic_by_name_and_password(secured: SecuredCluster, tmp_path: Path) -> None:
    topic = secured.with_password("nodes")
    await create_topic(topic, partitions=4)
    names = ("security_protocol", "sasl_mechanism", "sasl_username", "sasl_password", "ca_file")
    more = {f"kafka.{name}": getattr(topic, name) for name in names}
    group = Nodes(topic, tmp_path)
    try:
        for name in ("a", "b"):
            await group.open(name, **more)
        await group.wait_level()
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(20)))
        first, second = group.running["a"], group.running["b"]
        assert {first.place(partition) for partition in second.led()} == {Remote("http://b")}
        await group.stop("a")
        await eventually(lambda: len(second.led()) == 4)
        for n in range(20):
            log = await group.log_of(lead(f"l{n}"))
            assert [event.id for event in log] == [f"e{n}"]
    finally:
        for name in list(group.running):
            await group.close(name)


async def test_a_connection_ends_though_the_other_side_is_busy(secured: SecuredCluster) -> None:
    """As a broker is that holds a question back for a while: it would hear of the end when it has answered."""
    tls = Connections(secured.with_certificate("t"))._security["ssl_context"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(secured.ca_file).with_name("broker.both"))
    is_over = threading.Event()

    def hold(listening: socket.socket) -> None:
        with context.wrap_socket(listening.accept()[0], server_side=True):
            is_over.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        holding = asyncio.ensure_future(asyncio.to_thread(hold, listening))
        try:
            _, writer = await asyncio.open_connection(*listening.getsockname(), ssl=tls)
            async with asyncio.timeout(5):
                writer.close()
                await writer.wait_closed()
        finally:
            is_over.set()
            await holding


# Not let in.


async def refusal(topic: KafkaOptions, **changed: str) -> str:
    """What is said to who comes with something else, and what kind of error it is."""
    with pytest.raises((BrokersRefused, StoreUnavailable)) as told:
        await describe(Connections(msgspec.structs.replace(topic, **changed)))
    return f"{type(told.value).__name__} {told.value}"


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("wrong", ["sasl_username", "sasl_password"])
async def test_a_wrong_name_or_password_is_told(secured: SecuredCluster, mechanism: str, wrong: str) -> None:
    said = await refusal(secured.with_password("t", mechanism), **{wrong: "wrong"})
    assert "BrokersRefused" in said
    assert "(kafka.sasl_username, kafka.sasl_password): Authentication failed" in said
    assert PASSWORD not in said


async def test_a_mechanism_that_brokers_do_not_have_is_told(secured: SecuredCluster) -> None:
    said = await refusal(secured.with_password("t"), sasl_mechanism="SCRAM-SHA-256")
    assert said.endswith("they do not take SCRAM-SHA-256 here (kafka.sasl_mechanism)")


@pytest.mark.parametrize("ca", ["strange", "the system's"])
async def test_a_broker_of_an_authority_that_is_not_trusted_is_told(secured: SecuredCluster, ca: str) -> None:
    ca_file = secured.strange_ca_file if ca == "strange" else ""
    for topic in (secured.with_password("t"), secured.with_certificate("t")):
        said = await refusal(topic, ca_file=ca_file)
        assert "BrokersRefused" in said
        assert "their certificate is not trusted (kafka.ca_file): unable to get local issuer certificate" in said


async def test_a_missing_certificate_is_told(secured: SecuredCluster) -> None:
    said = await refusal(secured.with_certificate("t"), cert_file="", key_file="")
    assert "BrokersRefused" in said
    assert "miss one (kafka.cert_file, kafka.key_file)" in said


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT", "SSL"])
async def test_another_protocol_than_that_of_the_listener_is_asked_about(
    secured: SecuredCluster, protocol: str
) -> None:
    said = await refusal(secured.with_password("t"), security_protocol=protocol)
    assert said.endswith(f"do they speak {protocol} there (kafka.security_protocol)?")


async def test_tls_where_there_is_none_is_asked_about(secured: SecuredCluster) -> None:
    said = await refusal(secured.with_password("t"), brokers=secured.cluster.bootstrap)
    assert said.endswith("do they speak SASL_SSL there (kafka.security_protocol)?")


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_files_that_are_none_are_named(secured: SecuredCluster, tmp_path: Path, key: str) -> None:
    (tmp_path / "text").write_text("no PEM")
    for name in ("text", "nowhere"):
        topic = msgspec.structs.replace(secured.with_certificate("t"), **{key: str(tmp_path / name)})
        with pytest.raises(SettingsError, match=rf"kafka\.{key}: expected PEM files"):
            Connections(topic)


def test_the_command_says_it_in_one_line(secured: SecuredCluster, tmp_path: Path) -> None:
    (tmp_path / "leadwheel.toml").write_text(secured.settings(secured.with_password("t")))
    run = command("create-topic", "--data-dir", str(tmp_path), LEADWHEEL_KAFKA__SASL_PASSWORD="wrong")
    assert run.returncode == 3
    assert "(kafka.sasl_username, kafka.sasl_password)" in run.stderr.strip().splitlines()[-1]
