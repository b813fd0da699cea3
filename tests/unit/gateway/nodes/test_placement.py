import msgspec
import pytest

from gateway.app import ROUTES
from gateway.nodes.placement import PLACEMENTS, placed


def test_every_route_has_a_placement_and_every_placement_a_route() -> None:
    assert set(PLACEMENTS) == {(route.method, route.path) for route in ROUTES}


def test_a_route_that_was_forgotten_stops_the_start() -> None:
    with pytest.raises(KeyError):
        placed([ROUTES[0], msgspec.structs.replace(ROUTES[0], path="/nowhere")])


def test_routes_without_an_organisation_are_each_nodes_own() -> None:
    for route, placement in placed(ROUTES):
        assert (placement.answer is None) == (route.access in ("open", "local")), route.path


def test_what_takes_stale_answers_says_so() -> None:
    takes = set()
    for route, placement in placed(ROUTES):
        assert ("stale" in [each.name for each in route.query]) == placement.takes_stale, route.path
        if route.method == "GET" and "{lead}" in route.path:
            assert placement.takes_stale, route.path
        elif placement.takes_stale:
            takes.add(route.path.rpartition("/")[2])
    assert takes == {"features", "decisions", "leads", "dead-letters", "ranked-leads", "top-leads", "leads-by-tier"}


def test_whatever_an_owner_answers_may_be_away() -> None:
    for route, _ in placed(ROUTES):
        if "{lead}" in route.path or route.path.endswith("/events"):
            assert 503 in route.problems or route.method == "OPTIONS", route.path
