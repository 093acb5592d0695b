"""Routes of the site host.

The API and the index of the exports (contract sections 1.2, 2 and 3).
"""

import html
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from aiohttp import web

from sandbox.board.records import Post, Relation, Tag
from sandbox.server.search import EFFECTIVE, is_like
from sandbox.server.serializers import Json, export_row
from sandbox.server.service import SERVICE, Refused, json_response

MAX_LIMIT = 320
DEFAULT_LIMIT = 75
MAX_PAGE = 750
MAX_ID = 2_147_483_647
MAX_COUNT = 240_001

Row = TypeVar("Row", Post, Tag, Relation)

OPT_OUTS = frozenset({"avoid_posting", "conditional_dnp"})

ROBOTS = """User-agent: GPTBot
User-agent: CCBot
Disallow: /

User-agent: *
Crawl-delay: 1
Disallow: /data/
Disallow: /posts.json
"""


async def export_index(request: web.Request) -> web.Response:
    """The exports there are, ordered by name."""
    service = request.app[SERVICE]
    exports = await service.exports()
    return json_response(
        [
            export_row(export, service.static_url)
            for _, export in sorted(exports.items())
        ]
    )


async def export_page(request: web.Request) -> web.Response:
    """The same for people."""
    service = request.app[SERVICE]
    rows = [
        export_row(export, service.static_url)
        for _, export in sorted((await service.exports()).items())
    ]
    lines = (
        f'<li><a href="{row["url"]}">{row["file_name"]}</a> '
        f"{row['file_size']:,} bytes</li>"
        for row in rows
    )
    return _page("DB exports", f"<ul>{''.join(lines)}</ul>")


async def old_export_page(_request: web.Request) -> web.Response:
    """Where the dated files were until June 2026."""
    raise web.HTTPFound("/db_exports")


async def posts(request: web.Request) -> web.Response:
    """A search, or with `md5` one post."""
    service = request.app[SERVICE]
    service.viewer(request)  # a wrong login is refused before anything else
    if md5 := request.query.get("md5"):
        return _one_post(request, service.index.by_md5.get(md5.lower()))
    found = service.index.find(request.query.get("tags", ""), **_order(request))
    return _post_list(request, _page_of(request, found))


async def post(request: web.Request) -> web.Response:
    """One post, deleted ones too."""
    return _one_post(
        request, request.app[SERVICE].index.by_id.get(int(request.match_info["id"]))
    )


async def random_post(request: web.Request) -> web.Response:
    """One post that a search finds: the same every time, as everything here."""
    found = request.app[SERVICE].index.find(
        request.query.get("tags", ""), order="random"
    )
    return _one_post(request, found[0] if found else None)


async def count(request: web.Request) -> web.Response:
    """How many posts a search finds."""
    found = len(request.app[SERVICE].index.find(request.query.get("tags", "")))
    return json_response({"count": min(found, MAX_COUNT), "capped": found >= MAX_COUNT})


async def tags(request: web.Request) -> web.Response:
    """Tags by name, pattern, category or id."""
    service = request.app[SERVICE]
    search = _search(request)
    names = _list(search.get("name"))
    pattern = search.get("name_matches")
    matching = (
        frozenset(service.index.match_names(pattern.lower())) if pattern else None
    )
    ids = _list(search.get("id"))
    found = [
        tag
        for tag in service.board.tags
        if (
            tag.post_count > 0
            or search.get("hide_empty", "true") in ("false", "no", "0")
        )
        and (names is None or tag.name in names)
        and (matching is None or tag.name in matching)
        and (ids is None or str(tag.id) in ids)
        and search.get("category", str(tag.category)) == str(tag.category)
    ]
    found.sort(key=TAG_ORDERS.get(search.get("order", "count"), TAG_ORDERS["count"]))  # type: ignore[arg-type]
    return json_response(list(map(service.shapes.tag, _page_of(request, found))))


TAG_ORDERS: dict[str, Callable[[Tag], object]] = {
    "count": lambda tag: (-tag.post_count, -tag.id),
    "name": lambda tag: tag.name,
    "id_asc": lambda tag: tag.id,
    "id_desc": lambda tag: -tag.id,
    "date": lambda tag: -tag.id,
}


async def tag(request: web.Request) -> web.Response:
    """One tag by id or name."""
    service, wanted = request.app[SERVICE], request.match_info["id_or_name"].lower()
    for found in service.board.tags:
        if wanted in (found.name, str(found.id)):
            return json_response(service.shapes.tag(found))
    raise web.HTTPNotFound


async def aliases(request: web.Request) -> web.Response:
    """Tag aliases of any status."""
    service = request.app[SERVICE]
    return json_response(
        list(map(service.shapes.alias, _relations(request, service.board.aliases)))
    )


async def implications(request: web.Request) -> web.Response:
    """Tag implications of any status."""
    service = request.app[SERVICE]
    return json_response(
        list(
            map(
                service.shapes.implication,
                _relations(request, service.board.implications),
            )
        )
    )


async def avoid_postings(request: web.Request) -> web.Response:
    """Artists who opted out: those of posts that carry an opt-out tag."""
    board = request.app[SERVICE].board
    artists = {tag.name: tag for tag in board.tags if tag.category == 1}
    names = {
        name
        for post in board.posts
        if not OPT_OUTS.isdisjoint(post.tags)
        for name in post.tags
    }
    listed = [artists[name] for name in sorted(names & artists.keys())]
    return json_response(
        [
            {"id": place, "artist_name": artist.name, "is_active": True}
            for place, artist in enumerate(listed, start=1)
        ]
    )


