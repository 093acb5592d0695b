"""The search API as the source of a snapshot (contract sections 2 and 3).

It takes the posts that harvest.query finds.

Reads       /posts.json by id, from the pinned newest post down; /tag_aliases.json and
            /tag_implications.json, those in force; /tags.json for the names on these
            posts and the names that those alias or imply
Writes      .work/harvest/pages          every response, kept until another pin is
                                         harvested
            the tables of data/snapshot  the same schemas as from the exports
Guarantees  killed at any moment, it resumes at the last cursor; the same pages give the
            same bytes.

Unlike an export, a search is of no single moment: a post that changes between the
refresh and the request for its page is taken as it is then. There are four differences
from a harvest of the exports: posts that the query does not find are missing (deleted
ones without status:any); a tag that the tags table does not know is in no response, so
it is not on the post; is_withheld holds which files the site refused; tags and
relations that no post leads to, or that are not in force, are left out.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import polars as pl

from pipeline import parquet, progress
from pipeline.errors import BadAnswer
from pipeline.harvest import api_models, csv_reader, page_cache
from pipeline.harvest.api_models import (
    ALIASES,
    IMPLICATIONS,
    POSTS,
    TAGS,
    ParsedPage,
    RecordType,
    Row,
)
from pipeline.harvest.page_cache import LIMIT, NEWEST, CachedPage, Endpoint, PageCache
from pipeline.harvest.queries import ask, look_up
from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.pin import Pin, Search
from pipeline.schemas.snapshot import SNAPSHOT_REJECTED
from pipeline.site.client import Client
from pipeline.site.session import open_site

# Posts requested where one is needed: the index may list posts that the database no
# longer has (contract section 2.2).
FEW = "10"
# Characters of names in one address, with commas and escapes. Proxies refuse addresses
# from 8,000 on.
NAMES_LENGTH = 4_000

_IN_FORCE = {"search[status]": "approved"}  # active, processing and queued
RELATIONS = (
    Endpoint("aliases", "/tag_aliases.json", _IN_FORCE, ALIASES),
    Endpoint("implications", "/tag_implications.json", _IN_FORCE, IMPLICATIONS),
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """All pages of a search."""

    newest_id: int
    posts: list[CachedPage]
    tags: list[CachedPage]
    aliases: list[CachedPage]
    implications: list[CachedPage]


async def newest(client: Client, query: str) -> Search:
    """Requests what a search pins: two requests."""
    found = await _few(client, {"tags": query, "page": f"b{NEWEST}"})
    if found.unread and not found.rows:
        first = found.unread[0].rejected
        raise BadAnswer(
            f"the site finds posts for {query!r}, but no record of its answer can be "
            f"read, first {first['value']} ({first['reason']}). Check site.base_url; "
            "if it is right, the site changed and this version of e6tag cannot read it."
        )
    if not found.rows:
        raise BadAnswer(
            f"the site finds no post for {query!r}. Correct harvest.query in "
            "params.yaml."
        )
    latest = await _few(client, {"tags": "order:change status:any"})
    newest_id = max(row["post_id"] for row in found.rows)
    change = max(row["change_seq"] for row in [*latest.rows, *found.rows])
    return Search(query, newest_id, change)


async def _few(client: Client, query: dict[str, str]) -> ParsedPage:
    answer = await ask(client, "/posts.json", {**query, "limit": FEW})
    return api_models.parse_page(answer, POSTS, "/posts.json")


async def fetch(pinned: Pin, search: Search, site: Site, paths: Paths) -> Fetched:
    """Requests the pages that are not cached; none if the harvest is complete."""
    folder = paths.work("harvest") / "pages"
    pages = PageCache(folder, pinned.site, asdict(search), site.login)
    pages.prepare()
    async with open_site(site, paths, "harvest") as client:
        posts = await _list_posts(client, pages, search)
        aliases, implications = await _list_relations(client, pages)
        names = _names_on(posts)
        names = _with_related(names, [*aliases, *implications])
        tags = await _fetch_tags(client, pages, sorted(names))
    return Fetched(search.newest_id, posts, tags, aliases, implications)


async def _list_posts(
    client: Client, pages: PageCache, search: Search
) -> list[CachedPage]:
    listing = Endpoint("posts", "/posts.json", {"tags": search.query}, POSTS)
    start = search.newest_id + 1
    with progress.meter("posts", unit="posts") as meter:
        return await page_cache.list_all(client, pages, listing, start, meter)


async def _list_relations(client: Client, pages: PageCache) -> list[list[CachedPage]]:
    """Returns the pages of aliases, then those of implications."""
    found = []
    with progress.meter("aliases and implications", unit="relations") as meter:
        for listing in RELATIONS:
            listed = await page_cache.list_all(client, pages, listing, NEWEST, meter)
            found.append(listed)
    return found


def _names_on(posts: list[CachedPage]) -> set[str]:
    """Returns the names of all tags on the posts."""
    names: set[str] = set()
    for page in posts:
        for tags in parquet.read(page.path, ["tags"])["tags"]:
            names.update(tags)
    return names


def _with_related(names: set[str], relations: list[CachedPage]) -> set[str]:
    """Returns the names and all that they alias or imply, to any depth."""
    consequents: dict[str, set[str]] = {}
    for page in relations:
        table = parquet.read(page.path, ["antecedent", "consequent"])
        for antecedent, consequent in table.iter_rows():
            consequents.setdefault(antecedent, set()).add(consequent)
    reached = set(names)
    pending = list(names)
    while pending:
        related = consequents.get(pending.pop(), set())
        new = related - reached
        reached |= new
        pending += new
    return reached


async def _fetch_tags(
    client: Client, pages: PageCache, names: list[str]
) -> list[CachedPage]:
    """Requests tags by name, many at once; a name with a comma by itself."""
    together = [name for name in names if "," not in name]
    alone = [name for name in names if "," in name]
    found = []
    with progress.meter("tags", unit="tags", total=len(names)) as meter:
        for number, batch in enumerate(_batches(together)):
            file = f"tags-{number:06d}"
            page = pages.find(file)
            if page is None:
                page = pages.keep(file, await _tags_named(client, batch), TAGS)
            found.append(page)
            meter.advance(len(batch))
        for number, name in enumerate(alone):
            file = f"tag-{number:06d}"
            page = pages.find(file)
            if page is None:
                page = pages.keep(file, await _one_tag(client, name), TAGS)
            found.append(page)
            meter.advance()
    return found


async def _tags_named(client: Client, names: list[str]) -> ParsedPage:
    query = {
        "search[name]": ",".join(names),
        "search[hide_empty]": "no",
        "limit": str(LIMIT),
    }
    answer = await ask(client, "/tags.json", query)
    return api_models.parse_page(answer, TAGS, "/tags.json")


def _batches(names: list[str]) -> Iterator[list[str]]:
    """Cuts names into batches that fit one page and one address."""
    batch: list[str] = []
    length = 0
    for name in names:
        size = len(quote(f"{name},"))
        if batch and (len(batch) == LIMIT or length + size > NAMES_LENGTH):
            yield batch
            batch, length = [], 0
        batch.append(name)
        length += size
    if batch:
        yield batch


async def _one_tag(client: Client, name: str) -> ParsedPage:
    path = f"/tags/{quote(name, safe='')}.json"
    answer = await look_up(client, path)
    if answer is None:
        return ParsedPage([], [], [], [], 0)
    return api_models.parse_one(answer, TAGS, path)


def write_snapshot(fetched: Fetched, folder: Path) -> None:
    """Writes the tables of the snapshot from the pages."""
    rejected: list[Row] = []

    def write(
        name: str,
        found: list[CachedPage],
        kind: RecordType,
        key: str,
        version: str | None = None,
    ) -> None:
        table, repeated = page_cache.newest(found, kind, key, version)
        rejected.extend(page_cache.rejected(found))
        rejected.extend(repeated)
        if kind is POSTS:
            table = table.filter(pl.col("post_id") <= fetched.newest_id)
        parquet.write(folder / f"{name}.parquet", table, kind.schema)

    write("posts", fetched.posts, POSTS, "post_id", "change_seq")
    write("tags", fetched.tags, TAGS, "tag_id")
    write("aliases", fetched.aliases, ALIASES, "relation_id")
    write("implications", fetched.implications, IMPLICATIONS, "relation_id")
    csv_reader.write_unknown_tags(folder)
    parquet.write(folder / "rejected.parquet", rejected, SNAPSHOT_REJECTED)
