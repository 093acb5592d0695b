"""Files that are not the picture that was asked for, with status 200."""

import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import web

from sandbox.art.png import chunk
from sandbox.faults.base import PICTURES, Aimed, page


@dataclass(frozen=True, slots=True)
class WrongBytes(Aimed):
    """A sound picture that is another one: a PNG of one pixel."""

    where: str | Collection[str] = PICTURES

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        return _picture(png(1, 1, b"\x00\x80"))


@dataclass(frozen=True, slots=True)
class Html(Aimed):
    """A page of HTML with status 200."""

    where: str | Collection[str] = PICTURES

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        return page(200, "Something went wrong")


@dataclass(frozen=True, slots=True)
class Bomb(Aimed):
    """A PNG of a few hundred bytes that would decode to 3.6 GB.

    With `Planted` it has the right md5 too.
    """

    where: str | Collection[str] = PICTURES

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        return _picture(bomb())


def bomb() -> bytes:
    """A PNG whose header promises 60,000 x 60,000 pixels, over data for a few rows."""
    return png(60_000, 60_000, b"\x00" * 60_001)


def png(width: int, height: int, rows: bytes) -> bytes:
    """An 8-bit grey PNG.

    `rows` are the unpacked scan lines, each with its filter byte, and may fall short.
    """
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (
        chunk(b"IHDR", header),
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _picture(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="image/png")
