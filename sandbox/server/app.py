"""A board as two HTTP servers on loopback.

One is the site (API, index of the exports), the other the static host (every file).
`serve` runs both inside the caller's event loop and yields their addresses and the log
of requests. The routes are in `api_routes.py` and `static_routes.py`; this module holds
what all responses share: the check of user agents, errors, faults, the log.

Guarantees  every request has an entry in the log, and in its file, written when its
            response is complete.
"""

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox.records import Board
from sandbox.server import api_routes, static_routes
from sandbox.server.painter import Painter
from sandbox.server.search import BadQuery
from sandbox.server.service import SERVICE, Fault, Refused, Service, json_response

logger = logging.getLogger(__name__)

LOGIN = ("sandbox_user", "sandbox-key")  # user name and API key of the one account

# What libraries and tools send when nobody set an agent; the edge refuses them by
# prefix.
LIBRARY_AGENT = re.compile(
    r"(python|aiohttp|curl|wget|go-http-client|java|okhttp|node|axios|libwww-perl|ruby|undici|reqwest)\b",
    re.IGNORECASE,
)
CONTACT = re.compile(r"@|\bby \S|https?://", re.IGNORECASE)

FORBIDDEN_PAGE = """<!DOCTYPE html><html><head><title>403 Forbidden</title></head>
<body><h1>403 Forbidden</h1>
<p>Send a descriptive User-Agent that names a contact, such as
<code>Project/1.0 (by user on e621)</code>.</p>
</body></html>"""


@dataclass(frozen=True, slots=True)
class Request:
    """One answered request, as the log keeps it."""

    time: float  # monotonic seconds, when the answer was over
    host: str  # "site" or "static"
    method: str
    path: str
    query: str
    status: int
    # Of the body; 0 where delivery broke off, for nobody knows how much arrived
    bytes_sent: int
    complete: bool  # the whole answer left for the client
    agent: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where a served board is reached.

    Files are under `f"{static_url}/data/"`; `requests` grows with every answer.
    """

    base_url: str
    static_url: str
    requests: Sequence[Request]


@asynccontextmanager
async def serve(
    board: Board,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    static_port: int = 0,
    log: Path | None = None,
    login: tuple[str, str] = LOGIN,
    workers: int = 2,
    fault: Fault | None = None,
) -> AsyncIterator[Site]:
    """Serves the board on an address of this machine until the block is left.

    Port 0 takes any free one.

    `log` is a file to append to, one JSON object a line. `workers` is the number of
    painting processes; each gets the board by pickle.
    """
    async with AsyncExitStack() as stack:
        site_socket = stack.enter_context(socket.create_server((host, port)))
        static_socket = stack.enter_context(socket.create_server((host, static_port)))
        requests: list[Request] = []
        file: TextIO | None = None
        if log:
            # Buffered by line: whole lines, even if killed
            file = stack.enter_context(log.open("a", encoding="utf-8", buffering=1))
        keep = partial(_keep, requests, file)
        painter = await stack.enter_async_context(Painter(board, workers))
        service = Service(board, _url(static_socket), painter, login)
        for role, routes, listener in (
            ("site", api_routes.ROUTES, site_socket),
            ("static", static_routes.ROUTES, static_socket),
        ):
            app = web.Application(middlewares=[_answering(role, keep, fault)])
            app[SERVICE] = service
            app.add_routes(routes)
            await stack.enter_async_context(_running(app, listener))
        yield Site(_url(site_socket), service.static_url, requests)


def _keep(requests: list[Request], file: TextIO | None, request: Request) -> None:
    """Adds the request to the log in memory, and to its file if there is one."""
    requests.append(request)
    if file:
        file.write(json.dumps(asdict(request)) + "\n")


@asynccontextmanager
async def _running(
    app: web.Application, listener: socket.socket
) -> AsyncIterator[None]:
    """Answers what comes in at the socket until the block is left."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


def _url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://{address}:{port}"


def _answering(
    host: str, keep: Callable[[Request], None], fault: Fault | None
) -> Middleware:
    """Answers and delivers every request of one host, and keeps a record of it."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await _respond(host, request, handler, fault)
        complete = False
        try:
            complete = await _deliver(request, response)
        finally:  # a server that is shut down leaves here too
            keep(_record(host, request, response, complete))
        return response

    return answer


def _record(
    host: str, request: web.Request, response: web.StreamResponse, complete: bool
) -> Request:
    bytes_sent = 0
    if complete and request.method != "HEAD":
        body = getattr(response, "body", None)
        bytes_sent = len(body or b"")
    return Request(
        time=time.monotonic(),
        host=host,
        method=request.method,
        path=request.path,
        query=request.query_string,
        status=response.status,
        bytes_sent=bytes_sent,
        complete=complete,
        agent=request.headers.get("User-Agent", ""),
    )


async def _respond(
    host: str, request: web.Request, handler: Handler, fault: Fault | None
) -> web.StreamResponse:
    if not is_welcome(request.headers.get("User-Agent", "")):
        return web.Response(status=403, text=FORBIDDEN_PAGE, content_type="text/html")
    try:
        if fault:
            spoilt = await fault(request)
            if spoilt:
                return spoilt
        if host == "site":
            request.app[SERVICE].viewer(request)  # refuses a wrong login
        return await handler(request)
    except Refused as refusal:
        return _error(refusal.status, refusal.message)
    except BadQuery as refusal:
        return _error(422, str(refusal))
    except web.HTTPNotFound:
        return _error(404, "not found")
    except web.HTTPException as other:
        return other
    except Exception:
        logger.exception("sandbox: %s failed", request.path)
        return _error(500, "Something went wrong")


async def _deliver(request: web.Request, response: web.StreamResponse) -> bool:
    """Sends the answer and waits until the last byte left this process.

    False where the connection broke before.
    """
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return False
    # Polled, because a transport tells of an empty buffer by this number alone.
    while _has_unsent_bytes(request.transport):  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    return request.transport is not None and not request.transport.is_closing()


def _has_unsent_bytes(transport: asyncio.WriteTransport | None) -> bool:
    if transport is None or transport.is_closing():
        return False
    return transport.get_write_buffer_size() > 0


def is_welcome(agent: str) -> bool:
    """Whether the edge lets this User-Agent in: one that names who asks.

    And a contact if it calls itself a browser.
    """
    if not agent.strip() or LIBRARY_AGENT.match(agent):
        return False
    return not agent.startswith("Mozilla/") or bool(CONTACT.search(agent))


def _error(status: int, message: str) -> web.Response:
    if status in (403, 404):
        return json_response({"success": False, "reason": message}, status)
    return json_response({"success": False, "message": message, "code": None}, status)
