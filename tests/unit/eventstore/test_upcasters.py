from typing import Any

from eventstore.upcasters import Upcasters


def rename(data: dict[str, Any]) -> dict[str, Any]:
    return {"amount": data["total"]} | {key: value for key, value in data.items() if key != "total"}


def to_list(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"channels": [data["channel"]]}


UPCASTERS = Upcasters({"purchase": [rename, to_list]})


def test_each_function_makes_the_next_version() -> None:
    assert UPCASTERS.version_of("purchase") == 3
    assert UPCASTERS.version_of("login") == 1
    assert UPCASTERS.upcast("purchase", 1, b'{"total":1.50,"channel":"web"}') == (
        b'{"amount":1.50,"channel":"web","channels":["web"]}'
    )
    assert UPCASTERS.upcast("purchase", 2, b'{"amount":1,"channel":"web"}') == (
        b'{"amount":1,"channel":"web","channels":["web"]}'
    )


def test_todays_version_and_a_later_one_are_left_as_they_are() -> None:
    for version in (3, 4):
        assert UPCASTERS.upcast("purchase", version, b'{ "x":1 }') == b'{ "x":1 }'
