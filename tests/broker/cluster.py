"""A real Apache Kafka on this machine, one or three brokers in KRaft mode, started from Maven artifacts.

Needs Java 17 and Maven (on Debian: ``openjdk-17-jre-headless`` and ``maven``). The artifacts of ``pom.xml`` are
copied once into the user's cache directory. Everything a broker writes lies under the directory it is given.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.patience import comes_true

HERE = Path(__file__).parent
TOOLS = {"java": "openjdk-17-jre-headless", "mvn": "maven"}
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
PLAIN = "PLAINTEXT"  #: the listener that every cluster has
_CONTROLLER = "CONTROLLER"

_HEAP = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_LOGGING = """\
log4j.rootLogger=WARN, out
log4j.logger.kafka.server.KafkaRaftServer=INFO
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c{1}: %m%n
"""


def missing_tools() -> list[str]:
    """Commands that a broker needs and this machine has not, each with Debian's package of it."""
    return [f"{tool} ({package})" for tool, package in TOOLS.items() if shutil.which(tool) is None]


def libraries() -> Path:
    """The directory with the broker's jars, filled by Maven when it is first asked for."""
    pom = (HERE / "pom.xml").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leadwheel"
    found = cache / f"kafka-{uuid.uuid5(uuid.NAMESPACE_OID, pom.decode()).hex[:12]}"
    if not found.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            filled = Path(scratch) / "libs"
            copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={filled}"]
            # Not beside the sources: Maven would make a folder of its own there.
            shutil.copy(HERE / "pom.xml", scratch)
            run = subprocess.run(["mvn", "-B", "-q", *copy], cwd=scratch, capture_output=True, text=True, check=False)
            if run.returncode:
                raise RuntimeError(
                    f"Maven could not get the broker's libraries:\n{run.stdout[-2000:]}{run.stderr[-500:]}"
                )
            try:
                filled.rename(found)
            except OSError:  # another process was faster
                if not found.exists():
                    raise
    return found


