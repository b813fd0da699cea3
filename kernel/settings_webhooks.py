"""``[org.X.webhooks.NAME]``: where alerts of an organisation are posted to, signed, as Standard Webhooks has it."""

import base64
import binascii
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from kernel.sections import AtLeastOne, Must, Seconds, Secret, Section

#: Sinks that every alert reaches anyway: a rule may name them, a webhook may not be called so.
ALWAYS_TOLD = ("log", "stream")

_SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
_SECRET_BYTES = (16, 64)


class WebhookSettings(Section, frozen=True):
    """``[org.X.webhooks.NAME]``: one receiver, which the ``sinks`` of alert rules name."""

    url: Annotated[str, Meta(min_length=1)]  # https, or http within one's own network; redirects are not followed
    secret: Secret  # `whsec_` and base64 of 16 to 64 bytes: signs what is posted, the receiver checks it
    resolved: bool = True  # tell the end of an alert, too, not only its beginning
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0  # of one attempt; a receiver should answer first, then work
    attempts: Annotated[int, Meta(ge=1, le=50)] = (
        12  # then it is a dead letter: with these pauses after half an hour to an hour
    )
    backoff_s: Seconds = 2.0  # before the second attempt; doubled for each further one, up to half of it left off
    backoff_max_s: Seconds = 1800.0  # no pause is longer, whatever the receiver's Retry-After says
    concurrency: Annotated[int, Meta(ge=1, le=64)] = 4  # attempts under way at once
    waiting_max: AtLeastOne = 1000  # deliveries in memory, 5 KB each; further ones wait in the log


def check_webhook(key: str, webhook: WebhookSettings, must: Must) -> None:
    """The forms that types cannot say.

    Parameters
    ----------
    key : dotted, of the webhook's table.
    must : raises where a relation does not hold.
    """
    must(_is_address(webhook.url), f"{key}.url", f"expected http:// or https:// and a host, got {webhook.url!r}")
    low, high = _SECRET_BYTES
    size = _secret_size(webhook.secret.value)
    expected = f"expected {_SECRET_PREFIX} and the base64 of {low} to {high} bytes"
    must(size is not None and low <= size <= high, f"{key}.secret", expected)
    must(
        webhook.backoff_s <= webhook.backoff_max_s,
        f"{key}.backoff_s",
        f"expected at most backoff_max_s ({webhook.backoff_max_s:g})",
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _secret_size(text: str) -> int | None:
    """How many bytes it stands for; None where it is no secret."""
    if not text.startswith(_SECRET_PREFIX):
        return None
    encoded = text.removeprefix(_SECRET_PREFIX)
    try:
        return len(base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None
