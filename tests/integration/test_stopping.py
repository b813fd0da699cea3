import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.process import call, serving


def post(url: str, lead: str, first: int, count: int) -> tuple[int, int]:
    """Status and how many were acknowledged."""
    events = [
        {"lead": lead, "id": str(n), "type": "purchase_completed", "time": 1.7e9 + n, "data": {"amount": 1}}
        for n in range(first, first + count)
    ]
    status, body = call(f"{url}/v1/orgs/default/events", json.dumps(events).encode())
    return status, body.get("accepted", 0)


def test_a_stop_answers_what_is_in_flight_keeps_all_and_exits_0(tmp_path: Path) -> None:
    acknowledged = dict.fromkeys("abcd", 0)
    begun = threading.Barrier(5)

    def load(lead: str, url: str) -> None:
        begun.wait()
        for round_ in range(10_000):
            try:
                status, count = post(url, lead, round_ * 50, 50)
            except OSError:  # the socket is closed: what was not answered was not promised
                return
            if status == 200:
                acknowledged[lead] += count

    with serving(tmp_path) as (url, process), ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load, lead, url) for lead in acknowledged]
        begun.wait()
        while min(acknowledged.values()) < 100:
            assert call(f"{url}/healthz")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        for each in running:
            each.result()
    assert min(acknowledged.values()) >= 100
    with serving(tmp_path) as (url, process):
        for lead, count in acknowledged.items():
            status, body = call(f"{url}/v1/orgs/default/leads/{lead}/features?features=rfm:monetary_total")
            assert status == 200
            assert body["values"]["rfm:monetary_total"] >= count
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
