"""Who may ask: this server's own page, and programs; no page of another site."""

import pytest
from aiohttp import ClientSession

from tests.builders import toy_images
from tests.builders.tag_server import Server, serving
from tests.builders.toy_images import RED


async def ask(client: ClientSession, path: str, **headers: str) -> tuple[int, str]:
    """Returns status and code of the answer to a POST."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.post(path, data=toy_images.image(RED), headers=names) as response:
        answer = await response.json()
        return response.status, answer.get("error", {}).get("code", "")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8621",
        "localhost.evil.example",
        "127.0.0.1.evil",
        "",
    ],
)
async def test_name_that_is_rebound_to_this_machine_is_refused(
    client: ClientSession, host: str
) -> None:
    assert await ask(client, "/v1/tag", Host=host) == (421, "foreign_host")
    async with client.get("/", headers={"Host": host}) as response:
        assert response.status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80"])
async def test_names_of_this_machine_are_accepted(
    client: ClientSession, host: str
) -> None:
    assert await ask(client, "/v1/tag", Host=host) == (200, "")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://127.0.0.1:1", "null", "https://[", "file://"],
)
async def test_page_of_another_site_is_refused(
    client: ClientSession, origin: str
) -> None:
    assert await ask(client, "/v1/tag", Origin=origin) == (403, "foreign_origin")


async def test_own_page_is_answered(server: Server, client: ClientSession) -> None:
    origin = server.url.rstrip("/")
    found = await ask(client, "/v1/tag", Origin=origin, Sec_Fetch_Site="same-origin")
    assert found == (200, "")


async def test_image_on_another_site_gets_nothing(client: ClientSession) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    async with client.get("/v1/model", headers=headers) as response:
        assert response.status == 403


async def test_link_on_another_site_leads_to_the_page(client: ClientSession) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    async with client.get("/", headers=headers) as response:
        assert response.status == 200


async def test_form_on_another_site_is_refused(client: ClientSession) -> None:
    found = await ask(
        client, "/v1/tag", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate"
    )
    assert found == (403, "foreign_origin")


async def test_name_that_is_allowed_is_accepted(toy: object) -> None:
    with serving(toy, "--allow-host", "Tagger.Home.Example") as server:
        async with ClientSession(server.url) as client:
            found = await ask(client, "/v1/tag", Host="tagger.home.example:80")
    assert found == (200, "")


@pytest.mark.parametrize("path", ["/", "/page.js", "/v1/model", "/nowhere"])
async def test_every_answer_forbids_what_the_page_does_not_need(
    client: ClientSession, path: str
) -> None:
    async with client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    for weak in ("unsafe", "http:", "https:", "*", "data:"):
        assert weak not in policy


@pytest.mark.parametrize("path", ["/v1/model", "/nowhere"])
async def test_expectation_that_means_nothing_is_passed_over(
    client: ClientSession, path: str
) -> None:
    for headers, status in (
        ({"Expect": "100-continue"}, None),
        ({"Expect": "a fox"}, None),
        ({"Expect": "a fox", "Host": "evil.example"}, 421),
    ):
        async with client.get(path, headers=headers) as response:
            expected = status or (404 if path == "/nowhere" else 200)
            assert response.status == expected
            assert "Content-Security-Policy" in response.headers
            await response.json()
