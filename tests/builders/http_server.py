"""A server that answers every request alike, and a client of it.

Real sockets on loopback; 127.0.0.2 counts as a real site.
"""

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.site.client import (
    LOCAL_TIMEOUTS,
    Client,
    Timeouts,
    TransientFailure,
)
from pipeline.site.session import open_site

FILE = "/data/ab/cd/abcd.jpg"


EXPORT = "/data/db_export/posts.csv.gz"


QUICK = replace(LOCAL_TIMEOUTS, first_backoff=0.01, failing=0)


REMOTE = {"contact": "someone@example.org", "terms_read": True}


PAGE = "<!DOCTYPE html><html><head><title>{}</title></head><body>{}</body></html>"


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Server:
    """A site of one address, and what arrived there."""

    url: str
    started: float = field(default_factory=time.monotonic)
    times: list[float] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)


@asynccontextmanager
async def serving(
    answer: Answer,
    host: str = "127.0.0.1",
    *,
    listener: socket.socket | None = None,
    opens_after: float = 0.0,
) -> AsyncIterator[Server]:
    """Serves one answer for every request.

    opens_after: seconds until the first connection is accepted.
    """
    times: list[float] = []
    requests: list[web.Request] = []

    async def noted(request: web.Request) -> web.StreamResponse:
        times.append(time.monotonic())
        requests.append(request)
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", noted)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listener = listener or socket.create_server((host, 0))

    async def accept() -> None:
        await asyncio.sleep(opens_after)
        await web.SockSite(runner, listener).start()

    accepting = asyncio.create_task(accept())
    if not opens_after:
        await accepting
    try:
        yield Server(
            f"http://{host}:{listener.getsockname()[1]}", times=times, requests=requests
        )
    finally:
        await accepting
        await runner.cleanup()


def open_client(
    server: Server,
    paths: Paths,
    *,
    retries: int = 0,
    timeouts: Timeouts | None = QUICK,
    **site: Any,
) -> Any:
    """Opens the server as a custom site for the stage `download`."""
    section = Site(name="custom", base_url=server.url, static_url=server.url, **site)
    return open_site(section, paths, "download", retries=retries, timeouts=timeouts)


async def image_response(_: web.Request) -> web.Response:
    return web.Response(body=b"\xff\xd8\xff image", content_type="image/jpeg")


async def expected_response(request: web.Request) -> web.Response:
    """What belongs there, by path."""
    if "/db_export/" in request.path:
        return web.Response(
            body=gzip.compress(b"id\n1\n"), content_type="application/gzip"
        )
    return (
        await image_response(request)
        if request.path.startswith("/data/")
        else web.json_response({"posts": []})
    )


def status(code: int, **options: Any) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, **options)

    return answer


def page(code: int, title: str = "A page", text: str = "", **headers: str) -> Answer:
    return status(
        code, text=PAGE.format(title, text), content_type="text/html", headers=headers
    )


async def get(client: Client, what: str) -> object:
    """Asks for a kind of thing as its stage does."""
    if what == "json":
        return await client.json("/posts.json")
    if what == "file":
        return await client.file(FILE, max_bytes=1 << 20)
    async with client.stream(client.endpoints.static_url + EXPORT) as response:
        return await response.read()


async def until_another_error(ask: Callable[[], Awaitable[object]]) -> None:
    """Requests image after image until something but a TransientFailure is raised."""
    while True:
        with pytest.raises(TransientFailure):
            await ask()


def most_in_a_second(times: list[float]) -> int:
    return max(sum(0 <= other - one < 1.0 for other in times) for one in times)
