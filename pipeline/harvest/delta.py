"""A delta: what changed on the site since the pinned export of posts, for tens of requests instead of the whole export.

Reads       /posts.json as a feed of changes (contract section 2.6); /posts/count.json,
            which finds expunged posts
Writes      .work/refresh/changes/<sha256>.parquet  schemas.POSTS: the posts that
                                                    changed or came since the export,
                                                    over all deltas of it; in its
                                                    metadata those that are gone, and
                                                    those of which the latest record
                                                    cannot be read
            .work/refresh/pages                     answers, kept until the delta is
                                                    done
            .work/harvest/base/<checksum>.parquet   post_id and change_seq of an export,
                                                    so that it is read once
Guarantees  a harvest with a delta writes what a full harvest of that moment would, but
            for four things: `score` and `fav_count` are as of a post's last change, for
            votes are no change; `is_withheld` tells of changed posts what an export
            cannot; a tag that the tags table does not know is not on a changed post;
            `created_at` of a new post is to the millisecond, in exports to the
            microsecond. A post whose latest record cannot be read is left out, as by a
            full harvest, whatever was known of it before: that it was deleted or
            retagged may be what the record says.

Assumed, and not documented by the site: posts whose addresses are hidden from anonymous visitors are listed and
counted for them, and counts are as fresh as searches.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import files, locks, parquet, pin, progress
from pipeline.errors import BadAnswer, BadExport, BadInput, CorruptFile
from pipeline.harvest import (
    api_models,
    csv_reader,
    exports,
    page_cache,
    reconcile,
    snapshot_table,
)
from pipeline.harvest.api_models import POSTS, UnreadableRecord
from pipeline.harvest.page_cache import LIMIT, CachedPage, PageCache
from pipeline.harvest.queries import FULL_REFRESH, ask
from pipeline.paths import Paths
from pipeline.pin import Delta, Pin
from pipeline.progress import Meter
from pipeline.schemas.snapshot import POSTS as POSTS_SCHEMA
from pipeline.schemas.snapshot import SNAPSHOT_REJECTED
from pipeline.site.client import Client

# Change numbers that are asked for again: the search index is filled by background jobs
# and lags behind the counter by seconds to minutes. At some 50,000 changes a day 1,000
# are half an hour, for three or four requests.
OVERLAP = 1_000

_VERSIONS = pa.schema([POSTS_SCHEMA.field("post_id"), POSTS_SCHEMA.field("change_seq")])


@dataclass(frozen=True, slots=True)
class Changes:
    """What a file of changes holds."""

    posts: pl.DataFrame  # schemas.POSTS, ordered by post_id
    gone: list[int]  # ids of the export that the site no longer has, ascending
    unread: dict[
        int, UnreadableRecord
    ]  # by id, ascending: what the site has, and whose latest record cannot be read

    @property
    def change(self) -> int:
        """Returns the largest change_seq that a next delta can go on from, 0 where there is none."""
        # Not of what cannot be read: where a record is spoilt its number may be, and no
        # later change would be heard of.
        return int(self.posts["change_seq"].max() or 0)  # type: ignore[arg-type]


# --- e6tag refresh --delta


async def fetch(
    client: Client, pinned: Pin, paths: Paths, *, login: str | None
) -> Delta | None:
    """Asks what changed since the pin and writes it down.

    None where nothing did since the export.
    """
    base = await _base_versions(client, pinned, paths)
    before = _earlier(pinned, paths)
    base_change = int(base["change_seq"].max() or 0)  # type: ignore[arg-type]
    start = max(base_change, before.change)
    kept = PageCache(
        paths.work("refresh") / "pages", pinned.site, pin.to_dict(pinned), login
    )
    kept.prepare()
    with progress.meter("changes", unit="posts") as meter:
        feed = await _follow(client, kept, max(0, start - OVERLAP), meter)
    after = _joined(before, feed, base)
    after = await _count(client, after, base)
    delta = _write(after, base_change, pinned, paths)
    _say_unread(after)
    shutil.rmtree(kept.folder)
    return delta


def base_export(pinned: Pin, paths: Paths) -> Path:
    """Returns the export of posts that a delta builds on.

    Raises BadInput where it is not here.
    """
    export = (
        paths.work("harvest") / "exports" / f"{pinned.exports['posts'].checksum}.csv.gz"
    )
    if not export.exists():
        raise BadInput(
            f"{export} is not here: a delta builds on the export of posts that "
            f"{paths.pin.name} pins. "
            "Run e6tag refresh for a full one, then dvc repro."
        )
    return export


async def _base_versions(client: Client, pinned: Pin, paths: Paths) -> pl.DataFrame:
    """Returns post_id and change_seq of the export that the delta builds on."""
    checksum = pinned.exports["posts"].checksum
    note = _base_file(paths, checksum)
    whole = note.with_suffix(".posts")
    whole.unlink(missing_ok=True)  # of a run that was killed
    if not note.exists():
        export = base_export(pinned, paths)
        try:
            csv_reader.write_posts(export, whole)
        except BadExport:
            with locks.stage_lock(paths, "harvest"):  # whose file it is
                if not exports.drop_damaged({"posts": export}, pinned):
                    raise
                await exports.fetch_one(
                    client, "posts", pinned.exports["posts"], export
                )
            csv_reader.write_posts(export, whole)
        save_base_ids(checksum, whole, paths)
        whole.unlink()
    return parquet.read(note)


def _earlier(pinned: Pin, paths: Paths) -> Changes:
    """Returns what the pinned delta holds.

    Nothing where there is none, so that everything is asked for again.
    """
    if pinned.delta is not None:
        try:
            return _read(pinned_file(pinned, paths))
        except BadInput:
            progress.log(
                "the changes of the pinned delta are not here as they were: all since "
                "the export are asked for"
            )
    return Changes(parquet.frame([], POSTS_SCHEMA), [], {})


async def _follow(
    client: Client, kept: PageCache, start: int, meter: Meter
) -> list[CachedPage]:
    """Follows the feed of changes from `start` until a page brings nothing new."""
    found: list[CachedPage] = []
    change = start
    while True:
        name = f"changes-{change:015d}"
        page = kept.find(name)
        if page is None:
            query = {
                "tags": f"change:>{change} order:change_asc status:any",
                "limit": str(LIMIT),
            }
            answer = api_models.parse_page(
                await ask(client, "/posts.json", query, remedy=FULL_REFRESH),
                POSTS,
                "/posts.json",
            )
            if not answer.records:
                return found
            if not answer.changes or max(answer.changes) <= change:
                raise BadAnswer(
                    f"/posts.json with change:>{change} gave no later change: it would "
                    "repeat for ever. "
                    "Nothing was pinned. Run e6tag refresh --delta again, or e6tag "
                    "refresh for a full one."
                )
            _refuse_nameless(
                answer.unread, f"change:>{change}"
            )  # before it is kept: the next run asks again
            page = kept.keep(name, answer, POSTS)
        found.append(page)
        change = page.change
        meter.advance(page.records, note=f"change {change}")


def _refuse_nameless(unread: Iterable[UnreadableRecord], asked: str) -> None:
    """Raises BadAnswer for a record that does not even tell which post it is of.

    Any of those here may be outdated.
    """
    for one in unread:
        if one.key is None:
            raise BadAnswer(
                f"/posts.json with {asked} gave a record without an id that can be "
                "read (number "
                f"{one.rejected['row']:,}: {one.rejected['reason']}): nobody can know "
                "which post changed. Nothing was "
                f"pinned. {FULL_REFRESH}"
            )


def _joined(before: Changes, feed: list[CachedPage], base: pl.DataFrame) -> Changes:
    """Joins the earlier changes with the feed.

    The highest change_seq wins, what is as in the export is left out.
    """
    told = page_cache.read_all(
        feed, POSTS
    )  # a feed gives a post twice that changed meanwhile
    unread = _unread(before, page_cache.unread_of(feed), told, base)
    # Of one version the row that was first here stays: votes came since, and a pin must
    # not change for them.
    versions = pl.concat([before.posts, told.drop(page_cache.AT)]).unique(
        subset=["post_id", "change_seq"], keep="first", maintain_order=True
    )
    posts = versions.sort("post_id", "change_seq").unique(
        subset="post_id", keep="last", maintain_order=True
    )
    posts = posts.join(
        base, on=["post_id", "change_seq"], how="anti", maintain_order="left"
    )
    posts = posts.filter(~pl.col("post_id").is_in(list(unread)))
    back = {*told["post_id"], *unread}
    return Changes(
        posts, [post_id for post_id in before.gone if post_id not in back], unread
    )


def _unread(
    before: Changes,
    feed: list[tuple[int, UnreadableRecord]],
    told: pl.DataFrame,
    base: pl.DataFrame,
) -> dict[int, UnreadableRecord]:
    """Returns the records that could not be read, here or by an earlier delta.

    And that nothing later makes up for.
    """
    unread = [*((-1, one) for one in before.unread.values()), *feed]
    ids = [one.key for _, one in unread]
    known = [
        table.filter(pl.col("post_id").is_in(ids)).select(
            *_VERSIONS.names, pl.lit(place, pl.Int64).alias(page_cache.AT)
        )
        for place, table in ((-2, base), (-1, before.posts))
    ]
    return _in_order(
        page_cache.latest_unreadable(
            unread, pl.concat([*known, told.select(*_VERSIONS.names, page_cache.AT)])
        )
    )


def _in_order(unread: dict[int, UnreadableRecord]) -> dict[int, UnreadableRecord]:
    """Returns them by id, ascending, less the places in the answers.

    The same file for the same words.
    """
    return {
        key: replace(one, rejected={**one.rejected, "row": 0})
        for key, one in sorted(unread.items())
    }


async def _count(client: Client, changes: Changes, base: pl.DataFrame) -> Changes:
    """Finds by counting which posts are gone.

    And takes those that the feed did not tell of.
    """
    unread_ids = pl.Series(list(changes.unread), dtype=pl.Int64)
    ids = (
        pl.concat([base["post_id"], changes.posts["post_id"], unread_ids])
        .unique()
        .sort()
    )
    held = ids.filter(~ids.is_in(changes.gone))
    difference = await reconcile.compare(client, held)
    _refuse_nameless(difference.unread, "ids that the feed did not tell of")
    strangers = {one.key: one for one in difference.unread if one.key is not None}
    gone = (
        {*changes.gone, *difference.gone}
        - {row["post_id"] for row in difference.found}
        - strangers.keys()
    )
    unread = {
        key: one for key, one in changes.unread.items() if key not in gone
    } | strangers
    found = parquet.frame(difference.found, POSTS_SCHEMA)
    posts = pl.concat(
        [changes.posts.filter(~pl.col("post_id").is_in(sorted(gone))), found]
    ).sort("post_id")
    in_base = base["post_id"].filter(base["post_id"].is_in(sorted(gone)))
    return Changes(posts, in_base.to_list(), _in_order(unread))


def _write(
    changes: Changes, base_change: int, pinned: Pin, paths: Paths
) -> Delta | None:
    if changes.posts.is_empty() and not changes.gone and not changes.unread:
        return None
    folder = _changes_folder(paths)
    draft = folder / "draft.parquet"
    note = {
        "base": pinned.exports["posts"].checksum,
        "gone": json.dumps(changes.gone),
        "rejected": json.dumps([asdict(one) for one in changes.unread.values()]),
    }
    parquet.write(draft, changes.posts, POSTS_SCHEMA, metadata=note)
    checksum = _sha256(draft)
    draft.replace(folder / f"{checksum}.parquet")
    changed = changes.posts.height + len(changes.unread)
    return Delta(
        base_change,
        max(base_change, changes.change),
        changed,
        len(changes.gone),
        checksum,
    )


def _say_unread(changes: Changes) -> None:
    """Says which changes could not be read: in the refresh that met them.

    And in each harvest that leaves them out.
    """
    if changes.unread:
        count, first = len(changes.unread), next(iter(changes.unread.values())).rejected
        progress.log(
            f"{count:,} record{'' if count == 1 else 's'} of changed posts cannot be "
            f"read, first {first['value']} "
            f"({first['reason']}). The snapshot leaves these posts out until they "
            "change again or a full refresh, and "
            "lists them in data/snapshot/rejected.parquet."
        )


def prune(paths: Paths, *deltas: Delta) -> None:
    """Removes all files of changes but those of these deltas."""
    kept = {delta.checksum for delta in deltas}
    for path in sorted(_changes_folder(paths).glob("*.parquet")):
        if path.stem not in kept:
            path.unlink()


# --- harvest


def pinned_file(pinned: Pin, paths: Paths) -> Path:
    """Returns the file of the pinned delta, verified.

    Raises BadInput where it is not here, or not what was pinned.
    """
    if pinned.delta is None:
        raise BadInput(f"{paths.pin.name} pins no delta. Run e6tag refresh --delta.")
    path = _changes_folder(paths) / f"{pinned.delta.checksum}.parquet"
    if not path.exists():
        raise BadInput(
            f"{path} is not here: {paths.pin.name} pins changes that were fetched "
            "elsewhere, or .work was emptied. "
            "Run e6tag refresh --delta to fetch them again, or e6tag refresh for a "
            "full export."
        )
    if _sha256(path) != pinned.delta.checksum:
        raise CorruptFile(
            f"{path} is damaged: its SHA-256 is not its name. Delete it and run e6tag "
            "refresh --delta."
        )
    return path


def save_base_ids(checksum: str, posts: Path, paths: Paths) -> None:
    """Keeps what a later delta must know of an export, from its table.

    Notes of other exports are removed.
    """
    note = _base_file(paths, checksum)
    if not note.exists():
        parquet.write(note, parquet.read(posts, _VERSIONS.names), _VERSIONS)
    for path in sorted(note.parent.glob("*.parquet")):
        if path != note:
            path.unlink()


def apply_delta(file: Path, folder: Path) -> None:
    """Rewrites the posts of the export, and what follows from them, as of the delta.

    Memory is that of the changes.
    """
    changes = _read(file)
    out = [*changes.gone, *changes.unread]
    target = folder / "posts.parquet"
    with (
        files.open_atomic(target) as temporary,
        snapshot_table.writer(temporary, POSTS_SCHEMA) as table,
        pq.ParquetFile(target) as base,
    ):
        below = 0  # the highest id that is written
        for batch in base.iter_batches(parquet.ROW_GROUP):
            chunk = pl.DataFrame(pl.from_arrow(batch))
            highest = chunk["post_id"][-1]
            here = changes.posts.filter(
                (pl.col("post_id") > below) & (pl.col("post_id") <= highest)
            )
            table.write_table(parquet.cast(_merged(chunk, here, out), POSTS_SCHEMA))
            below = highest
        table.write_table(
            parquet.cast(changes.posts.filter(pl.col("post_id") > below), POSTS_SCHEMA)
        )
    if changes.unread:
        path = folder / "rejected.parquet"
        rows = [
            *parquet.read(path).iter_rows(named=True),
            *(one.rejected for one in changes.unread.values()),
        ]
        parquet.write(path, rows, SNAPSHOT_REJECTED)
        _say_unread(changes)


def _merged(chunk: pl.DataFrame, here: pl.DataFrame, out: list[int]) -> pl.DataFrame:
    """Puts changed posts in the place of those of the export, which knows the upload time to the microsecond."""
    made = chunk.select("post_id", pl.col("created_at").alias("made"))
    here = here.join(made, on="post_id", how="left").with_columns(
        created_at=pl.coalesce("made", "created_at")
    )
    stay = chunk.join(here, on="post_id", how="anti").filter(
        ~pl.col("post_id").is_in(out)
    )
    return pl.concat([stay, here.drop("made")]).sort("post_id")


def _read(path: Path) -> Changes:
    note = parquet.metadata(path)
    try:
        unread = {
            one["key"]: UnreadableRecord(**one) for one in json.loads(note["rejected"])
        }
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"{path} does not tell which posts could not be read: another version of "
            "e6tag wrote it. "
            "Run e6tag refresh --delta to fetch the changes again."
        ) from error
    return Changes(parquet.read(path), json.loads(note["gone"]), unread)


def _changes_folder(paths: Paths) -> Path:
    return paths.work("refresh") / "changes"


def _base_file(paths: Paths, checksum: str) -> Path:
    return paths.work("harvest") / "base" / f"{checksum}.parquet"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
