"""Posting to webhooks, signed as Standard Webhooks has it: one attempt at a time, each with a bound.

What is posted is JSON: ``type``, ``timestamp`` and ``data``. Its headers ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature`` are what a receiver checks; the id stays the same however often it is tried, so that a receiver
that took it already can tell.
"""

import asyncio
from datetime import UTC, datetime

import aiohttp
from standardwebhooks.webhooks import Webhook

from kernel.clock import Clock
from kernel.errors import NotDelivered
from kernel.settings_webhooks import WebhookSettings
from kernel.times import SECOND_US

_GONE = 410
_READ_BYTES = 200  # of a refusal, for whoever looks at the dead letter
_USER_AGENT = "leadwheel-webhooks"


class Poster:
    """Posts for all webhooks of a service, over one session that is opened with the first attempt."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        if self._session is not None:
            await self._session.close()

    async def post(self, webhook: WebhookSettings, message_id: str, body: bytes) -> None:
        """Try once. Raises ``NotDelivered``."""
        try:
            async with asyncio.timeout(webhook.timeout_s):
                await self._post(webhook, message_id, body)
        except TimeoutError as error:
            raise NotDelivered(f"no answer within {webhook.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotDelivered(f"{type(error).__name__}: {error}"[:_READ_BYTES]) from error

    async def _post(self, webhook: WebhookSettings, message_id: str, body: bytes) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), cookie_jar=aiohttp.DummyCookieJar()
            )
        headers = self._headers(webhook, message_id, body)
        async with self._session.post(webhook.url, data=body, headers=headers, allow_redirects=False) as response:
            if 200 <= response.status < 300:
                return
            said = (await response.content.read(_READ_BYTES)).decode("utf-8", "replace")
            raise NotDelivered(
                f"answered {response.status}{': ' if said else ''}{said}",
                is_final=response.status == _GONE,
                retry_after_s=_seconds(response.headers.get("Retry-After", "")),
            )

    def _headers(self, webhook: WebhookSettings, message_id: str, body: bytes) -> dict[str, str]:
        sent = datetime.fromtimestamp(self._clock.now_us() // SECOND_US, UTC)
        return {
            "Content-Type": "application/json",
            "User-Agent": _USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(sent.timestamp())),
            "webhook-signature": Webhook(webhook.secret.value).sign(message_id, sent, body.decode()),
        }


def _seconds(retry_after: str) -> float:
    """The seconds of a ``Retry-After``; 0 for a date, or nothing."""
    is_number = retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 6
    return float(retry_after) if is_number else 0.0
