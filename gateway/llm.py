"""Asks a language model, within a time, a number of questions at once, and never for longer than it is of use.

What goes wrong is an answer as well: the reason, in a word. Nothing is asked again: whoever waits gets the model's or
the rules' answer instead. After a rate limit, or several failures in a row, nothing is asked for a while.

The client is openai's, an extra; it is imported when the first question is asked.
"""

import asyncio
from types import ModuleType
from typing import Any

import msgspec
import structlog

from kernel.clock import Clock
from kernel.settings_scoring import ScoringSettings
from kernel.times import SECOND_US
from scoring.estimates import Estimate
from scoring.llm import Failure, MalformedAnswer, estimate_of, request_of
from scoring.rules import RuleScore

_log = structlog.get_logger(__name__)

#: A server may ask for a pause of at most so long.
_LONGEST_PAUSE_S = 3600.0


class LanguageModelStatistics(msgspec.Struct, frozen=True):
    """Counters since start: ``failures`` by their word."""

    asked: int
    answered: int
    failures: dict[str, int]


class LanguageModel:
    """One configuration's language model.

    Parameters
    ----------
    settings : those of a configuration whose ``language_model`` is enabled.
    """

    def __init__(self, settings: ScoringSettings, clock: Clock) -> None:
        self._settings, self._model, self._clock = settings, settings.language_model, clock
        self._under_way = 0
        self._in_a_row = 0
        self._paused_until_us = 0
        self._client: Any = None
        self._asked = self._answered = 0
        self._failures: dict[str, int] = {}

    async def estimate(self, facts: str, scored: RuleScore) -> Estimate | Failure:
        """What the language model says of a lead, or why it says nothing.

        Parameters
        ----------
        facts : the lead's prompt block.
        scored : what the rules say.
        """
        self._asked += 1
        if self._clock.monotonic_us() < self._paused_until_us:
            return self._failed("paused")
        if self._under_way >= self._model.concurrency:
            return self._failed("busy")
        self._under_way += 1
        try:
            found = await self._ask(facts, scored)
        finally:
            self._under_way -= 1
        if isinstance(found, Estimate):
            self._answered += 1
            self._in_a_row = 0
            return found
        return self._failed(found)

    def statistics(self) -> LanguageModelStatistics:
        return LanguageModelStatistics(self._asked, self._answered, dict(self._failures))

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _ask(self, facts: str, scored: RuleScore) -> Estimate | Failure:
        openai = await asyncio.to_thread(_openai)  # the import takes half a second, once
        if openai is None:
            return "not_installed"
        request = request_of(facts, scored, self._settings)
        try:
            async with asyncio.timeout(self._model.timeout_s):
                completion = await self._client_of(openai).chat.completions.create(**request)
            return estimate_of(_text_of(completion), scored, self._settings)
        except TimeoutError:
            return "slow"
        except openai.OpenAIError as error:
            return self._failure_of(openai, error)
        except ValueError as error:  # no JSON, or none of the form that was asked for
            _log.info("language_model_malformed", reason=str(error)[:200])
            return "malformed"

    def _failure_of(self, openai: ModuleType, error: Exception) -> Failure:
        if isinstance(error, openai.RateLimitError):
            self._pause(_retry_after_s(error) or self._model.pause_s)
            return "rate_limited"
        if isinstance(error, openai.APITimeoutError):
            return "slow"
        if isinstance(error, openai.APIResponseValidationError):
            return "malformed"
        if isinstance(error, openai.APIConnectionError):
            return "unreachable"
        _log.warning("language_model_refused", status=getattr(error, "status_code", None))
        return "refused"

    def _failed(self, failure: Failure) -> Failure:
        self._failures[failure] = self._failures.get(failure, 0) + 1
        if failure in ("slow", "unreachable", "refused", "malformed"):
            self._in_a_row += 1
            if self._in_a_row >= self._model.failures_max:
                self._in_a_row = 0
                self._pause(self._model.pause_s)
        return failure

    def _pause(self, seconds: float) -> None:
        self._paused_until_us = self._clock.monotonic_us() + round(min(seconds, _LONGEST_PAUSE_S) * SECOND_US)

    def _client_of(self, openai: ModuleType) -> Any:
        if self._client is None:
            key = self._model.api_key
            self._client = openai.AsyncOpenAI(
                base_url=self._model.base_url,
                api_key=key.value if key is not None else "none",  # the client insists on one
                max_retries=0,
                timeout=self._model.timeout_s,
            )
        return self._client


def _openai() -> ModuleType | None:
    try:
        import openai
    except ImportError:
        return None
    return openai


def _text_of(completion: Any) -> str | None:
    """The text of the first choice. Raises ``MalformedAnswer`` for what is no completion."""
    try:
        choice = completion.choices[0]
        if getattr(choice.message, "refusal", None):
            raise MalformedAnswer("the model refused")
        text = choice.message.content
    except (AttributeError, IndexError, TypeError) as error:
        raise MalformedAnswer("expected a chat completion") from error
    if text is not None and not isinstance(text, str):
        raise MalformedAnswer("expected text")
    return text


def _retry_after_s(error: Any) -> float | None:
    """What a 429 asks for, in seconds; None where it says nothing that can be read."""
    text = error.response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None
