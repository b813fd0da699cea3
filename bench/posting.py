"""Posts NDJSON bodies over several connections at once, and checks that every event was accepted."""

import json
import threading
import time
from collections.abc import Iterable
from http.client import HTTPConnection
from urllib.parse import urlsplit

PATH = "/v1/orgs/default/events"


def post_all(url: str, bodies: Iterable[bytes], *, connections: int = 4) -> float:
    """Events a second from the first request to the last answer. Raises unless each event is accepted."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    waiting = iter(bodies)
    lock = threading.Lock()
    accepted: list[int] = []
    failures: list[Exception] = []

    def client() -> None:
        connection = HTTPConnection(host or "", port, timeout=120)
        try:
            while not failures:
                with lock:
                    body = next(waiting, None)
                if body is None:
                    return
                connection.request("POST", PATH, body, {"Content-Type": "application/x-ndjson"})
                response = connection.getresponse()
                content = response.read()
                answer = json.loads(content) if response.status == 200 else {}
                if answer.get("accepted") != body.count(b"\n"):
                    raise RuntimeError(f"{response.status} {content[:500]!r}")
                accepted.append(answer["accepted"])
        except Exception as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=client) for _ in range(connections)]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - began_s
    if failures:
        raise RuntimeError("an event was not accepted") from failures[0]
    return sum(accepted) / took_s
