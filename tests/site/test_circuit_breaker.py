"""A site that fails every request is left alone."""

import asyncio
import time
from contextlib import nullcontext
from dataclasses import replace

import pytest
from aiohttp import web

from pipeline.errors import (
    SiteUnreachable,
)
from pipeline.paths import Paths
from pipeline.site import request_stats
from pipeline.site.circuit_breaker import LIMIT, CircuitBreaker, retry_hint
from pipeline.site.client import (
    LOCAL_TIMEOUTS,
    PermanentFailure,
    TransientFailure,
)
from tests.builders.http_server import (
    expected_response,
    get,
    open_client,
    serving,
    status,
    until_another_error,
)


@pytest.mark.parametrize(
    ("seconds", "hint"),
    [
        (30, "in a minute."),
        (900, "in 15 minutes, after "),
        (3600, "in an hour, after "),
        (86_400, "in a day, after 20"),
    ],
)
def test_time_to_come_back_is_said_in_words_and_by_the_clock(
    seconds: float, hint: str
) -> None:
    assert f"Run the same command again {hint}" in retry_hint(seconds)


@pytest.mark.parametrize("code", [500, 503, 520])
async def test_site_that_fails_every_request_is_left_alone_after_25(
    paths: Paths, code: int
) -> None:
    async with serving(status(code), "127.0.0.1") as server:
        async with open_client(server, paths, retries=2) as client:
            with pytest.raises(
                SiteUnreachable,
                match=rf"failed {LIMIT} requests in a row, the last: status {code}",
            ):
                await until_another_error(
                    lambda: client.with_retries(lambda: get(client, "file"))
                )
        assert len(server.requests) == LIMIT


async def test_connections_that_break_count_as_failures_too(paths: Paths) -> None:
    async with serving(expected_response) as server:
        pass  # nobody listens there any more
    async with open_client(server, paths) as client:
        with pytest.raises(
            SiteUnreachable,
            match=r"in a row, the last: no answer came: ClientConnectorError .* "
            r"Everything fetched is kept",
        ):
            await until_another_error(lambda: get(client, "file"))
    assert request_stats.read(paths)["download"]["requests"]["file"] == {
        "ClientConnectorError": LIMIT
    }


async def test_one_success_forgets_the_failures_before_it(paths: Paths) -> None:
    count = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return (
            await expected_response(request)
            if count % LIMIT == 0
            else web.Response(status=503)
        )

    async with serving(answer) as server, open_client(server, paths) as client:
        for _ in range(3 * LIMIT):
            with (
                pytest.raises(TransientFailure)
                if (count + 1) % LIMIT
                else nullcontext()
            ):
                await get(client, "file")


async def test_one_hiccup_of_many_requests_at_once_is_not_the_end(paths: Paths) -> None:
    opens = time.monotonic() + 0.3

    async def answer(request: web.Request) -> web.Response:
        return (
            await expected_response(request)
            if time.monotonic() > opens
            else web.Response(status=503)
        )

    # A busy machine may need seconds for what takes 0.3 s of an idle one.
    timeouts = replace(LOCAL_TIMEOUTS, first_backoff=0.3, failing=30.0)
    async with (
        serving(answer) as server,
        open_client(server, paths, retries=3, timeouts=timeouts) as client,
    ):
        await asyncio.gather(
            *(client.with_retries(lambda: get(client, "file")) for _ in range(32))
        )


async def test_refusals_in_a_row_are_the_callers_to_judge_first_and_the_breakers_then(
    paths: Paths,
) -> None:
    forbidden = status(
        403,
        text='{"success":false,"reason":"Access Denied"}',
        content_type="application/json",
    )
    async with (
        serving(forbidden) as server,
        open_client(server, paths, concurrency=4) as client,
    ):
        for _ in range(LIMIT + 3):
            with pytest.raises(
                PermanentFailure, match="forbidden: status 403: Access Denied"
            ):
                await get(client, "file")
        with pytest.raises(
            SiteUnreachable, match=f"failed {LIMIT + 4} requests in a row"
        ):
            await get(client, "file")


def test_longer_pause_of_the_site_is_the_one_to_wait_for() -> None:
    breaker = CircuitBreaker(least=0, pause=60, limit=2)
    breaker.failed("e621.net", "status 503")
    with pytest.raises(SiteUnreachable, match="in 2 hours, after"):
        breaker.failed("e621.net", "status 503", wait=7_200)
