"""Pauses between the attempts of a webhook."""

from concurrent.futures import Future
from typing import Any

import pytest
from tenacity import RetryCallState

from gateway.alerts.deliveries import _pause
from kernel.errors import NotDelivered
from kernel.sections import Secret
from kernel.settings_webhooks import WebhookSettings


def pause_s(attempt: int, error: NotDelivered, message_id: str = "raised_a", **fields: Any) -> float:
    webhook = WebhookSettings(url="http://localhost", secret=Secret(""), **fields)
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    state.attempt_number = attempt
    future: Any = Future()
    future.set_exception(error)
    state.outcome = future
    return _pause(webhook, message_id)(state)


@pytest.mark.parametrize(("attempt", "longest_s"), [(1, 2.0), (2, 4.0), (5, 32.0), (10, 1024.0), (11, 1800.0)])
def test_pauses_double_up_to_a_bound_and_up_to_half_is_left_off(attempt: int, longest_s: float) -> None:
    found = {pause_s(attempt, NotDelivered("x"), f"raised_{n}") for n in range(50)}
    assert all(longest_s / 2 <= each <= longest_s for each in found)
    assert max(found) > 0.9 * longest_s
    assert min(found) < 0.6 * longest_s


def test_the_same_attempt_of_a_message_pauses_the_same() -> None:
    assert pause_s(3, NotDelivered("x")) == pause_s(3, NotDelivered("y"))


def test_what_the_receiver_asks_for_is_heeded_within_the_bound() -> None:
    assert pause_s(1, NotDelivered("x", retry_after_s=90)) == 90
    assert pause_s(1, NotDelivered("x", retry_after_s=1e6), backoff_max_s=300.0) == 300
