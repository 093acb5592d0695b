"""Routes of the static host.

Originals, samples, previews and exports on the paths of the contract's section 4.

Stricter than the real host in one thing: what the API would not link to for this viewer
is a 404 here too.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import cast

from aiohttp import web

from sandbox.records import Post
from sandbox.server.serializers import is_visible
from sandbox.server.service import SERVICE
from sandbox.server.variants import Encoding, Kind, has_sample

FOLDER = "/{a:[0-9a-f]{2}}/{b:[0-9a-f]{2}}/{md5:[0-9a-f]{32}}"

CONTENT_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "webm": "video/webm",
    "mp4": "video/mp4",
    "swf": "application/x-shockwave-flash",
}


async def export(request: web.Request) -> web.Response:
    """One bulk export."""
    exports = await request.app[SERVICE].exports()
    found = exports.get(request.match_info["name"])
    if not found:
        raise web.HTTPNotFound
    return file_response(
        request, found.body, "application/gzip", found.checksum, found.updated_at
    )


async def original(request: web.Request) -> web.Response:
    """The file as uploaded."""
    post = _post(request)
    if request.match_info["ext"] != post.ext:
        raise web.HTTPNotFound
    body = await request.app[SERVICE].painter.original(post)
    return file_response(
        request, body, CONTENT_TYPES[post.ext], post.md5, post.created_at
    )


async def variant(request: web.Request) -> web.Response:
    """The sample or preview; 404 where the site makes none of such a file."""
    post = _post(request)
    kind = cast(Kind, request.match_info["kind"])
    encoding = cast(Encoding, request.match_info["ext"])
    if kind == "sample" and not has_sample(post):
        raise web.HTTPNotFound
    body = await request.app[SERVICE].painter.variant(post, kind, encoding)
    if body is None:
        raise web.HTTPNotFound
    tag = f"{post.md5}-{kind}-{encoding}"
    return file_response(request, body, CONTENT_TYPES[encoding], tag, post.created_at)


async def robots(_request: web.Request) -> web.Response:
    """Asks crawlers to be slow."""
    return web.Response(text="User-agent: *\nCrawl-delay: 1\n")


ROUTES = [
    web.get("/robots.txt", robots),
    web.get("/data/db_export/{name}.csv.gz", export),
    web.get("/data/{kind:sample|preview}" + FOLDER + ".{ext:jpg|webp}", variant),
    web.get("/data" + FOLDER + ".{ext}", original),
]


def _post(request: web.Request) -> Post:
    """The post whose file the path names, if this viewer may have it."""
    service = request.app[SERVICE]
    path = request.match_info
    post = service.index.by_md5.get(path["md5"])
    if not post or not post.md5.startswith(path["a"] + path["b"]):
        raise web.HTTPNotFound
    if not is_visible(post, service.viewer(request)):
        raise web.HTTPNotFound
    return post


def file_response(
    request: web.Request, body: bytes, content_type: str, tag: str, modified: datetime
) -> web.Response:
    """The whole file, or the part that a `Range` asks for.

    Only of this very file if an `If-Range` says so.
    """
    modified_utc = modified.replace(tzinfo=UTC, microsecond=0)
    headers = {
        "ETag": f'"{tag}"',
        "Last-Modified": format_datetime(modified_utc, usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": content_type,
    }
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    asked = _asked_range(request)
    if asked.start is None or not _is_same_file(request, headers):
        return web.Response(body=body, headers=headers)
    start, stop, _ = asked.indices(len(body))
    if start >= stop:
        beyond = {"Content-Range": f"bytes */{len(body)}"}
        return web.Response(status=416, headers=beyond)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
    return web.Response(status=206, body=body[start:stop], headers=headers)


def _asked_range(request: web.Request) -> slice:
    """The part that a `Range` asks for.

    Without a start for the whole file, which is a correct answer to several ranges and
    to junk too.
    """
    try:
        return request.http_range
    except ValueError:
        return slice(None)


def _is_same_file(request: web.Request, headers: Mapping[str, str]) -> bool:
    """Whether the file is still the one that an `If-Range` names, if there is any."""
    validator = request.headers.get("If-Range")
    return validator in (None, headers["ETag"], headers["Last-Modified"])
