"""Which requests a fault spoils and how often, and the honest answer it starts from."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from aiohttp import web

from sandbox.server.service import Fault

PICTURES = r"/data/(?!db_export/)"  # originals, samples and previews
EXPORTS = r"/data/db_export/"


def all_of(*faults: Fault) -> Fault:
    """The first fault that has an answer gives it."""

    async def first(request: web.Request) -> web.StreamResponse | None:
        for fault in faults:
            answer = await fault(request)
            if answer:
                return answer
        return None

    return first


@dataclass(frozen=True, slots=True)
class Aimed:
    """Where a fault strikes.

    `where` is a regular expression that the path begins with, or a collection of
    md5s.

    `times` is how many requests it spoils before it turns honest, None for all of
    them; with `per_path` each path has a count of its own.
    """

    where: str | Collection[str] = "/"
    times: int | None = None
    per_path: bool = False
    _struck: Counter[str] = field(
        default_factory=Counter, init=False, repr=False, compare=False
    )

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The spoiled answer, or None where the honest one is due."""
        if not self._meets(request):
            return None
        key = request.path if self.per_path else ""
        if self.times is not None and self._struck[key] >= self.times:
            return None
        self._struck[key] += 1
        return await self._spoil(request)

    def _meets(self, request: web.Request) -> bool:
        if isinstance(self.where, str):
            return re.match(self.where, request.path) is not None
        return request.match_info.get("md5") in self.where

    async def _spoil(self, request: web.Request) -> web.StreamResponse | None:
        raise NotImplementedError


async def honest(request: web.Request) -> web.Response:
    """What the route answers; raises as the route does."""
    answer = await request.match_info.handler(request)
    if not isinstance(answer, web.Response):
        raise TypeError(
            f"{request.path} is answered by {type(answer).__name__}, which no fault "
            "can spoil"
        )
    return answer


async def honest_body(request: web.Request) -> bytes:
    """The body of the honest answer."""
    return body_of(await honest(request))


def body_of(answer: web.Response) -> bytes:
    """The bytes of a body that is at hand as a whole."""
    if isinstance(answer.body, bytes):
        return answer.body
    return b""


def page(
    status: int, title: str, text: str = "", headers: dict[str, str] | None = None
) -> web.Response:
    """A page of HTML as edges send it."""
    head = f"<!DOCTYPE html><html><head><title>{title}</title></head>"
    body = f"{head}<body><h1>{title}</h1>{text}</body></html>"
    return web.Response(
        status=status, text=body, content_type="text/html", headers=headers
    )


def retry_after(seconds: int | None) -> dict[str, str]:
    """The header that asks to wait; none for None."""
    if seconds is None:
        return {}
    return {"Retry-After": str(seconds)}