class Broker:
    """One broker's process: started, killed, paused and started again on the same files."""

    def __init__(self, number: int, directory: Path, properties: str, libs: Path) -> None:
        self.number = number
        self._directory = directory
        self._libs = libs
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True)
        (directory / "server.properties").write_text(properties)
        (directory / "log4j.properties").write_text(_LOGGING)

    @property
    def log(self) -> Path:
        return self._directory / "broker.log"

    def format(self, cluster_id: str, scram: Sequence[str] = ()) -> None:
        """Prepare the empty directory for the cluster, which knows these users of SCRAM."""
        users = [part for user in scram for part in ("--add-scram", user)]
        arguments = self._java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", "server.properties", *users)
        run = subprocess.run(arguments, cwd=self._directory, capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(f"the broker's directory cannot be formatted:\n{run.stdout}{run.stderr}")

    def start(self) -> None:
        with self.log.open("ab") as log:
            arguments = self._java("kafka.Kafka", "server.properties")
            self._process = subprocess.Popen(arguments, cwd=self._directory, stdout=log, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does. Idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
                self._process = None
            except subprocess.TimeoutExpired:
                self.kill()

    def pause(self) -> None:
        """Let it stand still with its connections open."""
        assert self._process is not None, "the broker does not run"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None, "the broker does not run"
        self._process.send_signal(signal.SIGCONT)

    def check_running(self) -> None:
        """Raises ``RuntimeError`` with the end of its log when the process has ended."""
        if self._process is None or self._process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
            raise RuntimeError(f"broker {self.number} does not run:\n{tail}")

    def _java(self, *arguments: str) -> list[str]:
        return ["java", *_HEAP, "-Dlog4j.configuration=file:log4j.properties", "-cp", f"{self._libs}/*", *arguments]


class Cluster:
    """One or three brokers, each broker and controller at once.

    Parameters
    ----------
    directory : an empty or missing one.
    size : 1: a topic has one copy; 3: three copies, two of which must take a write.
    more : lines for every broker's ``server.properties``.
    listeners : further ones, by name, each with its security protocol; ``addresses`` says where.
    scram : users, as the storage tool wants them.
    """

    def __init__(
        self,
        directory: Path,
        *,
        size: int = 1,
        more: Sequence[str] = (),
        listeners: Mapping[str, str] | None = None,
        scram: Sequence[str] = (),
    ) -> None:
        if size not in (1, 3):
            raise ValueError("a cluster has one or three brokers")
        protocols = {PLAIN: "PLAINTEXT", **(listeners or {}), _CONTROLLER: "PLAINTEXT"}
        ports = _free_ports(len(protocols) * size)
        found = {name: ports[n * size : (n + 1) * size] for n, name in enumerate(protocols)}
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(found[_CONTROLLER], 1))
        self.addresses = {name: ",".join(f"127.0.0.1:{port}" for port in each) for name, each in found.items()}
        self.bootstrap = self.addresses[PLAIN]
        self.size = size
        self._scram = scram
        libs = libraries()
        self.brokers = []
        for number in range(1, size + 1):
            own = {name: each[number - 1] for name, each in found.items()}
            lines = _properties(number, own, protocols, voters, size, more)
            self.brokers.append(Broker(number, directory / f"broker-{number}", lines, libs))

    def start(self) -> None:
        """Format, start, and wait until every broker answers."""
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        for broker in self.brokers:
            broker.format(cluster_id if not cluster_id.startswith("-") else f"A{cluster_id[1:]}", self._scram)
            broker.start()
        self.wait_ready()

    def wait_ready(self, count: int | None = None) -> None:
        """Wait until so many brokers (all of them) take requests. Raises ``RuntimeError``."""
        wanted = self.size if count is None else count

        def are_there() -> bool:
            if asyncio.run(_answering(self.bootstrap)) >= wanted:
                return True
            if count is None:
                for broker in self.brokers:
                    broker.check_running()
            return False

        if not comes_true(are_there, START_TIMEOUT_S, every_s=0.2):
            raise RuntimeError(f"{wanted} brokers did not answer within {START_TIMEOUT_S} s")

    def stop(self) -> None:
        """End every broker. Nothing is kept for another start, so nobody waits for an orderly end."""
        for broker in self.brokers:
            broker.kill()


@contextmanager
def running_cluster(directory: Path, *, size: int = 1, **more: Any) -> Iterator[Cluster]:
    """A cluster that is up, and ended when the block is left. ``more`` is for ``Cluster``."""
    cluster = Cluster(directory, size=size, **more)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


async def _answering(bootstrap: str) -> int:
    """How many brokers the cluster counts; 0 when nobody answers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await admin.start()
        return len((await admin.describe_cluster())["brokers"])
    except (KafkaError, OSError):
        return 0
    finally:
        await admin.close()


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _properties(
    number: int, ports: Mapping[str, int], protocols: Mapping[str, str], voters: str, size: int, more: Sequence[str]
) -> str:
    copies, least = (3, 2) if size == 3 else (1, 1)
    listeners = [f"{name}://127.0.0.1:{port}" for name, port in ports.items()]
    return "\n".join(
        (
            "process.roles=broker,controller",
            f"node.id={number}",
            f"controller.quorum.voters={voters}",
            f"listeners={','.join(listeners)}",
            f"advertised.listeners={','.join(each for each in listeners if not each.startswith(_CONTROLLER))}",
            f"inter.broker.listener.name={PLAIN}",
            f"controller.listener.names={_CONTROLLER}",
            f"listener.security.protocol.map={','.join(f'{name}:{each}' for name, each in protocols.items())}",
            "log.dirs=data",
            f"default.replication.factor={copies}",
            f"min.insync.replicas={least}",
            f"offsets.topic.replication.factor={copies}",
            "offsets.topic.num.partitions=1",
            f"transaction.state.log.replication.factor={copies}",
            f"transaction.state.log.min.isr={least}",
            "transaction.state.log.num.partitions=1",
            "group.initial.rebalance.delay.ms=0",
            "group.min.session.timeout.ms=1500",  # tests do not wait for 6 s
            "auto.create.topics.enable=false",
            "log.cleaner.dedupe.buffer.size=2097152",
            "num.network.threads=2",
            "num.io.threads=2",
            *more,
            "",
        )
    )
