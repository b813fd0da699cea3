"""A broker that asks who connects: by name and password over TLS (SASL), or by a certificate (mutual TLS).

The authority that signs all certificates is made here, by ``openssl``, and forgotten with the directory; another
one, that nobody trusts, is made beside it. The plain listener stays, for looking at the broker from outside.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eventstore.kafka_client import KafkaOptions
from tests.broker.cluster import Cluster, missing_tools, running_cluster

SASL, MUTUAL = "SASL", "MUTUAL"
USER, PASSWORD = "leadwheel", "only for trying it out"
MECHANISMS = ("PLAIN", "SCRAM-SHA-512")

_LOGIN = "org.apache.kafka.common.security"


def missing_tools_secured() -> list[str]:
    """As ``missing_tools``, with what makes certificates."""
    return missing_tools() + ([] if shutil.which("openssl") else ["openssl (openssl)"])


class SecuredCluster:
    """A cluster and what is needed to be let in.

    Attributes
    ----------
    ca_file : PEM of who signed the broker's certificate.
    cert_file, key_file : PEM of a client's.
    strange_ca_file : of an authority that signed nothing here.
    """

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.ca_file = str(directory / "ca.pem")
        self.cert_file, self.key_file = str(directory / "client.pem"), str(directory / "client.key")
        self.strange_ca_file = str(directory / "strange.pem")

    def with_password(self, topic: str, mechanism: str = "SCRAM-SHA-512") -> KafkaOptions:
        """How to reach a topic by name and password."""
        return KafkaOptions(
            brokers=self.cluster.addresses[SASL],
            topic=topic,
            security_protocol="SASL_SSL",
            sasl_mechanism=mechanism,
            sasl_username=USER,
            sasl_password=PASSWORD,
            ca_file=self.ca_file,
        )

    def with_certificate(self, topic: str) -> KafkaOptions:
        """How to reach a topic by a certificate."""
        return KafkaOptions(
            brokers=self.cluster.addresses[MUTUAL],
            topic=topic,
            security_protocol="SSL",
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )

    def settings(self, options: KafkaOptions) -> str:
        """The lines of ``leadwheel.toml`` for one way to reach it. A password goes into the environment."""
        names = ("brokers", "topic", "security_protocol", "ca_file")
        names += ("sasl_mechanism", "sasl_username") if options.sasl_username else ("cert_file", "key_file")
        return "\n".join(["[kafka]", *(f'{name} = "{getattr(options, name)}"' for name in names), ""])


@contextmanager
def running_secured_cluster(directory: Path) -> Iterator[SecuredCluster]:
    """One broker with all three listeners, ended when the block is left."""
    certificates = directory / "certificates"
    _certify(certificates)
    listeners = {SASL: "SASL_SSL", MUTUAL: "SSL"}
    scram = [f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
    with running_cluster(directory / "cluster", more=_lines(certificates), listeners=listeners, scram=scram) as cluster:
        yield SecuredCluster(cluster, certificates)


def _lines(certificates: Path) -> list[str]:
    name = f"listener.name.{SASL.lower()}"
    return [
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={certificates / 'broker.both'}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={certificates / 'ca.pem'}",
        f"listener.name.{MUTUAL.lower()}.ssl.client.auth=required",
        f"sasl.enabled.mechanisms={','.join(MECHANISMS)}",
        f'{name}.plain.sasl.jaas.config={_LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
        f"{name}.scram-sha-512.sasl.jaas.config={_LOGIN}.scram.ScramLoginModule required;",
    ]


def _certify(directory: Path) -> None:
    """Two authorities; a certificate for the broker and one for a client, both of the first one."""
    directory.mkdir(parents=True)
    for authority in ("ca", "strange"):
        _openssl(
            directory,
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", f"/CN=leadwheel {authority}"),
            *("-keyout", f"{authority}.key", "-out", f"{authority}.pem"),
        )
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for owner in ("broker", "client"):
        key = f"{owner}.key"
        request = ("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={owner}", "-keyout", key)
        _openssl(directory, *request, "-out", f"{owner}.csr")
        signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3650", "-extfile", "names")
        _openssl(directory, "x509", "-req", "-in", f"{owner}.csr", *signed_by, "-out", f"{owner}.pem")
    both = (directory / "broker.key").read_text() + (directory / "broker.pem").read_text()
    (directory / "broker.both").write_text(both)


def _openssl(directory: Path, *arguments: str) -> None:
    run = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {run.stderr}")
