"""The server: the application on a port, until a signal ends it."""

import asyncio
import errno
import ipaddress
import logging
import signal
import warnings
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, web

from e6tag.errors import E6tagError
from e6tag.serve import api, guards, page_files
from e6tag.serve.connections import Connection, ignore_unknown_expectations
from e6tag.serve.limits import Limits
from e6tag.serve.metrics import Metrics
from e6tag.serve.neighbours import Neighbours
from e6tag.serve.service import Service
from e6tag.tagger import Tagger

GRACE_SECONDS = 20.0
"""From a signal until requests under way are given up."""


BACKLOG = 1024
"""Connections that the system may accept before the server does."""


class CannotListen(E6tagError):
    """An address or a port that cannot be had."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. port: 0 for any."""

    host: str
    port: int


def run(
    app: web.Application, address: Address, when_ready: Callable[[str], None]
) -> None:
    """Serves until SIGINT or SIGTERM, then answers what is under way.

    when_ready: is called with the URL. Raises CannotListen.
    """
    # What a client does wrong at the level of HTTP is no event for the log. Python
    # would keep each warning, whose text a client chooses.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    for kind in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.simplefilter("ignore", kind)
    asyncio.run(_serve(app, address, when_ready))


def make_app(
    tagger: Tagger,
    limits: Limits,
    names: Collection[str],
    neighbours: Neighbours | None = None,
) -> web.Application:
    """Returns the application.

    names: by which browsers may ask, besides addresses and localhost.
    """
    metrics = Metrics()
    app = web.Application(
        middlewares=[guards.answer_in_json, guards.check_sender],
        client_max_size=0,  # no limit of aiohttp's: uploads.py has its own
    )
    app[guards.METRICS] = metrics
    app[guards.ALLOWED_HOSTS] = frozenset(name.lower() for name in names)
    app[api.SERVICE] = Service(tagger, limits, metrics)
    if neighbours is not None:
        app[api.NEIGHBOURS] = neighbours
    app.add_routes(api.routes)
    page_files.add_routes(app)
    app.cleanup_ctx.append(_service)
    return app


async def _service(app: web.Application) -> AsyncIterator[None]:
    await app[api.SERVICE].start()
    yield
    await app[api.SERVICE].close()


async def _serve(
    app: web.Application, address: Address, when_ready: Callable[[str], None]
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    runner = web.AppRunner(app, shutdown_timeout=GRACE_SECONDS)
    await runner.setup()
    try:
        listener = await listen(runner, address)
        when_ready(url_of(listener))
        await ended.wait()
        listener.close()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second one ends it at once
        await runner.cleanup()


async def listen(runner: web.AppRunner, address: Address) -> asyncio.Server:
    """Opens the port of an application that is set up; raises CannotListen."""
    loop = asyncio.get_running_loop()
    place = f"port {address.port} of {address.host}"
    server = _server_of(runner)
    ignore_unknown_expectations(server)
    try:
        return await loop.create_server(
            lambda: Connection(server, loop),
            address.host,
            address.port,
            backlog=BACKLOG,
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"{place} is in use. Choose another with --port; 0 takes any."
            ) from error
        reason = error.strerror or str(error)
        raise CannotListen(f"{place} cannot be opened: {reason}") from error
    except UnicodeError as error:  # of a name that no machine can have
        raise CannotListen(f"{place} cannot be opened: no name of a host") from error


def _server_of(runner: web.AppRunner) -> web.Server:
    if runner.server is None:
        raise RuntimeError("the server has ended")
    return runner.server


def url_of(listener: asyncio.Server) -> str:
    """Returns the address of an open port, with a slash at its end."""
    host, port = listener.sockets[0].getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"


def is_loopback(url: str) -> bool:
    """Returns whether only this machine can reach an address that was listened on."""
    return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
