from html import unescape
from pathlib import Path

import pytest

from gateway.app import ROUTES
from tests.browser.chromium import Shown, show
from tests.integration.service import running


@pytest.fixture
async def docs(tmp_path: Path) -> Shown:
    async with running() as door:
        return await show(str(door.client.make_url("/docs")), tmp_path)


async def test_the_page_shows_every_route_under_its_tag_without_the_internet(docs: Shown) -> None:
    html = unescape(docs.html).replace("\u200b", "").replace("<wbr>", "")
    assert [f"{route.method} {route.path}" for route in ROUTES if f'data-path="{route.path}"' not in html] == []
    assert html.count('class="opblock-summary-method"') == len(ROUTES)
    assert {route.tag for route in ROUTES if f'data-tag="{route.tag}"' not in html} == set()
    # Nothing was refused by the page's policy, nothing was missing, no script failed.
    assert [line for line in docs.console if "Deprecated" not in line] == []
