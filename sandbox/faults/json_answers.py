"""JSON answers that are odd (contract section 2).

More keys than known, pages that repeat, another shape, a bomb.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import web

from sandbox.faults.base import Aimed, honest, honest_body
from sandbox.faults.inflating import inflating_gzip
from sandbox.server.service import json_response

LISTING = r"/posts\.json$"


@dataclass(frozen=True, slots=True)
class ExtraKeys(Aimed):
    """Every object of the answer has a key more that nobody knows.

    The tags of a post have a category more.
    """

    where: str | Collection[str] = r"/.*\.json$"

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        value = json.loads(await honest_body(request))
        return json_response(_with_news(value))


@dataclass(frozen=True, slots=True)
class DoubledPosts(Aimed):
    """A page that comes after another begins with the last post of that one."""

    where: str | Collection[str] = LISTING

    async def _spoil(self, request: web.Request) -> web.StreamResponse | None:
        cursor = re.fullmatch(r"b(\d+)", request.query.get("page", ""))
        answer = await honest(request)
        if not cursor or not _posts(answer):
            return answer
        return await honest(_asking(request, page=f"b{int(cursor[1]) + 1}"))


@dataclass(frozen=True, slots=True)
class RepeatingCursor(Aimed):
    """Whatever page is asked for, the first comes.

    Following its cursor leads back to it for ever.
    """

    where: str | Collection[str] = LISTING

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        return await honest(_asking(request, page="1"))


@dataclass(frozen=True, slots=True)
class ShortPages(Aimed):
    """Pages hold at most so many posts whatever the limit, though more follow."""

    where: str | Collection[str] = LISTING
    posts: int = 7

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        asked = request.query.get("limit", "75")
        if not asked.isdecimal():
            return await honest(request)  # which refuses it
        limit = min(int(asked), self.posts)
        return await honest(_asking(request, limit=str(limit)))


@dataclass(frozen=True, slots=True)
class V2Anyway(Aimed):
    """The shapes of v2, whatever was asked for."""

    where: str | Collection[str] = r"/posts(/\d+)?\.json$"
    mode: str = "extended"

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        return await honest(_asking(request, v2="true", mode=self.mode))


@dataclass(frozen=True, slots=True)
class JsonBomb(Aimed):
    """Sound JSON, an empty list with so many megabytes of space in it, in gzip.

    On the wire it is about a thousandth of them.
    """

    where: str | Collection[str] = r"/.*\.json$"
    megabytes: int = 4_096

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        body = inflating_gzip(b"[", b" ", self.megabytes, b"]")
        return web.Response(
            body=body,
            content_type="application/json",
            headers={"Content-Encoding": "gzip"},
        )


def _with_news(value: object) -> object:
    if isinstance(value, list):
        return [_with_news(one) for one in value]
    if not isinstance(value, dict):
        return value
    longer = {key: _with_news(one) for key, one in value.items()}
    longer["news"] = [] if _holds_lists(value) else {"since": 2027}
    return longer


def _holds_lists(value: dict[str, object]) -> bool:
    """Whether these are lists by name, as the tags of a post by category are."""
    return bool(value) and all(isinstance(one, list) for one in value.values())


def _posts(answer: web.Response) -> list[object]:
    """The posts of a listing of either shape."""
    listing = json.loads(answer.text or "[]")
    if isinstance(listing, dict):
        return list(listing["posts"])
    return list(listing)


def _asking(request: web.Request, **query: str) -> web.Request:
    """The same request with other values in its query."""
    return request.clone(rel_url=request.rel_url.update_query(query))
