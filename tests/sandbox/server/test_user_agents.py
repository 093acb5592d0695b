"""Which user agents the servers admit."""

import aiohttp
import pytest

from sandbox.server.app import Site, is_welcome
from tests.builders.tiny_board import AGENT, refusal


@pytest.mark.parametrize(
    ("agent", "welcome"),
    [
        pytest.param("", False, id="none"),
        pytest.param("python-requests/2.32.3", False, id="requests"),
        pytest.param("Python/3.11 aiohttp/3.14.5", False, id="aiohttp"),
        pytest.param("curl/8.5.0", False, id="curl"),
        pytest.param(
            "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0",
            False,
            id="a browser",
        ),
        pytest.param(
            "Mozilla/5.0 (compatible; tagger/1.0; +https://example.org)",
            True,
            id="names a contact",
        ),
        pytest.param(AGENT, True, id="descriptive"),
    ],
)
def test_agent_must_be_descriptive(agent: str, welcome: bool) -> None:
    assert is_welcome(agent) is welcome


async def test_default_agent_gets_a_page_of_html(site: Site) -> None:
    async with (
        aiohttp.ClientSession() as careless,
        careless.get(f"{site.base_url}/posts.json") as response,
    ):
        assert (response.status, response.content_type) == (403, "text/html")


async def test_unknown_path_is_not_found(
    site: Site, client: aiohttp.ClientSession
) -> None:
    assert await refusal(client, f"{site.base_url}/nothing.json") == (
        404,
        {"success": False, "reason": "not found"},
    )
