"""Routes of the site host.

The API and the index of the exports (contract sections 1.2, 2 and 3).
"""

import html
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TypeVar

from aiohttp import web

from sandbox.records import CATEGORIES, Post, Relation, Tag
from sandbox.server.search import EFFECTIVE, Index, is_like
from sandbox.server.serializers import Json, export_rows
from sandbox.server.service import SERVICE, Refused, json_response

MAX_LIMIT = 320
DEFAULT_LIMIT = 75
MAX_PAGE = 750
MAX_ID = 2_147_483_647
MAX_COUNT = 240_001

Row = TypeVar("Row", Post, Tag, Relation)

ARTIST = CATEGORIES.index("artist")
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
    return json_response(await _export_rows(request))


async def export_page(request: web.Request) -> web.Response:
    """The same for people."""
    rows = await _export_rows(request)
    lines = "".join(map(_export_line, rows))
    return _page("DB exports", f"<ul>{lines}</ul>")


async def old_export_page(_request: web.Request) -> web.Response:
    """Where the dated files were until June 2026."""
    raise web.HTTPFound("/db_exports")


async def posts(request: web.Request) -> web.Response:
    """A search, or with `md5` one post."""
    service = request.app[SERVICE]
    md5 = request.query.get("md5")
    if md5:
        return _one_post(request, service.index.by_md5.get(md5.lower()))
    text = request.query.get("tags", "")
    found = service.index.find(text, order=_order(request))
    return _post_list(request, _page_of(request, found))


async def post(request: web.Request) -> web.Response:
    """One post, deleted ones too."""
    number = int(request.match_info["id"])
    return _one_post(request, request.app[SERVICE].index.by_id.get(number))


async def random_post(request: web.Request) -> web.Response:
    """One post that a search finds: the same every time, as everything here."""
    text = request.query.get("tags", "")
    found = request.app[SERVICE].index.find(text, order="random")
    return _one_post(request, next(iter(found), None))


async def count(request: web.Request) -> web.Response:
    """How many posts a search finds."""
    text = request.query.get("tags", "")
    found = len(request.app[SERVICE].index.find(text))
    return json_response({"count": min(found, MAX_COUNT), "capped": found >= MAX_COUNT})


async def tags(request: web.Request) -> web.Response:
    """Tags by name, pattern, category or id."""
    service = request.app[SERVICE]
    search = _search(request)
    is_asked_for = _tag_test(search, service.index)
    found = list(filter(is_asked_for, service.board.tags))
    order = TAG_ORDERS.get(search.get("order", "count"), TAG_ORDERS["count"])
    found.sort(key=order)  # type: ignore[arg-type]  # keys of one order are comparable
    shaped = list(map(service.shapes.tag, _page_of(request, found)))
    return json_response(shaped)


TAG_ORDERS: dict[str, Callable[[Tag], object]] = {
    "count": lambda tag: (-tag.post_count, -tag.id),
    "name": lambda tag: tag.name,
    "id_asc": lambda tag: tag.id,
    "id_desc": lambda tag: -tag.id,
    "date": lambda tag: -tag.id,
}


async def tag(request: web.Request) -> web.Response:
    """One tag by id or name."""
    service = request.app[SERVICE]
    wanted = request.match_info["id_or_name"].lower()
    for found in service.board.tags:
        if wanted in (found.name, str(found.id)):
            return json_response(service.shapes.tag(found))
    raise web.HTTPNotFound


async def aliases(request: web.Request) -> web.Response:
    """Tag aliases of any status."""
    service = request.app[SERVICE]
    found = _relations(request, service.board.aliases)
    return json_response(list(map(service.shapes.alias, found)))


async def implications(request: web.Request) -> web.Response:
    """Tag implications of any status."""
    service = request.app[SERVICE]
    found = _relations(request, service.board.implications)
    return json_response(list(map(service.shapes.implication, found)))


async def avoid_postings(request: web.Request) -> web.Response:
    """Artists who opted out: those of posts that carry an opt-out tag."""
    board = request.app[SERVICE].board
    artists = {tag.name for tag in board.tags if tag.category == ARTIST}
    names: set[str] = set()
    for post in board.posts:
        if not OPT_OUTS.isdisjoint(post.tags):
            names.update(post.tags)
    listed = enumerate(sorted(names & artists), start=1)
    rows = [
        {"id": place, "artist_name": name, "is_active": True} for place, name in listed
    ]
    return json_response(rows)


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


async def _export_rows(request: web.Request) -> list[Json]:
    service = request.app[SERVICE]
    exports = await service.exports()
    return export_rows(exports, service.static_url)


def _export_line(row: Json) -> str:
    link = f'<a href="{row["url"]}">{row["file_name"]}</a>'
    return f"<li>{link} {row['file_size']:,} bytes</li>"


def _one_post(request: web.Request, found: Post | None) -> web.Response:
    if not found:
        raise web.HTTPNotFound
    return _wrapped(request, "post", _shape(request, found))


