"""A list is asked for page after page until there is none."""

from collections.abc import Mapping
from typing import Any

from gateway.client import Client


class Paged(Client):
    """A client of a service that has 7 things."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        assert path == "/things"
        asked = dict(query or {})
        self.asked.append(asked)
        start = int(asked.get("cursor", "0"))
        end = start + int(asked["limit"])
        return {"items": list(range(7))[start:end], "cursor": str(end) if end < 7 else None}


async def test_items_are_those_of_all_pages_in_order() -> None:
    client = Paged()
    assert await client.items("/things", limit=3) == list(range(7))
    assert client.asked == [{"limit": "3"}, {"limit": "3", "cursor": "3"}, {"limit": "3", "cursor": "6"}]


async def test_a_list_of_one_page_is_asked_for_once() -> None:
    client = Paged()
    assert len(await client.items("/things", limit=7)) == 7
    assert client.asked == [{"limit": "7"}]
