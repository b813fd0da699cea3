"""Whatever is sent to whichever route, nothing answers 5xx, and every refusal is a problem document."""

import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.app import ROUTES
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

requests = st.fixed_dictionaries(
    {
        "route": st.sampled_from(ROUTES),
        "name": NAMES | st.builds(lambda text: quote(text, safe=""), st.text(min_size=1, max_size=8)),
        "query": queries,
        "body": bodies,
        "media": MEDIA,
        "encoding": ENCODINGS,
        "attributes": st.dictionaries(
            st.sampled_from(["specversion", "id", "source", "type", "subject", "time"]),
            st.sampled_from(["1.0", "a", "algebra", "purchase_completed", "%C0%A0", '"\\"', "2026-01-01T00:00:00Z"]),
            max_size=6,
        ),
    }
)


async def shoot(door: Door, shot: dict[str, Any]) -> None:
    route = shot["route"]
    path = route.path.replace("{org}", "default")
    for name in ("{lead}", "{id}", "{view}", "{feature}", "{file}"):
        path = path.replace(name, shot["name"])
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in shot["query"])
    headers = {"Content-Type": shot["media"]} if shot["media"] else {}
    if shot["encoding"]:
        headers["Content-Encoding"] = shot["encoding"]
    if route.path.endswith("/events"):
        headers |= {f"ce-{name}": value for name, value in shot["attributes"].items()}
    body = shot["body"] if route.method == "POST" else None
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


async def test_no_request_is_answered_5xx() -> None:
    async with running() as door:
        await door.events(purchase("a", "1"), purchase("b", "1"))
        shots: list[dict[str, Any]] = []

        @settings(max_examples=1500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(requests)
        def draw(shot: dict[str, Any]) -> None:
            shots.append(shot)

        draw()
        for shot in shots:
            await shoot(door, shot)
        assert door.service.errors == 0
        assert len(shots) >= 1500
        assert (await door.get("/readyz"))[0] == 200