def _post_list(request: web.Request, found: Iterable[Post]) -> web.Response:
    shaped = [_shape(request, post) for post in found]
    return _wrapped(request, "posts", shaped)


def _wrapped(request: web.Request, key: str, shaped: Json | list[Json]) -> web.Response:
    """Under a key, but bare in the shapes of v2 and where `only` is given."""
    if request.query.get("v2") == "true" or "only" in request.query:
        return json_response(shaped)
    return json_response({key: shaped})


def _shape(request: web.Request, post: Post) -> Json:
    service = request.app[SERVICE]
    viewer = service.viewer(request)
    if request.query.get("v2") == "true":
        return service.shapes.v2(post, viewer, request.query.get("mode", "basic"))
    shaped = service.shapes.legacy(post, viewer)
    only = _list(request.query.get("only"))
    if not only:
        return shaped
    return {key: value for key, value in shaped.items() if key in only}


def _order(request: web.Request) -> str | None:
    """Cursors always list by id, high to low, whatever `order:` or `random` say.

    None leaves the order to the query.
    """
    if _page_text(request)[0] in "ab":
        return "id_desc"
    if "random" in request.query:
        return "random"
    return None


def _page_of(request: web.Request, rows: Sequence[Row]) -> Sequence[Row]:
    """The rows of one page."""
    limit = _limit(request)
    page = _page_text(request)
    if page[0] in "ab":
        return _page_beside_id(page, rows, limit)
    start = (int(page) - 1) * limit
    return rows[start : start + limit]


def _page_beside_id(page: str, rows: Iterable[Row], limit: int) -> Sequence[Row]:
    """`b<ID>`: those just below an id; `a<ID>`: those just above; both high to low."""
    bound = int(page[1:])
    by_id = _newest_first(rows)
    if page[0] == "b":
        return [row for row in by_id if row.id < bound][:limit]
    above = [row for row in by_id if row.id > bound]
    return above[max(0, len(above) - limit) :]


def _newest_first(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -row.id)


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
    search = {}
    for key in request.query:
        match = re.fullmatch(r"search\[(\w+)\]", key)
        if match:
            search[match[1]] = request.query[key]
    return search


def _list(text: str | None) -> frozenset[str] | None:
    """A comma list; None where it was not asked for."""
    if not text:
        return None
    return frozenset(part.strip() for part in text.split(","))


def _is_in(value: str, wanted: Container[str] | None) -> bool:
    """Whether the value is among the wanted ones; None wants all."""
    return wanted is None or value in wanted


def _tag_test(search: Mapping[str, str], index: Index) -> Callable[[Tag], bool]:
    """The test of a tag that the `search[...]` parameters stand for."""
    shows_empty = search.get("hide_empty", "true") in ("false", "no", "0")
    names = _list(search.get("name"))
    ids = _list(search.get("id"))
    category = search.get("category")
    matching: frozenset[str] | None = None
    pattern = search.get("name_matches")
    if pattern:
        matching = frozenset(index.match_names(pattern.lower()))

    def is_asked_for(tag: Tag) -> bool:
        return (
            (shows_empty or tag.post_count > 0)
            and _is_in(tag.name, names)
            and _is_in(tag.name, matching)
            and _is_in(str(tag.id), ids)
            and category in (None, str(tag.category))
        )

    return is_asked_for


def _relations(
    request: web.Request, relations: Sequence[Relation]
) -> Sequence[Relation]:
    is_asked_for = _relation_test(_search(request))
    found = filter(is_asked_for, relations)
    return _page_of(request, _newest_first(found))


def _relation_test(search: Mapping[str, str]) -> Callable[[Relation], bool]:
    """The test of a relation that the `search[...]` parameters stand for."""
    befores = _list(search.get("antecedent_name"))
    afters = _list(search.get("consequent_name"))
    pattern = search.get("name_matches", "").lower()
    statuses = _statuses(search.get("status", "").lower())

    def is_asked_for(relation: Relation) -> bool:
        return (
            _is_in(relation.antecedent_name, befores)
            and _is_in(relation.consequent_name, afters)
            and (not pattern or _matches(relation, pattern))
            and _is_in(relation.status, statuses)
        )

    return is_asked_for


def _statuses(status: str) -> frozenset[str] | None:
    """Those that a `search[status]` stands for: `approved` for all that take effect."""
    if not status:
        return None
    if status == "approved":
        return EFFECTIVE | {status}
    return frozenset({status})


def _matches(relation: Relation, pattern: str) -> bool:
    return is_like(relation.antecedent_name, pattern) or is_like(
        relation.consequent_name, pattern
    )


def _page(title: str, body: str) -> web.Response:
    head = f"<!DOCTYPE html><html><head><title>{title}</title></head>"
    text = f"{head}<body><h1>{title}</h1>{body}</body></html>"
    return web.Response(text=text, content_type="text/html")
