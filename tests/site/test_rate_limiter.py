"""The rate: of one limiter, and of all requests of a client together."""

import asyncio
import socket
import sys
import time
from contextlib import ExitStack

import pytest
from aiohttp import web

from pipeline.paths import Paths
from pipeline.site import request_stats
from pipeline.site.rate_limiter import RateLimiter
from tests.builders.http_server import (
    REMOTE,
    expected_response,
    get,
    image_response,
    most_in_a_second,
    open_client,
    serving,
)


async def test_no_second_has_more_requests_than_the_rate_even_after_a_stall() -> None:
    limiter, left = RateLimiter(50), []

    async def work() -> None:
        while len(left) < 170:
            (await limiter.acquire()).left()
            left.append(time.monotonic())
            if len(left) in (40, 41, 90):
                time.sleep(0.1)  # noqa: ASYNC251  # the stall

    await asyncio.gather(*(work() for _ in range(8)))
    assert most_in_a_second(left) <= 50
    assert 169 / (left[-1] - left[0]) > 50 * 0.7


async def test_rate_that_arrives_is_the_limit_and_not_more(paths: Paths) -> None:
    async with serving(expected_response) as server, asyncio.timeout(60):
        async with open_client(server, paths, requests_per_second=50) as client:
            queue = iter(range(200))

            async def work() -> None:
                for _ in queue:
                    await get(client, "file")

            await asyncio.gather(*(work() for _ in range(32)))
        achieved = 199 / (server.times[-1] - server.times[0])
        # Slack for a busy machine, where this process notes arrivals late:
        # bench/limiter.py measures 98.7 % and never more than 50, with the kernel's
        # times.
        assert 0.8 * 50 < achieved <= 50.5
        assert most_in_a_second(server.times) <= 52


async def test_long_idle_is_not_made_up_for_by_a_burst() -> None:
    limiter = RateLimiter(50)
    (await limiter.acquire()).left()
    await asyncio.sleep(0.5)
    started = time.monotonic()
    for _ in range(6):
        (await limiter.acquire()).left()
    assert time.monotonic() - started >= 5 / 50


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux drops a SYN that finds the queue full"
)
async def test_connections_that_take_their_time_bring_no_requests_closer_together(
    paths: Paths,
) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=0)
        )
        for _ in range(
            4
        ):  # nobody accepts them yet: what comes after them is let in a second later
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        async with serving(
            expected_response, listener=listener, opens_after=0.6
        ) as server:
            async with open_client(server, paths, requests_per_second=2) as client:
                await asyncio.gather(*(get(client, "file") for _ in range(5)))
            assert (
                server.times[0] - server.started >= 0.9
            )  # else no connection was slow
            assert most_in_a_second(server.times) <= 2


async def test_one_limit_holds_over_api_exports_and_files(paths: Paths) -> None:
    async with (
        serving(expected_response) as server,
        open_client(server, paths, requests_per_second=20) as client,
    ):
        await asyncio.gather(
            *(get(client, what) for what in ("json", "file", "export") * 4)
        )
        assert server.times[-1] - server.times[0] >= 11 / 20 * 0.95


async def test_requests_under_way_stay_within_concurrency_and_rate_however_many_ask(
    paths: Paths,
) -> None:
    under_way = most = 0

    async def late(request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(
            0.8 if len(server.times) <= 2 else 0.01
        )  # meanwhile the turns of the others would pass by
        under_way -= 1
        return await image_response(request)

    async with (
        serving(late) as server,
        open_client(server, paths, concurrency=2, requests_per_second=5) as client,
    ):
        await asyncio.gather(*(get(client, "file") for _ in range(12)))
        assert most == 2
        assert most_in_a_second(server.times) <= 5


async def test_real_site_is_asked_at_most_twice_a_second_whatever_was_set(
    paths: Paths,
) -> None:
    async with serving(expected_response, "127.0.0.2") as server:
        async with open_client(
            server, paths, requests_per_second=50, **REMOTE
        ) as client:
            await asyncio.gather(*(get(client, "file") for _ in range(5)))
        assert server.times[-1] - server.times[0] >= 4 / 2 * 0.98
        assert request_stats.read(paths)["download"]["rate_limit_per_second"] == 2.0
