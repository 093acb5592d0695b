"""The search API as the source of a snapshot (contract sections 2 and 3).

The posts that harvest.query finds.

Reads       /posts.json by id, from the pinned newest post down; /tag_aliases.json and
            /tag_implications.json, those in force; /tags.json for the names that these
            posts carry or lead to
Writes      .work/harvest/pages          every answer, kept until another pin is
                                         harvested
            the tables of data/snapshot  the same schemas as from the exports
Guarantees  killed at any moment, it goes on at the last cursor; the same pages give the
            same bytes.

Unlike an export, a search is of no single moment: a post that changes between the
refresh and its page is taken as it is then. What differs from a harvest of the exports:
posts that the query does not find are not there (deleted ones without status:any); a
tag that the tags table does not know is in no answer, so it is not on the post;
is_withheld says which files the site refused; tags and relations that no post leads to,
or that are not in force, are left out.
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
from pipeline.params import Site
from pipeline.paths import Paths
from pipeline.pin import Pin, Search
from pipeline.schemas.snapshot import SNAPSHOT_REJECTED
from pipeline.site.client import Client
from pipeline.site.session import open_site

# Posts asked for where one is wanted: the index may list posts that the database no
# longer has (2.2)
FEW = "10"
# Characters of names in one address, commas and escapes included; proxies refuse from
# 8,000 on
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
    """Asks what a search pins: two requests."""
    found = await _few(client, {"tags": query, "page": f"b{NEWEST}"})
    if found.unread and not found.rows:
        first = found.unread[0].rejected
        raise BadAnswer(
            f"the site finds posts for {query!r}, but no record of its answer can be "
            f"read, first {first['value']} "
            f"({first['reason']}). Check site.base_url; if it is right, the site "
            "changed and this version of e6tag "
            "cannot read it."
        )
    if not found.rows:
        raise BadAnswer(
            f"the site finds no post for {query!r}. Correct harvest.query in "
            "params.yaml."
        )
    latest = await _few(client, {"tags": "order:change status:any"})
    change = max(row["change_seq"] for row in [*latest.rows, *found.rows])
    return Search(query, max(row["post_id"] for row in found.rows), change)


async def _few(client: Client, query: dict[str, str]) -> ParsedPage:
    return api_models.parse_page(
        await ask(client, "/posts.json", {**query, "limit": FEW}), POSTS, "/posts.json"
    )


async def fetch(pinned: Pin, search: Search, site: Site, paths: Paths) -> Fetched:
    """Asks for what is not kept yet; a harvest that is complete asks for nothing."""
    kept = PageCache(
        paths.work("harvest") / "pages", pinned.site, asdict(search), site.login
    )
    kept.prepare()
    async with open_site(site, paths, "harvest") as client:
        listing = Endpoint("posts", "/posts.json", {"tags": search.query}, POSTS)
        with progress.meter("posts", unit="posts") as meter:
            posts = await page_cache.list_all(
                client, kept, listing, search.newest_id + 1, meter
            )
        with progress.meter("aliases and implications", unit="relations") as meter:
            relations = [
                await page_cache.list_all(client, kept, listing, NEWEST, meter)
                for listing in RELATIONS
            ]
        names = sorted(_reachable(_used(posts), *relations))
        tags = await _fetch_tags(client, kept, names)
    return Fetched(search.newest_id, posts, tags, *relations)


def _used(posts: list[CachedPage]) -> set[str]:
    return {
        name
        for page in posts
        for names in parquet.read(page.path, ["tags"])["tags"]
        for name in names
    }


def _reachable(
    names: set[str], aliases: list[CachedPage], implications: list[CachedPage]
) -> set[str]:
    """Returns the names and all they lead to, by aliases and implications, to any depth."""
    leads: dict[str, set[str]] = {}
    for page in [*aliases, *implications]:
        for antecedent, consequent in parquet.read(
            page.path, ["antecedent", "consequent"]
        ).iter_rows():
            leads.setdefault(antecedent, set()).add(consequent)
    reached, waiting = set(names), list(names)
    while waiting:
        news = leads.get(waiting.pop(), set()) - reached
        reached |= news
        waiting += news
    return reached


async def _fetch_tags(
    client: Client, kept: PageCache, names: list[str]
) -> list[CachedPage]:
    """Asks for tags by name, many at once.

    A name with a comma in it must be asked for alone.
    """
    found = []
    with progress.meter("tags", unit="tags", total=len(names)) as meter:
        for number, batch in enumerate(
            _batches([name for name in names if "," not in name])
        ):
            name = f"tags-{number:06d}"
            page = kept.find(name)
            if page is None:
                query = {
                    "search[name]": ",".join(batch),
                    "search[hide_empty]": "no",
                    "limit": str(LIMIT),
                }
                answer = api_models.parse_page(
                    await ask(client, "/tags.json", query), TAGS, "/tags.json"
                )
                page = kept.keep(name, answer, TAGS)
            found.append(page)
            meter.advance(len(batch))
        for number, name in enumerate(name for name in names if "," in name):
            file = f"tag-{number:06d}"
            found.append(
                kept.find(file) or kept.keep(file, await _one_tag(client, name), TAGS)
            )
            meter.advance()
    return found


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
    return (
        ParsedPage([], [], [], [], 0)
        if answer is None
        else api_models.parse_one(answer, TAGS, path)
    )


def write_snapshot(fetched: Fetched, folder: Path) -> None:
    """Turns the pages into the tables of the snapshot."""
    rejected: list[Row] = []

    def write(
        name: str,
        found: list[CachedPage],
        kind: RecordType,
        key: str,
        version: str | None = None,
    ) -> None:
        table, repeated = page_cache.newest(found, kind, key, version)
        rejected.extend([*page_cache.rejected(found), *repeated])
        if kind is POSTS:
            table = table.filter(pl.col("post_id") <= fetched.newest_id)
        parquet.write(folder / f"{name}.parquet", table, kind.schema)

    write("posts", fetched.posts, POSTS, "post_id", "change_seq")
    write("tags", fetched.tags, TAGS, "tag_id")
    write("aliases", fetched.aliases, ALIASES, "relation_id")
    write("implications", fetched.implications, IMPLICATIONS, "relation_id")
    csv_reader.write_unknown_tags(folder)
    parquet.write(folder / "rejected.parquet", rejected, SNAPSHOT_REJECTED)
