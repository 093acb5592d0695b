"""Opening a site: consent, identity, and keys."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from pipeline.errors import BadParameter, PolicyViolation
from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.site import request_stats, responses
from pipeline.site.session import open_site
from sandbox.board.drawn import SandboxBoard
from tests.builders.http_server import (
    REMOTE,
    expected_response,
    get,
    open_client,
    serving,
)
from tests.builders.project import make_project, served


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({}, "site.contact is empty", id="nobody to write to"),
        pytest.param(
            {"contact": "someone@example.org"},
            "site.terms_read is false",
            id="terms not read",
        ),
    ],
)
async def test_real_site_gets_no_request_without_contact_and_consent(
    paths: Paths, given: dict[str, Any], message: str
) -> None:
    async with serving(expected_response, "127.0.0.2") as server:
        with pytest.raises(PolicyViolation, match=message):
            async with open_client(server, paths, **given) as client:
                await get(client, "json")
        assert not server.requests


async def test_cookies_are_neither_kept_nor_sent(paths: Paths) -> None:
    async def setting(_request: web.Request) -> web.Response:
        return web.json_response({}, headers={"Set-Cookie": "session=1; Path=/"})

    async with serving(setting) as server:
        site = Site(
            name="custom",
            base_url=server.url.replace("127.0.0.1", "localhost"),
            static_url=server.url,
        )
        async with open_site(site, paths, "download") as client:
            await get(client, "json")
            await get(client, "json")
        assert ["Cookie" in request.headers for request in server.requests] == [
            False,
            False,
        ]


async def test_key_goes_to_the_site_and_never_to_the_static_host(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(responses.API_KEY, "a key")
    async with (
        serving(expected_response) as server,
        serving(expected_response) as static,
    ):
        site = Site(
            name="custom", base_url=server.url, static_url=static.url, login="someone"
        )
        async with open_site(site, paths, "download") as client:
            await get(client, "json")
            await get(client, "file")
        assert "Authorization" in server.requests[0].headers
        assert "Authorization" not in static.requests[0].headers


def test_sandbox_on_another_address_is_held_to_the_rules_of_a_real_site(
    tmp_path: Path, board: SandboxBoard
) -> None:
    with served(board, host="127.0.0.2") as site:
        project = make_project(
            tmp_path / "project", site, site={**REMOTE, "requests_per_second": 50}
        )
        assert [request.agent for request in site.requests] == [
            "e6tag/0.1.0 (by someone@example.org)"
        ]
        assert (
            request_stats.read(project.paths)["refresh"]["rate_limit_per_second"] == 2.0
        )


@pytest.mark.parametrize("name", ["base_url", "static_url"])
def test_address_with_a_password_is_refused(name: str) -> None:
    urls = {"base_url": "http://127.0.0.1:1", "static_url": "http://127.0.0.1:1"}
    urls[name] = "https://me:secret@example.org"
    with pytest.raises(ValidationError, match="no user name and no password"):
        Site(name="custom", **urls)


@pytest.mark.parametrize(
    ("url", "is_in_the_clear"),
    [
        ("http://board.example.org", True),
        ("http://192.0.2.7:8621", True),
        ("https://board.example.org", False),
        ("http://127.0.0.1:8621", False),
        ("http://[::1]:8621", False),
        ("http://localhost:8621", False),
    ],
)
async def test_key_is_not_sent_in_the_clear(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, url: str, is_in_the_clear: bool
) -> None:
    monkeypatch.setenv("E6TAG_API_KEY", "key")
    site = Site(name="custom", base_url=url, static_url=url, login="me", **REMOTE)
    with (
        pytest.raises(BadParameter, match="is not https: the API key would be sent")
        if is_in_the_clear
        else nullcontext()
    ):
        async with open_site(site, paths, "harvest"):
            pass  # nothing is requested
