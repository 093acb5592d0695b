"""Connections: bounds below the level of requests, and what is not even HTTP."""

import asyncio
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

from e6tag.serve import refusals
from e6tag.serve.guards import HEADERS
from e6tag.serve.refusals import Code, Refusal

HEAD_SECONDS = 30.0
"""Until the head of a connection's first request has arrived."""

KEEPALIVE_SECONDS = 75.0
"""From an answer until the head of the connection's next request has arrived."""

MAX_LINE = 128 << 10
"""Bytes of a request's first line: as many tags and patterns as a request may name, of
any characters."""


class Connection(web.RequestHandler):
    """One client's connection. What is no HTTP is answered in JSON."""

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=KEEPALIVE_SECONDS,
            max_line_size=MAX_LINE,
            # Else aiohttp unpacks bodies that nobody asked for, refused ones too, as it
            # reads them to their end: 3 MB that hold 3 GB stop the server for seconds.
            auto_decompress=False,
        )
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the time within which a request must come."""
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HEAD_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forgets that time."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Returns what is answered to bytes that are no request."""
        del request, exc, message  # a text for people that holds the bytes
        refusal = Refusal(Code.INTERNAL_ERROR, "The server failed; its log says why.")
        if status < refusal.status:
            refusal = Refusal(Code.BAD_REQUEST, "This is no request in HTTP/1.1.")
        response = refusals.response(refusal)
        response.headers.update(HEADERS)
        response.force_close()
        return response


def ignore_unknown_expectations(server: web.Server) -> None:
    """Takes headers `Expect` that mean nothing out of a server's requests.

    aiohttp would answer them itself: in plain text, without the headers of every
    response, and before the sender is checked.
    """
    make = server.request_factory

    def make_known(message: RawRequestMessage, *others: Any) -> web.BaseRequest:
        expected = message.headers.get(hdrs.EXPECT, "100-continue")
        if expected.lower() != "100-continue":
            headers = message.headers.copy()
            headers.popall(hdrs.EXPECT)
            message = message._replace(headers=CIMultiDictProxy(headers))
        return make(message, *others)

    server.request_factory = make_known
