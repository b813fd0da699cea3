"""Why brokers do not let this program in. The client says that it cannot connect; what it met, and what to set, is found out here."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

#: What brokers do on purpose: asking again is vain until something is set otherwise.
REFUSED = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
    ssl.SSLError,
)
_CLOSED = (KafkaConnectionError, ConnectionResetError)
#: A broker that misses a client's certificate says so at once, and says nothing to one that it lets in.
_ALERT_S = 0.5


async def why(broker: str, security: Mapping[str, Any], request_s: float) -> BaseException | None:
    """What a connection meets that is tried for this; None where it is answered."""
    host, _, port = broker.strip().rpartition(":")
    request_ms = round(request_s * 1000)
    try:
        connection = await create_conn(host, int(port), request_timeout_ms=request_ms, **security)
    except (KafkaError, TimeoutError, OSError, ValueError) as error:
        tls = security.get("ssl_context")
        alert = await _alert(host, int(port), tls) if tls is not None and isinstance(error, _CLOSED) else None
        return alert or _Closed(security) if isinstance(error, _CLOSED) else error
    try:
        await connection.send(MetadataRequest([]))  # the first request that needs more than a connection
    except (KafkaError, TimeoutError, OSError) as error:
        return _Closed(security) if isinstance(error, _CLOSED) else error
    finally:
        connection.close()
    return None


def words(error: BaseException, security: Mapping[str, Any]) -> str:
    """What to tell, with the setting that it is about."""
    text = str(error) or type(error).__name__
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"they do not take {security.get('sasl_mechanism')} here (kafka.sasl_mechanism)"
    if isinstance(error, SaslAuthenticationFailed):
        said = error.args[0] if error.args else "no more than that"
        return f"they do not know the name with this password (kafka.sasl_username, kafka.sasl_password): {said}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"their certificate is not trusted (kafka.ca_file): {error.verify_message}"
    if isinstance(error, ssl.SSLError) and "alert" in text.lower():
        return (
            f"they do not take this client's certificate, or miss one (kafka.cert_file, kafka.key_file): {error.reason}"
        )
    return text


class _Closed(Exception):
    """The broker took the connection and closed it, without a word."""

    def __init__(self, security: Mapping[str, Any]) -> None:
        protocol = security["security_protocol"]
        super().__init__(f"the connection was closed; do they speak {protocol} there (kafka.security_protocol)?")


async def _alert(host: str, port: int, tls: ssl.SSLContext) -> BaseException | None:
    """What the other side of a TLS connection says against it after the handshake, where it does."""
    try:
        async with asyncio.timeout(_ALERT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            try:
                await reader.read(1)
            finally:
                writer.close()
    except ssl.SSLError as error:
        return error
    except (OSError, TimeoutError):
        return None
    return None
