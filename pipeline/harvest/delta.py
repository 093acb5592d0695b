"""A delta: what changed on the site since the pinned export of posts.

It costs tens of requests instead of the whole export.

Reads       /posts.json as a feed of changes (contract section 2.6); /posts/count.json,
            which finds expunged posts
Writes      .work/refresh/changes/<sha256>.parquet  over all deltas of the export: see
                                                    pipeline.harvest.changes
            .work/refresh/pages                     responses, kept until the delta is
                                                    done
            .work/harvest/base/<checksum>.parquet   post_id and change_seq of an export,
                                                    so that it is read once
Guarantees  a harvest with a delta writes what a full harvest of that moment would, with
            four exceptions: `score` and `fav_count` are as of a post's last change,
            because votes are no change; `is_withheld` is known of changed posts, while
            an export does not have it; a tag that the tags table does not know is not
            on a changed post; `created_at` of a new post is to the millisecond, in
            exports to the microsecond. A post whose latest record cannot be read is
            left out, as by a full harvest, whatever was known of it before: the record
            may hold that it was deleted or retagged.

Assumed, and not documented by the site: posts whose addresses are hidden from anonymous
visitors are listed and counted for them, and counts are as fresh as searches.
"""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa

from pipeline import locks, parquet, pin, progress
from pipeline.errors import BadAnswer, BadExport, BadInput
from pipeline.harvest import (
    api_models,
    changes,
    csv_reader,
    exports,
    page_cache,
    reconcile,
)
from pipeline.harvest.api_models import POSTS, ParsedPage, UnreadableRecord
from pipeline.harvest.changes import Changes
from pipeline.harvest.page_cache import LIMIT, CachedPage, PageCache
from pipeline.harvest.queries import FULL_REFRESH, ask
from pipeline.paths import Paths
from pipeline.pin import Delta, Pin
from pipeline.progress import Meter
from pipeline.schemas.snapshot import POSTS as POSTS_SCHEMA
from pipeline.site.client import Client

# Change numbers that are requested again: background jobs fill the search index, which
# lags behind the counter by seconds to minutes. At some 50,000 changes a day 1,000 are
# half an hour, for three or four requests.
OVERLAP = 1_000

_VERSIONS = pa.schema([POSTS_SCHEMA.field("post_id"), POSTS_SCHEMA.field("change_seq")])


async def fetch(
    client: Client, pinned: Pin, paths: Paths, *, login: str | None
) -> Delta | None:
    """Fetches what changed since the pin and writes it to the file of changes.

    Returns None if nothing changed since the export.
    """
    base = await _base_versions(client, pinned, paths)
    before = _earlier(pinned, paths)
    base_change = int(base["change_seq"].max() or 0)  # type: ignore[arg-type]
    start = max(base_change, before.change)
    folder = paths.work("refresh") / "pages"
    pages = PageCache(folder, pinned.site, pin.to_dict(pinned), login)
    pages.prepare()
    with progress.meter("changes", unit="posts") as meter:
        feed = await _follow(client, pages, max(0, start - OVERLAP), meter)
    after = _joined(before, feed, base)
    after = await _reconciled(client, after, base)
    delta = changes.write(after, base_change, pinned, paths)
    changes.log_unread(after)
    shutil.rmtree(pages.folder)
    return delta


def base_export(pinned: Pin, paths: Paths) -> Path:
    """Returns the export of posts that a delta builds on.

    Raises BadInput if it is not here.
    """
    checksum = pinned.exports["posts"].checksum
    export = paths.work("harvest") / "exports" / f"{checksum}.csv.gz"
    if not export.exists():
        raise BadInput(
            f"{export} is not here: a delta builds on the export of posts that "
            f"{paths.pin.name} pins. Run e6tag refresh for a full one, then dvc repro."
        )
    return export


def save_base_ids(checksum: str, posts: Path, paths: Paths) -> None:
    """Saves the ids and versions of an export's posts for a later delta.

    Removes those of other exports.
    """
    note = _base_file(paths, checksum)
    if not note.exists():
        parquet.write(note, parquet.read(posts, _VERSIONS.names), _VERSIONS)
    for path in sorted(note.parent.glob("*.parquet")):
        if path != note:
            path.unlink()


async def _base_versions(client: Client, pinned: Pin, paths: Paths) -> pl.DataFrame:
    """Returns post_id and change_seq of the export that the delta builds on."""
    checksum = pinned.exports["posts"].checksum
    note = _base_file(paths, checksum)
    posts = note.with_suffix(".posts")
    posts.unlink(missing_ok=True)  # of a run that was killed
    if not note.exists():
        await _read_export(client, pinned, posts, paths)
        save_base_ids(checksum, posts, paths)
        posts.unlink()
    return parquet.read(note)


async def _read_export(client: Client, pinned: Pin, posts: Path, paths: Paths) -> None:
    """Writes the posts of the export; fetches it again if it is damaged."""
    export = base_export(pinned, paths)
    try:
        csv_reader.write_posts(export, posts)
    except BadExport:
        with locks.stage_lock(paths, "harvest"):  # the owner of the file
            if not exports.drop_damaged({"posts": export}, pinned):
                raise
            await exports.fetch_one(client, "posts", pinned.exports["posts"], export)
        csv_reader.write_posts(export, posts)


def _earlier(pinned: Pin, paths: Paths) -> Changes:
    """Returns the changes of the pinned delta.

    They are empty if it is not here, so that everything is fetched again.
    """
    if pinned.delta is not None:
        try:
            return changes.read(changes.pinned_file(pinned, paths))
        except BadInput:
            progress.log(
                "the changes of the pinned delta are not here as they were: all since "
                "the export are fetched again"
            )
    return Changes(parquet.frame([], POSTS_SCHEMA), [], {})


