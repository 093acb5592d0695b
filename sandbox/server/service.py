"""What the routes of both hosts answer from: the board, what it makes, who asks."""

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from functools import cached_property

from aiohttp import web

from sandbox.records import Board
from sandbox.server.exports import Export, build_exports
from sandbox.server.painter import Painter
from sandbox.server.search import Index
from sandbox.server.serializers import Shapes, Viewer

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Called before the route of every request that passed the check of agents.

None lets the honest answer through.
"""

TRUTHY = frozenset({"true", "t", "yes", "y", "on", "1"})


class Refused(Exception):
    """The answer is an error with a JSON body (contract section 5)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Service:
    """Parts of a served board, each built when first asked for."""

    def __init__(
        self, board: Board, static_url: str, painter: Painter, login: tuple[str, str]
    ) -> None:
        self.board = board
        self.static_url = static_url
        self.painter = painter
        self._login = login
        self._export_lock = asyncio.Lock()
        self._exports: dict[str, Export] = {}

    @cached_property
    def index(self) -> Index:
        """For searches."""
        return Index(self.board)

    @cached_property
    def shapes(self) -> Shapes:
        """For JSON answers."""
        return Shapes(self.board, self.static_url)

    async def exports(self) -> dict[str, Export]:
        """The day's exports by name, made once and off the event loop."""
        async with self._export_lock:
            if not self._exports:
                self._exports = await asyncio.to_thread(build_exports, self.board)
        return self._exports

    def viewer(self, request: web.Request) -> Viewer:
        """Who asks; raises Refused(401) for a login that is not the account's."""
        given = _credentials(request)
        if given and given != self._login:
            raise Refused(401, "SessionLoader::AuthenticationFailure")
        safe_mode = request.query.get("safe_mode", "").lower() in TRUTHY
        return Viewer(logged_in=bool(given), safe_mode=safe_mode)


SERVICE: web.AppKey[Service] = web.AppKey("service", Service)


def json_response(value: object, status: int = 200) -> web.Response:
    """JSON as the site writes it: compact, names not escaped to ASCII."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json")


def _credentials(request: web.Request) -> tuple[str, str] | None:
    """User and key of HTTP Basic or of the query string.

    None where the request names no user.
    """
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Refused(401, "SessionLoader::AuthenticationFailure") from error
        user, _, key = decoded.partition(":")
        return user, key
    if "login" in request.query:
        return request.query["login"], request.query.get("api_key", "")
    return None
