from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.routing import MISSING, Handler, Route, RouteTable


async def _handle(request: web.Request) -> web.Response:
    return web.Response(text=request.match_info.route.get_info()["formatter"])


def route(method: str, path: str) -> Route:
    return Route(method, path, _handle, "open", "test", "A test")


async def _missing(request: web.Request) -> web.StreamResponse:
    raise request[MISSING]


def table(*routes: Route) -> RouteTable:
    def bind(route: Route) -> Handler:
        return _handle

    return RouteTable(routes, bind, _missing)


ROUTES = table(
    route("GET", "/v1/orgs/{org}/leads/{lead}/features"),
    route("GET", "/v1/orgs/{org}/catalogue"),
    route("GET", "/v1/orgs/{org}/catalogue/{view}:{feature}"),
    route("POST", "/v1/orgs/{org}/features"),
    route("POST", "/v1/orgs/{org}/features/extract"),
    route("GET", "/healthz"),
)


async def find(method: str, path: str) -> tuple[str, dict[str, str]]:
    match, _ = await ROUTES.resolve(make_mocked_request(method, path))
    assert match is not None
    return match.route.get_info()["formatter"], dict(match)


@pytest.mark.parametrize("lead", ["42", "a/b", "a b", "100%", "ü", "a?b#c", "features", "..", "%2F", "a:b"])
async def test_a_lead_of_any_name_is_one_segment(lead: str) -> None:
    path, names = await find("GET", f"/v1/orgs/default/leads/{quote(lead, safe='')}/features")
    assert path == "/v1/orgs/{org}/leads/{lead}/features"
    assert names == {"org": "default", "lead": lead}


async def test_a_fixed_segment_goes_before_an_open_one() -> None:
    assert (await find("POST", "/v1/orgs/o/features/extract"))[0] == "/v1/orgs/{org}/features/extract"
    assert (await find("GET", "/v1/orgs/o/catalogue/rfm:recency_days"))[1]["view:feature"] == "rfm:recency_days"


async def test_head_is_answered_where_get_is() -> None:
    assert (await find("HEAD", "/healthz"))[0] == "/healthz"


@pytest.mark.parametrize(
    "path",
    ["/", "", "/nothing", "/healthz/", "//healthz", "/v1/orgs//catalogue", "/v1/orgs/a/leads/%ff/features", "/v1"],
)
async def test_what_is_in_no_route_is_404(path: str) -> None:
    match, _ = await ROUTES.resolve(make_mocked_request("GET", path))
    assert match is not None
    with pytest.raises(web.HTTPNotFound):
        await match.handler(make_mocked_request("GET", path))


async def test_another_method_is_405_with_those_allowed() -> None:
    request = make_mocked_request("DELETE", "/healthz")
    match, _ = await ROUTES.resolve(request)
    assert match is not None
    with pytest.raises(web.HTTPMethodNotAllowed) as caught:
        await match.handler(request)
    assert caught.value.headers["Allow"] == "GET,HEAD"


def test_two_routes_of_one_method_and_path_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two routes"):
        table(route("GET", "/a"), route("GET", "/a"))
    with pytest.raises(ValueError, match="called x"):
        table(route("GET", "/a/{x}"), route("POST", "/a/{y}"))


def test_the_table_counts_and_lists_its_routes() -> None:
    assert len(ROUTES) == 6
    assert {each.get_info()["formatter"] for each in ROUTES} == {each.path for each in ROUTES.routes}
