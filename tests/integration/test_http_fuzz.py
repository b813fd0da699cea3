"""Whatever is sent to whichever route, nothing answers 5xx, and every refusal is a problem document."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.app import ROUTES
from gateway.routes import decisions as decision_routes
from gateway.routes import policies as policy_routes
from gateway.routing import Route
from tests.integration.deciding import decide, define, passing
from tests.integration.service import NOW, Door, purchase, running

MEDIA = st.sampled_from(
    [
        *("application/json", "application/x-ndjson", "text/plain", "", "application/json; charset=x"),
        *("application/cloudevents+json", "application/cloudevents-batch+json", "application/cloudevents+xml"),
    ]
)
NAMES = st.sampled_from(["a", "b", "default", "rfm", "recency_days", "1-1", "..", "%2F", "%ff", "%00", "nobody"])
ENCODINGS = st.sampled_from(["", "", "", "gzip", "deflate"])

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.integers(10**30, 10**31)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
KEYS = ["id", "lead", "subject", "type", "time", "data", "source", "leads", "views", "features", "format", "at"]
KEYS += ["known_at", "service", "events", "kind", "sample", "amount", "currency", "conversation_id", "extra"]
KEYS += ["specversion", "datacontenttype", "data_base64"]
TYPES = ["purchase_completed", "interaction", "campaign_received", "event_retracted", "message_sent", "nothing"]
objects = st.dictionaries(
    st.sampled_from(KEYS), json_values | st.sampled_from([*TYPES, "a", ["a"], ["rfm"], "verify"]), max_size=6
)
events = st.fixed_dictionaries(
    {"lead": st.sampled_from(["a", "b"]), "type": st.sampled_from(TYPES)},
    optional={
        "id": scalars | st.sampled_from(["1", "2"]),
        "time": scalars | st.integers(0, NOW // 10**6),
        "data": st.dictionaries(st.sampled_from([*KEYS, "event_id", "action", "campaign_id"]), json_values, max_size=4),
    },
)
EXPRESSIONS = st.sampled_from(
    ["true", "rfm.monetary_total > 1.0", "amount / 0", "1.0", "rfm.recency_days == null", "x", "(" * 40, "'a' in [1]"]
)
arms = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from(["a", "b", " |:", "ü"]) | scalars},
        optional={
            "features": st.dictionaries(st.text(max_size=4), scalars, max_size=3),
            "enabled": st.booleans() | scalars,
        },
    ),
    max_size=4,
)
bounds = st.dictionaries(st.sampled_from(["a", "b", "min", "max"]), st.floats(0, 1) | json_values, max_size=2)
policies = st.fixed_dictionaries(
    {},
    optional={
        "arms": arms,
        "context": st.sampled_from(["a", "b"]) | scalars,
        "learner": st.fixed_dictionaries(
            {"kind": st.sampled_from(["linear", "uniform", "fixed"]) | scalars},
            optional={"exploration": st.sampled_from(["squarecb", ""]) | scalars, "args": scalars},
        ),
        "baseline": st.sampled_from(["a", "b"]) | scalars,
        "floor": st.floats(0, 1) | scalars,
        "seed": scalars,
        "reward": st.fixed_dictionaries(
            {},
            optional={
                "rules": st.lists(
                    st.fixed_dictionaries(
                        {"on": st.sampled_from(TYPES), "within_s": st.floats(0, 1e9) | scalars, "value": EXPRESSIONS},
                        optional={"where": EXPRESSIONS, "surrogate": st.booleans()},
                    ),
                    max_size=2,
                ),
                "wait_s": st.floats(0, 1e8) | scalars,
                "default": scalars,
                "aggregation": st.sampled_from(["sum", "mean", "earliest"]) | scalars,
                "attribution": st.sampled_from(["all", "last"]) | scalars,
            },
        ),
        "guardrails": st.fixed_dictionaries(
            {},
            optional={
                "share": st.dictionaries(st.sampled_from(["a", "b"]), bounds, max_size=2),
                "per_day": st.dictionaries(st.sampled_from(["a", "b"]), scalars | st.integers(0, 3), max_size=2),
                "eligible": st.dictionaries(st.sampled_from(["a", "b"]), EXPRESSIONS, max_size=2),
                "per_lead_week": bounds | st.just({"total": 1, "channels": {}}),
                "opt_out": EXPRESSIONS,
                "holdout": st.floats(0, 1) | scalars,
                "apprentice": st.booleans(),
                "kill": st.booleans(),
            },
        ),
    },
)
decisions = st.fixed_dictionaries(
    {},
    optional={
        "lead": st.sampled_from(["a", "b", "", "..", "c"]) | scalars,
        "context": st.dictionaries(st.text(max_size=4), scalars, max_size=3) | scalars,
        "arms": arms,
        "exclude": st.lists(st.sampled_from(["a", "b"]) | scalars, max_size=2),
        "decision_id": st.sampled_from(["a", "b", "c"]) | scalars,
        "defer": st.booleans() | scalars,
    },
)
fair = st.fixed_dictionaries(
    {"arms": st.just([{"id": "a", "features": {"channel": "x"}}, {"id": "b"}, {"id": " |:"}])},
    optional={
        "lead": st.sampled_from("abc"),
        "context": st.dictionaries(
            st.text(min_size=1, max_size=3).filter(str.isprintable), st.floats(-9, 9), max_size=3
        ),
        "exclude": st.lists(st.sampled_from("ab"), max_size=2),
        "decision_id": st.sampled_from("abcdefgh"),
        "defer": st.booleans(),
    },
)
rewards = st.builds(
    lambda value, reward_id: {"value": value, "id": reward_id}, st.floats(-2, 2), st.sampled_from("xyz")
)
rewards |= st.fixed_dictionaries(
    {"value": st.floats(-2, 2) | scalars}, optional={"id": st.sampled_from(["a", "b", "~"]) | scalars}
)
BANDIT = [*policy_routes.ROUTES, *decision_routes.ROUTES]
#: What a route that ends so is likely to take.
LIKELY = {
    "/policies/{policy}": policies,
    "/decide": fair | decisions | st.lists(fair | decisions | json_values, max_size=3),
    "/reward": rewards,
    "/rollback": st.builds(lambda version: {"version": version}, st.sampled_from(["1.0", None, 5])),
    "/services/{name}": st.builds(
        lambda features: {"features": features}, st.just(["rfm:monetary_total"]) | json_values
    ),
}
bodies = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda value: json.dumps(value).encode(), json_values | objects | events | st.lists(events, max_size=4)),
    st.builds(
        lambda many: b"\n".join(json.dumps(each).encode() for each in many), st.lists(events | objects, max_size=4)
    ),
    st.builds(lambda event: json.dumps({"events": [event]}).encode(), events),
)
PARAMETERS = [
    "views",
    "features",
    "service",
    "at",
    "known_at",
    "format",
    "on_missing",
    "limit",
    "cursor",
    "atomic",
    "from",
    "to",
    "step",
    "all",
    "max_chars",
    "sort",
    "filter",
    "q",
    "lead",
    "x",
]
VALUES = [
    "-rfm:recency_days",
    "rfm:recency_days>=1",
    "rfm",
    "rfm:recency_days",
    "2017-01-01T00:00:00Z",
    "0",
    "-1e17",
    "1e999",
    "vector",
    "default",
    "true",
    "1000",
]
queries = st.lists(st.tuples(st.sampled_from(PARAMETERS), st.sampled_from(VALUES) | st.text(max_size=8)), max_size=3)


def mostly(likely: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda number: other if number == 0 else likely)


def _likely(route: Route) -> st.SearchStrategy[bytes]:
    found = next((each for end, each in LIKELY.items() if route.path.endswith(end)), st.just({}))
    return st.builds(lambda body: json.dumps(body).encode(), found)


def requests_to(routes: list[Route]) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(routes).flatmap(_requests)


def _requests(route: Route) -> st.SearchStrategy[dict[str, Any]]:
    is_bandit = route in BANDIT
    name = NAMES | st.builds(lambda text: quote(text, safe=""), st.text(min_size=1, max_size=8))
    return st.fixed_dictionaries(
        {
            "route": st.just(route),
            "name": mostly(st.sampled_from("ab"), name) if is_bandit else name,
            "query": mostly(st.just([]), queries) if is_bandit else queries,
            "body": mostly(_likely(route), bodies) if is_bandit else bodies,
            "media": mostly(st.just("application/json"), MEDIA) if is_bandit else MEDIA,
            "encoding": mostly(st.just(""), ENCODINGS) if is_bandit else ENCODINGS,
            "attributes": st.dictionaries(
                st.sampled_from(["specversion", "id", "source", "type", "subject", "time"]),
                st.sampled_from(
                    ["1.0", "a", "algebra", "purchase_completed", "%C0%A0", '"\\"', "2026-01-01T00:00:00Z"]
                ),
                max_size=6,
            ),
        }
    )


async def shoot(door: Door, shot: dict[str, Any]) -> None:
    route = shot["route"]
    path = route.path.replace("{org}", "default")
    path = re.sub(r"\{\w+\}", lambda _: shot["name"], path)
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in shot["query"])
    headers = {"Content-Type": shot["media"]} if shot["media"] else {}
    if shot["encoding"]:
        headers["Content-Encoding"] = shot["encoding"]
    if route.path.endswith("/events"):
        headers |= {f"ce-{name}": value for name, value in shot["attributes"].items()}
    body = shot["body"] if route.method in ("POST", "PUT") else None
    response = await door.raw(route.method, f"{path}?{query}", data=body, headers=headers)
    if response.content_type == "text/event-stream":  # it has no end
        response.close()
        return
    content = await response.read()
    assert response.status < 500, content
    if response.status >= 400:
        assert response.content_type == "application/problem+json", content
        problem = json.loads(content)
        assert problem["status"] == response.status
        assert problem["code"]
        assert problem["detail"] == problem["message"]


@pytest.mark.parametrize(
    ("routes", "count"),
    [(ROUTES, 1500), (BANDIT, 700)],
    ids=["all", "bandit"],
)
async def test_no_request_is_answered_5xx(routes: list[Route], count: int) -> None:
    async with running() as door:
        await door.events(purchase("a", "1"), purchase("b", "1"))
        for name in "ab":
            await define(door, name)
            await decide(door, name, name, decision_id=name)
        shots: list[dict[str, Any]] = []

        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(requests_to(list(routes)))
        def draw(shot: dict[str, Any]) -> None:
            shots.append(shot)

        draw()
        for number, shot in enumerate(shots):
            await shoot(door, shot)
            if number % 10 == 0:  # what was deleted is there again
                for name in "ab":
                    await define(door, name)
                await passing(door, 600)
        assert door.service.errors == 0
        assert len(shots) >= count
        assert (await door.get("/readyz"))[0] == 200
