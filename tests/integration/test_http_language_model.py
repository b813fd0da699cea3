"""Predictions with a language model behind them: a stub that answers well, slowly, with refusals and with nonsense."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from kernel.settings import OrgSettings, Settings
from kernel.settings_scoring import LanguageModelSettings, ScoringSettings
from scoring.prediction import payload_of
from tests.integration.predicting import bulk, ended, made, populated, predict
from tests.integration.service import Door, running

pytest.importorskip("openai", reason="the extra `llm` is not installed")

GOOD = '{"probability": 0.25, "reasons": [{"text": "Asked for a quote", "points": 10}, {"text": "New", "points": -40}]}'

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def saying(text: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return web.json_response(
            {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        )

    return answer


def responding(status: int) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="no")

    return answer


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("it is not waited for")


@asynccontextmanager
async def asking(answer: Answer) -> AsyncIterator[tuple[Door, list[dict[str, Any]]]]:
    """A service whose language model answers so, a hot lead in it, and what the model was asked."""
    asked: list[dict[str, Any]] = []

    async def respond(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        return await answer(request)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = LanguageModelSettings(
        enabled=True, base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1", model="m", timeout_s=1.0
    )
    org = OrgSettings(scoring={"default": ScoringSettings(language_model=settings)})
    try:
        async with running(Settings(org={"default": org})) as door:
            await populated(door, 1, 0)
            yield door, asked
    finally:
        await runner.cleanup()


async def test_a_good_answer_is_the_prediction_and_is_kept() -> None:
    async with asking(saying(GOOD)) as (door, asked):
        found = await predict(door, "hot-0")
        assert (found["source"], found["modelVersion"], found["probability"], found["score"]) == ("llm", "m", 0.25, 25)
        items = found["explanation"]["items"]
        assert found["explanation"]["base"] + sum(each["contribution"] for each in items) == pytest.approx(25)
        assert {"Asked for a quote", "New"} <= {each["feature"] for each in items}
        assert sum(found["breakdown"].values()) > 0, "the breakdown is the rules' in any case"
        assert "Seniority: c level" in asked[0]["messages"][1]["content"]
        assert await predict(door, "hot-0") == found
        assert len(asked) == 1, "a stored prediction asks nobody"
        by_rules = await predict(door, "hot-0", ruleBasedOnly=True)
        assert (by_rules["source"], len(asked)) == ("rules", 1)
        door.clock.advance(1)
        await predict(door, "hot-0", forceRefresh=True)
        assert len(asked) == 2


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (never, "the language model did not answer in time"),
        (responding(429), "the language model's rate limit is reached"),
        (responding(500), "the language model's server refused the request or failed"),
        (saying("Fine weather."), "the language model's answer was not in the form that was asked for"),
        (
            saying('{"probability": 7, "reasons": []}'),
            "the language model's answer was not in the form that was asked for",
        ),
    ],
)
async def test_where_it_gives_no_answer_the_rules_do_and_the_log_says_why(answer: Answer, note: str) -> None:
    async with asking(answer) as (door, asked):
        found = await predict(door, "hot-0")
        assert (found["source"], found["modelVersion"]) == ("rules", None)
        assert found["score"] == pytest.approx(sum(found["breakdown"].values()))
        (event,) = await made(door, "hot-0")
        assert payload_of(event).note == note
        assert len(asked) == 1


async def test_jobs_ask_no_language_model() -> None:
    async with asking(saying(GOOD)) as (door, asked):
        assert (await ended(door, await bulk(door)))["result"]["predicted"] == 1
        assert asked == []
