"""What a response means: pages, redirects, refusals and pauses."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from pipeline.errors import (
    BadAnswer,
    BadParameter,
    ChallengePage,
    E6tagError,
    SiteUnreachable,
)
from pipeline.paths import Paths
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site import responses
from pipeline.site.client import (
    PermanentFailure,
    RequestRejected,
    TransientFailure,
)
from tests.builders.http_server import (
    EXPORT,
    FILE,
    PAGE,
    Answer,
    expected_response,
    get,
    image_response,
    open_client,
    page,
    serving,
    status,
)


async def test_page_instead_of_one_picture_does_not_end_a_run_that_gets_others(
    paths: Paths,
) -> None:
    given = iter([True])

    async def answer(request: web.Request) -> web.Response:
        return await (image_response if next(given, False) else page(403))(request)

    async with serving(answer) as server, open_client(server, paths) as client:
        await get(client, "file")
        with pytest.raises(
            PermanentFailure, match="403 with a page of its own"
        ) as raised:
            await get(client, "file")
        assert raised.value.reason == DownloadFailure.NOT_AN_IMAGE


async def test_pages_instead_of_five_pictures_in_a_row_are_about_this_client(
    paths: Paths,
) -> None:
    """An edge that shuts this client out in the middle of a run."""
    given = iter([image_response, *[page(403)] * 4, image_response, *[page(403)] * 5])

    async def answer(request: web.Request) -> web.Response:
        return await next(given)(request)  # type: ignore[return-value]

    async with serving(answer) as server, open_client(server, paths) as client:
        for is_page in 2 * [False, True, True, True, True]:
            with (
                pytest.raises(PermanentFailure, match="403 with a page")
                if is_page
                else nullcontext()
            ):
                await get(client, "file")
        with pytest.raises(
            ChallengePage,
            match=r"refuses this client with a page of its own .* again in an hour",
        ):
            await get(client, "file")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("120", 120, id="seconds"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0, id="date in the past"),
        pytest.param("-5", 0, id="less than nothing"),
        pytest.param("1e300", 366 * 86_400, id="more than a year"),
        pytest.param("inf", None, id="for ever"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("soon", None, id="a word"),
        pytest.param(None, None, id="absent"),
    ],
)
def test_retry_after_is_seconds_or_a_date_of_the_past(
    value: str | None, seconds: float | None
) -> None:
    assert responses.retry_after(value) == (
        pytest.approx(seconds, abs=60) if seconds is not None else None
    )


def test_retry_after_may_be_a_date_with_or_without_its_zone(
    far_east: None,
) -> None:
    moment = datetime.now(UTC) + timedelta(hours=1)
    for value in (
        format_datetime(moment, usegmt=True),
        format_datetime(moment.replace(tzinfo=None)),
    ):
        assert responses.retry_after(value) == pytest.approx(3600, abs=60)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time is nine hours ahead of the site's."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


async def test_long_retry_after_ends_the_run_and_says_when_to_come_back(
    paths: Paths,
) -> None:
    async with (
        serving(status(503, headers={"Retry-After": "7200"})) as server,
        open_client(server, paths) as client,
    ):
        moment = datetime.now(UTC) + timedelta(hours=2)
        with pytest.raises(
            SiteUnreachable,
            match=r"asks to wait 7,200 s .* in 2 hours, after (\d\d:\d\d) UTC",
        ) as raised:
            await get(client, "json")
        assert raised.value.exit_status == 75
        assert f"{moment:%H:%M}" in str(raised.value)


CHALLENGES = [
    pytest.param(page(200, "Just a moment..."), id="200"),
    pytest.param(page(403, "Just a moment..."), id="403"),
    pytest.param(
        page(503, "A page", "<form>solve this CAPTCHA</form>"), id="503 captcha"
    ),
    pytest.param(page(404, "Attention Required! | Cloudflare"), id="404"),
    pytest.param(
        status(200, text="", headers={"cf-mitigated": "challenge"}), id="header only"
    ),
    pytest.param(
        status(429, text="", headers={"cf-mitigated": "challenge"}),
        id="header with 429",
    ),
]


@pytest.mark.parametrize("what", ["json", "file", "export"])
@pytest.mark.parametrize("answer", CHALLENGES)
async def test_challenge_page_ends_the_run_at_once(
    paths: Paths, answer: Answer, what: str
) -> None:
    async with (
        serving(answer) as server,
        open_client(server, paths, retries=5) as client,
    ):
        with pytest.raises(
            ChallengePage, match=r"asks for a human\. .* Wait an hour"
        ) as raised:
            await get(client, what)
        assert raised.value.exit_status == 75
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "what", "content_type"),
    [
        (200, "json", "application/json"),
        (200, "file", "image/jpeg"),
        (403, "json", "text/plain"),
        (403, "file", "application/octet-stream"),
        (429, "export", "text/plain"),
    ],
)
async def test_challenge_page_under_another_content_type_is_known_by_its_body(
    paths: Paths, code: int, what: str, content_type: str
) -> None:
    disguised = status(
        code, text=PAGE.format("Just a moment...", ""), content_type=content_type
    )
    async with serving(disguised) as server, open_client(server, paths) as client:
        with pytest.raises(ChallengePage):
            await get(client, what)


@pytest.mark.parametrize(
    ("code", "what"),
    [(200, "json"), (200, "file"), (403, "json"), (429, "file"), (503, "export")],
)
@pytest.mark.parametrize("content_type", ["text/html", "text/plain"])
async def test_challenge_page_that_comes_in_pieces_is_known_by_a_later_one(
    paths: Paths, code: int, what: str, content_type: str
) -> None:
    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=code)
        response.content_type = content_type if code != 200 else "text/html"
        await response.prepare(request)
        before, mark, after = PAGE.format("Just a moment...", "").partition("<title>")
        for piece in (before, mark + after):
            await response.write(piece.encode())
            await asyncio.sleep(0.1)
        return response

    async with serving(slowly) as server, open_client(server, paths) as client:
        with pytest.raises(ChallengePage):
            await get(client, what)


@pytest.mark.parametrize("ends", ["breaks off", "stalls"])
async def test_error_whose_body_never_comes_is_still_what_its_head_says(
    paths: Paths, ends: str
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            status=429, headers={"Retry-After": "600", "Content-Length": "100"}
        )
        response.content_type = "text/plain"
        await response.prepare(request)
        if ends == "stalls":
            await asyncio.sleep(30)
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(cut) as server, open_client(server, paths, retries=0) as client:
        with pytest.raises(TransientFailure) as raised:
            await get(client, "file")
        assert raised.value.wait == 600


async def test_missing_picture_behind_an_edge_that_adds_its_script_is_just_missing(
    paths: Paths,
) -> None:
    address = "/cdn-cgi/challenge-platform/scripts/jsd/main.js"
    script = f"<p>News: the drawing challenge</p><script src='{address}'></script>"
    async with (
        serving(page(404, "Not found", script)) as server,
        open_client(server, paths) as client,
    ):
        with pytest.raises(PermanentFailure) as raised:
            await get(client, "file")
        assert raised.value.reason is DownloadFailure.NOT_FOUND


async def test_page_where_json_belongs_is_one_clear_line(paths: Paths) -> None:
    async with (
        serving(page(200, "Maintenance")) as server,
        open_client(server, paths) as client,
    ):
        with pytest.raises(
            BadAnswer,
            match=r"/posts\.json answered text/html, not JSON\. "
            r"Nothing fetched is lost",
        ):
            await get(client, "json")


@pytest.mark.parametrize(
    ("what", "reason"), [("file", "an image"), ("export", "an export")]
)
async def test_page_where_a_file_belongs_is_never_its_bytes(
    paths: Paths, what: str, reason: str
) -> None:
    async with (
        serving(page(200, "Maintenance")) as server,
        open_client(server, paths) as client,
    ):
        with pytest.raises(TransientFailure, match=f"where {reason} belongs"):
            await get(client, what)


async def test_json_where_an_export_belongs_is_never_its_bytes(paths: Paths) -> None:
    answer = status(200, text="{}", content_type="application/json")
    async with serving(answer) as server, open_client(server, paths) as client:
        with pytest.raises(TransientFailure, match="json where an export belongs"):
            await get(client, "export")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        pytest.param("json", DownloadFailure.FORBIDDEN, id="a limit out of range"),
        pytest.param("file", DownloadFailure.NOT_FOUND, id="a file that was removed"),
    ],
)
async def test_status_410_of_the_api_is_not_about_a_missing_file(
    paths: Paths, what: str, reason: DownloadFailure
) -> None:
    async with serving(status(410)) as server, open_client(server, paths) as client:
        with pytest.raises(PermanentFailure) as raised:
            await get(client, what)
        assert raised.value.reason == reason


@pytest.mark.parametrize("what", ["json", "file", "export"])
async def test_redirect_to_another_host_is_refused_and_never_followed(
    paths: Paths, what: str
) -> None:
    async with serving(expected_response) as elsewhere:
        redirect = status(302, headers={"Location": elsewhere.url + FILE})
        async with serving(redirect) as server, open_client(server, paths) as client:
            with pytest.raises(PermanentFailure, match="status 302 to http"):
                await get(client, what)
        assert not elsewhere.requests


async def test_address_that_the_site_names_elsewhere_is_not_asked(paths: Paths) -> None:
    async with serving(expected_response, "127.0.0.3") as elsewhere:
        async with (
            serving(expected_response) as server,
            open_client(server, paths) as client,
        ):
            with pytest.raises(BadAnswer, match=r"is not on 127\.0\.0\.1"):
                async with client.stream(elsewhere.url + EXPORT):
                    pass
        assert not elsewhere.requests


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (410, "You cannot go beyond page 750."),
        (422, "You cannot search for more than 40 tags"),
    ],
)
async def test_refused_query_carries_status_and_the_sites_words(
    paths: Paths, code: int, message: str
) -> None:
    body = json.dumps({"success": False, "message": message, "code": None})
    async with serving(
        status(code, text=body, content_type="application/json")
    ) as server:
        async with open_client(server, paths, retries=5) as client:
            with pytest.raises(
                RequestRejected,
                match=re.escape(f"/posts.json is refused (status {code}: {message})"),
            ) as raised:
                await client.json("/posts.json")
        assert (raised.value.status, raised.value.message) == (code, message)
        assert isinstance(raised.value, E6tagError)
        assert len(server.requests) == 1


async def test_bad_key_is_said_as_such_and_not_tried_again(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(responses.API_KEY, "an old key")
    async with (
        serving(status(401)) as server,
        open_client(server, paths, retries=5, login="someone") as client,
    ):
        with pytest.raises(
            BadParameter,
            match=r"refuses the login of site\.login \(401\): .* E6TAG_API_KEY",
        ):
            await get(client, "json")
        assert len(server.requests) == 1
