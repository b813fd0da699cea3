"""A language model that answers well, slowly, with refusals and with nonsense: a stub on this machine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from gateway.llm import LanguageModel
from kernel.clock import VirtualClock
from kernel.sections import Secret
from kernel.settings_scoring import CategoryWeights, LanguageModelSettings, ScoringSettings
from scoring.estimates import Estimate
from scoring.rules import rule_score

pytest.importorskip("openai", reason="the extra `llm` is not installed")

SCORED = rule_score({}, CategoryWeights())
GOOD = '{"probability": 0.25, "reasons": [{"text": "Quiet", "points": -25}]}'

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def completion(text: str | None, **message: Any) -> web.Response:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
    return web.json_response({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})


@asynccontextmanager
async def asked(
    answer: Answer, **settings: Any
) -> AsyncIterator[tuple[LanguageModel, VirtualClock, list[web.Request]]]:
    """A language model whose server answers so, the clock it goes by, and the requests that arrived."""
    requests: list[web.Request] = []

    async def respond(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        await request.read()
        return await answer(request)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    options = {"enabled": True, "base_url": f"http://127.0.0.1:{port}/v1", "model": "m", "timeout_s": 5.0, **settings}
    clock = VirtualClock()
    model = LanguageModel(ScoringSettings(language_model=LanguageModelSettings(**options)), clock)
    try:
        yield model, clock, requests
    finally:
        await model.close()
        await runner.cleanup()


def saying(text: str | None, **message: Any) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return completion(text, **message)

    return answer


def responding(status: int, body: str = "", **options: Any) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, **options)

    return answer


async def test_a_good_answer_is_an_estimate() -> None:
    async with asked(saying(GOOD), api_key=Secret("hush")) as (model, _, requests):
        found = await model.estimate("Services completed: 8", SCORED)
        assert isinstance(found, Estimate)
        assert (found.probability, found.source) == (0.25, "llm")
        assert requests[0].headers["Authorization"] == "Bearer hush"
        body = msgspec.json.decode(await requests[0].read())
        assert body["response_format"]["type"] == "json_schema"
        assert "Services completed: 8" in body["messages"][1]["content"]
        assert (model.statistics().asked, model.statistics().answered) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (saying("I would rather talk of the weather."), "malformed"),
        (saying('{"probability": 7, "reasons": []}'), "malformed"),
        (saying(None), "malformed"),
        (saying(None, refusal="no"), "malformed"),
        (responding(200, "not JSON at all"), "malformed"),
        (responding(200, "{", content_type="application/json"), "malformed"),
        (responding(200, "[]", content_type="application/json"), "malformed"),
        (responding(200, '{"choices": []}', content_type="application/json"), "malformed"),
        (responding(200, '{"choices": [{"message": {"content": 7}}]}', content_type="application/json"), "malformed"),
        (responding(429), "rate_limited"),
        (responding(500, "boom"), "refused"),
        (responding(401), "refused"),
        (responding(404), "refused"),
    ],
)
async def test_every_other_answer_is_a_reason(answer: Answer, failure: str) -> None:
    async with asked(answer) as (model, _, requests):
        assert await model.estimate("", SCORED) == failure
        assert len(requests) == 1
        assert model.statistics().failures == {failure: 1}


async def test_a_slow_answer_is_not_waited_for() -> None:
    forever = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await forever.wait()
        return completion(GOOD)

    async with asked(answer, timeout_s=0.05) as (model, _, _):
        assert await model.estimate("", SCORED) == "slow"
        forever.set()


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with asked(saying(GOOD), base_url="http://127.0.0.1:9/v1") as (model, _, _):
        assert await model.estimate("", SCORED) == "unreachable"


async def test_after_a_rate_limit_nothing_is_asked_for_as_long_as_it_says() -> None:
    async with asked(responding(429, headers={"Retry-After": "60"})) as (model, clock, requests):
        assert await model.estimate("", SCORED) == "rate_limited"
        assert await model.estimate("", SCORED) == "paused"
        clock.advance(59.9)
        assert await model.estimate("", SCORED) == "paused"
        clock.advance(0.1)
        assert await model.estimate("", SCORED) == "rate_limited"
        assert len(requests) == 2


async def test_failures_in_a_row_make_a_pause_and_a_success_forgets_them() -> None:
    answers = [500, 500, 200, 500, 500, 500, 200]

    async def answer(request: web.Request) -> web.Response:
        status = answers.pop(0)
        return completion(GOOD) if status == 200 else web.Response(status=status)

    async with asked(answer, failures_max=3, pause_s=10.0) as (model, clock, _):
        found = [await model.estimate("", SCORED) for _ in range(7)]
        assert [each if isinstance(each, str) else "well" for each in found] == [
            *("refused", "refused", "well", "refused", "refused", "refused", "paused")
        ]
        clock.advance(10)
        assert isinstance(await model.estimate("", SCORED), Estimate)


async def test_no_more_are_asked_at_once_than_allowed() -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        arrived.set()
        await go.wait()
        return completion(GOOD)

    async with asked(answer, concurrency=1) as (model, _, _):
        first = asyncio.create_task(model.estimate("", SCORED))
        await arrived.wait()
        assert await model.estimate("", SCORED) == "busy"
        go.set()
        assert isinstance(await first, Estimate)
        assert isinstance(await model.estimate("", SCORED), Estimate)


async def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.llm._openai", lambda: None)
    async with asked(saying(GOOD)) as (model, _, requests):
        assert await model.estimate("", SCORED) == "not_installed"
        assert requests == []