async def _follow(
    client: Client, pages: PageCache, start: int, meter: Meter
) -> list[CachedPage]:
    """Follows the feed of changes from `start` until a page brings nothing new."""
    found: list[CachedPage] = []
    change = start
    while True:
        name = f"changes-{change:015d}"
        page = pages.find(name)
        if page is None:
            answer = await _changes_after(client, change)
            if not answer.records:
                return found
            page = pages.keep(name, answer, POSTS)
        found.append(page)
        change = page.change
        meter.advance(page.records, note=f"change {change}")


async def _changes_after(client: Client, change: int) -> ParsedPage:
    """Requests one page of the feed.

    Raises BadAnswer for a page that cannot be used, before it is cached: the next run
    requests it again.
    """
    query = {
        "tags": f"change:>{change} order:change_asc status:any",
        "limit": str(LIMIT),
    }
    answer = await ask(client, "/posts.json", query, remedy=FULL_REFRESH)
    page = api_models.parse_page(answer, POSTS, "/posts.json")
    if not page.records:
        return page
    if not page.changes or max(page.changes) <= change:
        raise BadAnswer(
            f"/posts.json with change:>{change} gave no later change: it would "
            "repeat for ever. Nothing was pinned. Run e6tag refresh --delta again, or "
            "e6tag refresh for a full one."
        )
    _require_ids(page.unread, f"change:>{change}")
    return page


def _require_ids(unread: Iterable[UnreadableRecord], query: str) -> None:
    """Raises BadAnswer for a record of which not even the id can be read.

    Any of the known posts may be outdated then.
    """
    for one in unread:
        if one.key is None:
            raise BadAnswer(
                f"/posts.json with {query} gave a record without an id that can be "
                f"read (number {one.rejected['row']:,}: {one.rejected['reason']}): "
                "nobody can know which post changed. Nothing was pinned. "
                f"{FULL_REFRESH}"
            )


def _joined(before: Changes, feed: list[CachedPage], base: pl.DataFrame) -> Changes:
    """Joins the earlier changes with the feed.

    The highest change_seq wins; posts that are as in the export are left out.
    """
    # A feed lists a post twice that changed meanwhile.
    listed = page_cache.read_all(feed, POSTS)
    unread = _unread(before, feed, listed, base)
    # Of one version the row that was here first stays: votes came since, and a pin must
    # not change for them.
    rows = pl.concat([before.posts, listed.drop(page_cache.AT)])
    version = ["post_id", "change_seq"]
    versions = rows.unique(subset=version, keep="first", maintain_order=True)
    posts = versions.sort(version).unique(
        subset="post_id", keep="last", maintain_order=True
    )
    posts = posts.join(base, on=version, how="anti", maintain_order="left")
    posts = posts.filter(~pl.col("post_id").is_in(list(unread)))
    back = {*listed["post_id"], *unread}
    gone = [post_id for post_id in before.gone if post_id not in back]
    return Changes(posts, gone, unread)


def _unread(
    before: Changes, feed: list[CachedPage], listed: pl.DataFrame, base: pl.DataFrame
) -> dict[int, UnreadableRecord]:
    """Returns the unreadable records that no later record replaces.

    They are of this feed or of an earlier delta.
    """
    unread = [(-1, one) for one in before.unread.values()]
    unread += page_cache.unread_of(feed)
    ids = [one.key for _, one in unread]
    tables = []
    for place, table in ((-2, base), (-1, before.posts)):
        known = table.filter(pl.col("post_id").is_in(ids)).select(_VERSIONS.names)
        at = pl.lit(place, pl.Int64).alias(page_cache.AT)
        tables.append(known.with_columns(at))
    tables.append(listed.select(*_VERSIONS.names, page_cache.AT))
    latest = page_cache.latest_unreadable(unread, pl.concat(tables))
    return _in_order(latest)


def _in_order(unread: dict[int, UnreadableRecord]) -> dict[int, UnreadableRecord]:
    """Returns the records by id, ascending, without their places in the responses.

    The same records then give the same file.
    """
    ordered = {}
    for key, one in sorted(unread.items()):
        ordered[key] = replace(one, rejected={**one.rejected, "row": 0})
    return ordered


async def _reconciled(client: Client, after: Changes, base: pl.DataFrame) -> Changes:
    """Finds by counting which posts are gone, and adds posts that the feed missed."""
    difference = await reconcile.compare(client, _held_ids(after, base))
    _require_ids(difference.unread, "ids that are missing from the feed")
    missed = {one.key: one for one in difference.unread if one.key is not None}
    back = {row["post_id"] for row in difference.found} | missed.keys()
    gone = {*after.gone, *difference.gone} - back
    is_gone = pl.col("post_id").is_in(sorted(gone))
    unread = dict(after.unread)
    for key in gone & unread.keys():
        del unread[key]
    unread.update(missed)
    found = parquet.frame(difference.found, POSTS_SCHEMA)
    posts = pl.concat([after.posts.filter(~is_gone), found]).sort("post_id")
    gone_from_base = base.filter(is_gone)["post_id"]
    return Changes(posts, gone_from_base.to_list(), _in_order(unread))


def _held_ids(after: Changes, base: pl.DataFrame) -> pl.Series:
    """Returns the ids of all posts that the site should have, ascending."""
    unread = pl.Series(list(after.unread), dtype=pl.Int64)
    ids = pl.concat([base["post_id"], after.posts["post_id"], unread])
    ids = ids.unique().sort()
    return ids.filter(~ids.is_in(after.gone))


def _base_file(paths: Paths, checksum: str) -> Path:
    return paths.work("harvest") / "base" / f"{checksum}.parquet"