async def robots(_request: web.Request) -> web.Response:
    """What crawlers are asked to leave alone."""
    return web.Response(text=ROBOTS)


async def front_page(request: web.Request) -> web.Response:
    """Says what this is to a person who opens the address."""
    board = request.app[SERVICE].board
    name = html.escape(board.name)
    text = f"Board <b>{name}</b>, day {board.day}: {len(board.posts):,} posts."
    return _page(
        "Sandbox",
        f'<p>{text} <a href="/db_exports">Exports</a>, '
        '<a href="/posts.json">posts</a>.</p>',
    )


ROUTES = [
    web.get("/", front_page),
    web.get("/robots.txt", robots),
    web.get("/db_exports.json", export_index),
    web.get("/db_exports", export_page),
    web.get("/db_export", old_export_page),
    web.get("/posts.json", posts),
    web.get("/posts/count.json", count),
    web.get("/posts/random.json", random_post),
    web.get(r"/posts/{id:\d+}.json", post),
    web.get("/tags.json", tags),
    web.get("/tags/{id_or_name}.json", tag),
    web.get("/tag_aliases.json", aliases),
    web.get("/tag_implications.json", implications),
    web.get("/avoid_postings.json", avoid_postings),
]


def _one_post(request: web.Request, found: Post | None) -> web.Response:
    if not found:
        raise web.HTTPNotFound
    shaped = _shape(request, found)
    return json_response(shaped if _is_bare(request) else {"post": shaped})


def _post_list(request: web.Request, found: Iterable[Post]) -> web.Response:
    shaped = [_shape(request, post) for post in found]
    return json_response(shaped if _is_bare(request) else {"posts": shaped})


def _shape(request: web.Request, post: Post) -> Json:
    service = request.app[SERVICE]
    viewer = service.viewer(request)
    if request.query.get("v2") == "true":
        return service.shapes.v2(post, viewer, request.query.get("mode", "basic"))
    shaped = service.shapes.legacy(post, viewer)
    only = _list(request.query.get("only"))
    return (
        {key: value for key, value in shaped.items() if key in only} if only else shaped
    )


def _is_bare(request: web.Request) -> bool:
    return request.query.get("v2") == "true" or "only" in request.query


def _order(request: web.Request) -> dict[str, str]:
    """Cursors always list by id, high to low, whatever `order:` or `random` say."""
    if _page_text(request)[0] in "ab":
        return {"order": "id_desc"}
    return {"order": "random"} if "random" in request.query else {}


def _page_of(request: web.Request, rows: Sequence[Row]) -> Sequence[Row]:
    """The rows of one page.

    `b<ID>` gives those just below an id, `a<ID>` those just above, both high to low.
    """
    limit, page = _limit(request), _page_text(request)
    if page[0] in "ab":
        bound, by_id = int(page[1:]), sorted(rows, key=lambda row: -row.id)
        if page[0] == "b":
            return [row for row in by_id if row.id < bound][:limit]
        above = [row for row in by_id if row.id > bound]
        return above[max(0, len(above) - limit) :]
    start = (int(page) - 1) * limit
    return rows[start : start + limit]


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > MAX_LIMIT:
        raise Refused(410, f"Invalid limit: must be a number from 0 to {MAX_LIMIT}.")
    return int(text)


def _page_text(request: web.Request) -> str:
    text = request.query.get("page", "1")
    if re.fullmatch(r"[ab]?[0-9]{1,10}", text):
        if text[0] in "ab" and int(text[1:]) <= MAX_ID:
            return text
        if text[0] not in "ab" and 1 <= int(text) <= MAX_PAGE:
            return text
    raise Refused(
        410, f"You cannot go beyond page {MAX_PAGE}. Please narrow your search terms."
    )


def _search(request: web.Request) -> dict[str, str]:
    """The `search[...]` parameters by their inner names."""
    found = (re.fullmatch(r"search\[(\w+)\]", key) for key in request.query)
    return {match[1]: request.query[match[0]] for match in found if match}


def _list(text: str | None) -> frozenset[str] | None:
    """A comma list; None where it was not asked for."""
    return None if not text else frozenset(part.strip() for part in text.split(","))


def _relations(
    request: web.Request, relations: Sequence[Relation]
) -> Sequence[Relation]:
    search = _search(request)
    before, after = (
        _list(search.get("antecedent_name")),
        _list(search.get("consequent_name")),
    )
    matching = search.get("name_matches")
    status = search.get("status", "").lower()
    found = [
        relation
        for relation in relations
        if (before is None or relation.antecedent_name in before)
        and (after is None or relation.consequent_name in after)
        and (not matching or _matches(relation, matching.lower()))
        and (
            not status
            or relation.status == status
            or (status == "approved" and relation.status in EFFECTIVE)
        )
    ]
    return _page_of(request, sorted(found, key=lambda relation: -relation.id))


def _matches(relation: Relation, pattern: str) -> bool:
    return is_like(relation.antecedent_name, pattern) or is_like(
        relation.consequent_name, pattern
    )


def _page(title: str, body: str) -> web.Response:
    head = f"<!DOCTYPE html><html><head><title>{title}</title></head>"
    text = f"{head}<body><h1>{title}</h1>{body}</body></html>"
    return web.Response(text=text, content_type="text/html")
