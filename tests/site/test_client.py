"""The client: retries, limits of size and time, and what it sends."""

import asyncio
import gzip
from dataclasses import replace
from itertools import pairwise

import pytest
from aiohttp import web

from pipeline.errors import (
    BadAnswer,
    SiteUnreachable,
)
from pipeline.paths import Paths
from pipeline.site import request_stats
from pipeline.site.client import (
    MAX_JSON,
    PermanentFailure,
    Timeouts,
    TransientFailure,
)
from tests.builders.http_server import (
    QUICK,
    Answer,
    expected_response,
    get,
    open_client,
    serving,
    status,
)


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_holds_back_every_request(paths: Paths, code: int) -> None:
    throttled = iter([True])

    async def answer(request: web.Request) -> web.Response:
        if next(throttled, False):
            return web.Response(status=code, headers={"Retry-After": "1"})
        return await expected_response(request)

    async with serving(answer) as server:
        async with open_client(server, paths, retries=1) as client:
            first = asyncio.create_task(get(client, "json"))
            await asyncio.sleep(0.2)
            await asyncio.gather(first, get(client, "file"))
        assert server.times[1] - server.times[0] >= 1.0
        waited = request_stats.read(paths)["download"]["seconds_waited"]
        assert 0.8 <= waited["retry_after"] <= 1.5


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            status(
                422,
                text='{"success":false,"message":"The search timed out","code":null}',
                content_type="application/json",
            ),
            id="422 timed out",
        ),
        pytest.param(status(501), id="501"),
    ],
)
async def test_request_that_was_too_much_this_time_is_retried_and_ends_as_retry_later(
    paths: Paths, answer: Answer, capfd: pytest.CaptureFixture[str]
) -> None:
    async with (
        serving(answer) as server,
        open_client(server, paths, retries=2) as client,
    ):
        with pytest.raises(
            SiteUnreachable,
            match=r"does not answer after 3 tries: .* again in a minute\.",
        ) as raised:
            await get(client, "json")
        assert raised.value.exit_status == 75
        assert len(server.requests) == 3
    messages = capfd.readouterr().err.splitlines()
    assert [line.rpartition(", ")[2] for line in messages] == [
        "asked again (try 2 of 3)",
        "asked again (try 3 of 3)",
    ]


async def test_waits_between_tries_grow_and_are_counted(paths: Paths) -> None:
    async with serving(status(503)) as server:
        async with open_client(
            server, paths, retries=3, timeouts=replace(QUICK, first_backoff=0.1)
        ) as client:
            with pytest.raises(
                SiteUnreachable, match="does not answer after 4 tries: status 503"
            ):
                await get(client, "json")
        gaps = [later - sooner for sooner, later in pairwise(server.times)]
        assert [
            gap >= least for gap, least in zip(gaps, (0.1, 0.2, 0.4), strict=True)
        ] == [True] * 3
        assert request_stats.read(paths)["download"]["seconds_waited"][
            "backoff"
        ] == pytest.approx(sum(gaps), abs=0.2)


async def test_json_that_inflates_without_end_is_refused(paths: Paths) -> None:
    bomb = gzip.compress(b"[" + b" " * (MAX_JSON + 1), compresslevel=1)
    answer = status(
        200,
        body=bomb,
        content_type="application/json",
        headers={"Content-Encoding": "gzip"},
    )
    async with serving(answer) as server, open_client(server, paths) as client:
        with pytest.raises(
            BadAnswer, match="answered more than 67,108,864 bytes of JSON"
        ):
            await get(client, "json")


async def test_file_that_inflates_beyond_the_limit_is_refused(paths: Paths) -> None:
    bomb = gzip.compress(bytes(8 << 20))
    answer = status(
        200, body=bomb, content_type="image/png", headers={"Content-Encoding": "gzip"}
    )
    async with serving(answer) as server, open_client(server, paths) as client:
        with pytest.raises(
            PermanentFailure, match="too_large: more than 1,048,576 bytes"
        ):
            await get(client, "file")


async def test_files_and_exports_are_asked_for_as_they_are_stored(paths: Paths) -> None:
    stored = gzip.compress(b"id\n1\n")
    answer = status(
        200, body=stored, content_type="text/csv", headers={"Content-Encoding": "gzip"}
    )
    async with serving(answer) as server, open_client(server, paths) as client:
        assert (
            await get(client, "export") == stored
        )  # its checksum is that of these bytes
        await get(client, "file")
        assert [request.headers["Accept-Encoding"] for request in server.requests] == [
            "identity"
        ] * 2


async def test_broken_json_is_asked_for_again(paths: Paths) -> None:
    texts = iter(['{"posts": [', '{"posts": []}'])

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=next(texts), content_type="application/json")

    async with (
        serving(answer) as server,
        open_client(server, paths, retries=1) as client,
    ):
        assert await get(client, "json") == {"posts": []}


def dripping(pause: float, piece: bytes = b"x", pieces: int = 1000) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        await response.prepare(request)
        for _ in range(pieces):
            await response.write(piece)
            await asyncio.sleep(pause)
        return response

    return answer


@pytest.mark.parametrize(
    ("what", "timeouts"),
    [
        pytest.param("file", replace(QUICK, look=0.4), id="drip"),
        pytest.param("export", replace(QUICK, look=0.4), id="drip of an export"),
        pytest.param("file", replace(QUICK, whole=0.4, slowest=0), id="endless file"),
    ],
)
async def test_what_comes_too_slowly_ends(
    paths: Paths, what: str, timeouts: Timeouts
) -> None:
    async with (
        serving(dripping(0.01)) as server,
        open_client(server, paths, timeouts=timeouts) as client,
        asyncio.timeout(5),
    ):
        with pytest.raises(
            TransientFailure, match=r"too slow: \d+ bytes of it came in 0\.[4-9] s"
        ):
            await get(client, what)


async def test_silence_ends(paths: Paths) -> None:
    timeouts = replace(QUICK, silence=0.3)
    async with (
        serving(dripping(30)) as server,
        open_client(server, paths, timeouts=timeouts) as client,
        asyncio.timeout(5),
    ):
        with pytest.raises(TransientFailure, match="SocketTimeoutError"):
            await get(client, "file")


async def test_long_export_that_keeps_coming_is_not_cut_off(paths: Paths) -> None:
    timeouts = replace(QUICK, whole=0.2, look=0.1)
    async with (
        serving(dripping(0.02, bytes(1000), 40)) as server,
        open_client(server, paths, timeouts=timeouts) as client,
    ):
        assert await get(client, "export") == bytes(40_000)


async def test_connection_that_breaks_before_the_answer_is_not_retried_behind_our_back(
    paths: Paths,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if len(server.requests) > 1:
            assert request.transport is not None
            request.transport.close()
        return await expected_response(request)

    async with serving(answer) as server:
        async with open_client(server, paths) as client:
            await get(client, "file")
            with pytest.raises(TransientFailure, match="ServerDisconnectedError"):
                await get(client, "file")
        assert len(server.requests) == 2
        assert request_stats.read(paths)["download"]["requests"] == {
            "file": {"200": 1, "ServerDisconnectedError": 1}
        }
