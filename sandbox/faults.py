"""Ready ways for a served board to misbehave: values for the `fault` of `serve`.

Each is called with every request and answers None where it has nothing to spoil; `all_of` joins several. A `Planted`
board is for files that are bad though their md5 is right.
"""

import csv
import gzip
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from aiohttp import web

from sandbox.exports import stored_gzip
from sandbox.records import Board
from sandbox.service import SERVICE, Fault, json_response


def all_of(*faults: Fault) -> Fault:
    """The first fault that has an answer gives it."""

    async def first(request: web.Request) -> web.StreamResponse | None:
        for fault in faults:
            if answer := await fault(request):
                return answer
        return None

    return first


@dataclass(frozen=True, slots=True)
class Truncated:
    """Promises the whole file of these md5s and hangs up in the middle of it."""

    md5s: Collection[str]

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """Half of the honest answer."""
        return _HalfResponse(body=await _honest_body(request)) if _asks_for(request, self.md5s) else None


@dataclass(frozen=True, slots=True)
class WrongBytes:
    """Delivers for these md5s a sound picture that is another one: a one-pixel PNG."""

    md5s: Collection[str]

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The wrong picture, with status 200."""
        return _picture(png(1, 1, b"\x00\x80")) if _asks_for(request, self.md5s) else None


@dataclass(frozen=True, slots=True)
class Html:
    """Answers 200 with a page of HTML for these md5s."""

    md5s: Collection[str]

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The page."""
        page = "<!DOCTYPE html><html><body><h1>Something went wrong</h1></body></html>"
        return web.Response(text=page, content_type="text/html") if _asks_for(request, self.md5s) else None


@dataclass(frozen=True, slots=True)
class Bomb:
    """Delivers for these md5s a PNG of a few hundred bytes that would decode to 3.6 GB."""

    md5s: Collection[str]

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The bomb. Its md5 is another one; a `Planted` board gives it the right one."""
        return _picture(bomb()) if _asks_for(request, self.md5s) else None


@dataclass(frozen=True, slots=True)
class Down:
    """Answers 503 to every request whose path starts with `prefix`; sends Retry-After where seconds are given."""

    prefix: str = "/"
    retry_after: int | None = None

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The page of an edge that cannot reach the service."""
        if not request.path.startswith(self.prefix):
            return None
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        page = "<!DOCTYPE html><html><body><h1>503 Service Unavailable</h1></body></html>"
        return web.Response(status=503, text=page, content_type="text/html", headers=headers)


@dataclass(frozen=True, slots=True)
class WrongChecksum:
    """The index names a checksum for this export that its file does not have, however often one asks."""

    export: str

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The index with one checksum changed."""
        if request.path != "/db_exports.json":
            return None
        return await _spoiled_index(request, self.export, {"checksum": hashlib.sha256(b"another file").hexdigest()})


@dataclass(frozen=True, slots=True)
class MissingColumn:
    """The posts export lacks a column; index, checksum and file agree on it."""

    column: str

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The index or the file without the column."""
        if request.path == "/data/db_export/posts.csv.gz":
            return web.Response(body=self._without(await _honest_body(request)), content_type="application/gzip")
        if request.path == "/db_exports.json":
            exports = await request.app[SERVICE].exports()
            body = self._without(exports["posts"].body)
            news = {"checksum": hashlib.sha256(body).hexdigest(), "file_size": len(body)}
            return await _spoiled_index(request, "posts", news)
        return None

    def _without(self, body: bytes) -> bytes:
        rows = csv.reader(io.StringIO(gzip.decompress(body).decode(), newline=""))
        header = next(rows)
        place = header.index(self.column)
        csv.writer(out := io.StringIO(newline=""), lineterminator="\n").writerows(
            row[:place] + row[place + 1 :] for row in [header, *rows]
        )
        return stored_gzip(out.getvalue().encode())


class Planted:
    """The same board, but for the files of some posts: their md5s and sizes are those of the bytes given by post id."""

    def __init__(self, board: Board, files: Mapping[int, bytes]) -> None:
        self.name, self.day, self.now = board.name, board.day, board.now
        self.tags, self.aliases, self.implications = board.tags, board.aliases, board.implications
        self._board = board
        self._files = {hashlib.md5(data).hexdigest(): data for data in files.values()}  # noqa: S324  # as the site does
        md5s = dict(zip(files, self._files, strict=True))
        self.posts = tuple(
            replace(post, md5=md5s[post.id], file_size=len(files[post.id])) if post.id in files else post
            for post in board.posts
        )

    def original(self, md5: str) -> bytes:
        """The planted bytes, or the board's own."""
        return self._files[md5] if md5 in self._files else self._board.original(md5)


def bomb() -> bytes:
    """A PNG whose header promises 60,000 x 60,000 pixels, over data for a few rows."""
    return png(60_000, 60_000, b"\x00" * 60_001)


def png(width: int, height: int, rows: bytes) -> bytes:
    """An 8-bit grey PNG; `rows` are the unpacked scan lines, each with its filter byte, and may fall short."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class _HalfResponse(web.Response):
    """Sends half of the body that its head announces, then closes the connection."""

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002  # the parent's signature
        body, writer, request = self.body, self._payload_writer, self._req
        if isinstance(body, bytes) and writer and request and request.transport:
            await writer.write(body[: len(body) // 2])
            await writer.drain()
            request.transport.close()  # after what is buffered is sent
        self._eof_sent = True


def _asks_for(request: web.Request, md5s: Collection[str]) -> bool:
    return request.match_info.get("md5") in md5s


def _picture(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="image/png")


async def _honest_body(request: web.Request) -> bytes:
    answer = await request.match_info.handler(request)
    return answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b""


async def _spoiled_index(request: web.Request, export: str, news: dict[str, object]) -> web.Response:
    rows = json.loads(await _honest_body(request))
    return json_response([{**row, **news} if row["name"] == export else row for row in rows])
