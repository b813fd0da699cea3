"""``kill -9`` under load, again and again: what was acknowledged stays, once, and the features are the oracle's."""

import random
import threading
import urllib.error
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from kernel.times import DAY_US, format_time, parse_rfc3339
from tests.integration.process import call, serving
from tests.oracle import Fact, lead_features
from tests.property.folding import differences

ROUNDS = 50
POSTERS = 3
TAU_US = parse_rfc3339("2026-03-29T12:00:00Z")
LEADS = [f"lead {n}/ü" for n in range(7)]


class Load:
    """Posts batches until the service dies, and remembers what was acknowledged."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.chance = random.Random(seed)
        self.seed = seed
        self.acknowledged: list[tuple[str, str]] = []
        self.batches = 0
        self.sent: dict[tuple[str, str], dict[str, Any]] = {}

    def run(self, answered: threading.Semaphore) -> None:
        try:
            while True:
                batch = [self._event(n) for n in range(self.chance.randint(1, 30))]
                self.sent |= {(each["lead"], each["id"]): each for each in batch}
                status, answer = call(f"{self.url}/v1/orgs/default/events", msgspec.json.encode(batch))
                assert (status, answer["rejected"]) == (200, []), answer
                self.acknowledged += [(each["lead"], each["id"]) for each in batch]
                self.batches += 1
                answered.release()
        except (OSError, urllib.error.URLError, ValueError):
            answered.release()  # the service was killed in the middle of a request

    def _event(self, n: int) -> dict[str, Any]:
        chance = self.chance
        kind, data = chance.choice(
            [
                ("purchase_completed", {"amount": chance.choice([1, "2.50", 19.99, 0.000001])}),
                ("message_received", {"conversation_id": chance.choice("ab"), "sentiment": chance.random()}),
                ("message_sent", {"conversation_id": chance.choice("ab")}),
                ("campaign_received", {"campaign_id": chance.choice("xyz")}),
                ("campaign_opened", {"campaign_id": chance.choice("xyz")}),
                ("interaction", {"action": chance.choice(["view", "click", "schedule"])}),
                ("session_completed", {"session_id": "s", "tutor_id": chance.choice("tuv"), "duration_minutes": 45}),
            ]
        )
        at_us = TAU_US - chance.randrange(40 * DAY_US)
        event_id = f"{self.seed}-{self.batches}-{n}"
        return {"lead": chance.choice(LEADS), "id": event_id, "type": kind, "time": format_time(at_us), "data": data}


def _one_round(directory: Path, seed: int) -> list[Load]:
    with serving(directory) as (url, process):
        loads = [Load(url, seed * POSTERS + n) for n in range(POSTERS)]
        answered = threading.Semaphore(0)
        threads = [threading.Thread(target=load.run, args=(answered,)) for load in loads]
        for thread in threads:
            thread.start()
        for _ in range(random.Random(seed).randint(1, 25)):
            answered.acquire()
        process.kill()
        for thread in threads:
            thread.join()
    return loads


def _timeline(url: str, lead: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        status, page = call(f"{url}/v1/orgs/default/leads/{quote(lead, safe='')}/events?limit=1000{cursor}")
        assert status == 200, page
        items += page["items"]
        if page["cursor"] is None:
            return items
        cursor = f"&cursor={quote(page['cursor'], safe='')}"


def test_fifty_kills_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    acknowledged: Counter[tuple[str, str]] = Counter()
    sent: dict[tuple[str, str], dict[str, Any]] = {}
    for seed in range(ROUNDS):
        for load in _one_round(tmp_path, seed):
            acknowledged.update(load.acknowledged)
            sent |= load.sent
    assert len(acknowledged) > ROUNDS
    with serving(tmp_path) as (url, _):
        for lead in LEADS:
            stored = [each for each in _timeline(url, lead) if not each["id"].startswith("~")]
            ids = Counter((lead, each["id"]) for each in stored)
            assert set(ids.values()) == {1}, "an event is stored once"
            assert {key for key in acknowledged if key[0] == lead} <= set(ids), "what was acknowledged is there"
            assert set(ids) <= set(sent), "and nothing that nobody sent"
            facts = [Fact(e["id"], e["type"], parse_rfc3339(e["time"]), e["data"]) for e in stored]
            at = format_time(TAU_US)
            path = f"{url}/v1/orgs/default/leads/{quote(lead, safe='')}/features"
            _, past = call(f"{path}?at={at}")
            assert differences(past["values"], lead_features(facts, TAU_US)) == {}
            _, live = call(path)
            live_us = parse_rfc3339(live["as_of"])
            assert differences(live["values"], lead_features(facts, live_us)) == {}
