"""The file of changes of a delta, and how a harvest applies it to the export.

Reads       .work/refresh/changes/<sha256>.parquet  schemas.POSTS: the posts that
                                                    changed or came since the export; in
                                                    its metadata the posts that are
                                                    gone, and the latest records that
                                                    cannot be read
Writes      data/snapshot/posts.parquet             as of the delta
            data/snapshot/rejected.parquet          with the records of the delta that
                                                    cannot be read
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from pipeline import files, parquet, progress
from pipeline.errors import BadInput, CorruptFile
from pipeline.harvest import snapshot_table
from pipeline.harvest.api_models import UnreadableRecord
from pipeline.paths import Paths
from pipeline.pin import Delta, Pin
from pipeline.schemas.snapshot import POSTS, SNAPSHOT_REJECTED


@dataclass(frozen=True, slots=True)
class Changes:
    """The content of a file of changes.

    posts: schemas.POSTS, ordered by post_id.
    gone: ids of the export that the site no longer has, ascending.
    unread: by id, ascending: posts of the site whose latest record cannot be read.
    """

    posts: pl.DataFrame
    gone: list[int]
    unread: dict[int, UnreadableRecord]

    @property
    def change(self) -> int:
        """The largest change_seq from which a next delta can go on; 0 if none."""
        # Unreadable records do not count: where a record is damaged its number may be
        # too, and no later change would be heard of.
        return int(self.posts["change_seq"].max() or 0)  # type: ignore[arg-type]


def apply_delta(file: Path, folder: Path) -> None:
    """Rewrites the posts of the export, and the rejected records, as of the delta.

    Holds the changes and one row group of the export in memory.
    """
    changes = read(file)
    _rewrite_posts(changes, folder / "posts.parquet")
    if changes.unread:
        _add_rejected(changes, folder / "rejected.parquet")
        log_unread(changes)


def _rewrite_posts(changes: Changes, target: Path) -> None:
    post_id = pl.col("post_id")
    removed = [*changes.gone, *changes.unread]
    with (
        files.open_atomic(target) as temporary,
        snapshot_table.writer(temporary, POSTS) as table,
        pq.ParquetFile(target) as base,
    ):
        written = 0  # the highest id that is written
        for batch in base.iter_batches(parquet.ROW_GROUP):
            chunk = pl.DataFrame(pl.from_arrow(batch))
            highest = chunk["post_id"][-1]
            in_range = (post_id > written) & (post_id <= highest)
            changed = changes.posts.filter(in_range)
            merged = _merged(chunk, changed, removed)
            table.write_table(parquet.cast(merged, POSTS))
            written = highest
        rest = changes.posts.filter(post_id > written)
        table.write_table(parquet.cast(rest, POSTS))


def _merged(
    chunk: pl.DataFrame, changed: pl.DataFrame, removed: list[int]
) -> pl.DataFrame:
    """Replaces posts of the export by changed ones, and leaves out removed ones.

    The upload time stays that of the export, which has it to the microsecond.
    """
    times = chunk.select("post_id", exact="created_at")
    changed = changed.join(times, on="post_id", how="left")
    changed = changed.with_columns(created_at=pl.coalesce("exact", "created_at"))
    unchanged = chunk.join(changed, on="post_id", how="anti")
    unchanged = unchanged.filter(~pl.col("post_id").is_in(removed))
    return pl.concat([unchanged, changed.drop("exact")]).sort("post_id")


def _add_rejected(changes: Changes, path: Path) -> None:
    rows = list(parquet.read(path).iter_rows(named=True))
    rows += [one.rejected for one in changes.unread.values()]
    parquet.write(path, rows, SNAPSHOT_REJECTED)


def log_unread(changes: Changes) -> None:
    """Logs how many changes could not be read.

    The refresh that met them logs it, and each harvest that leaves them out.
    """
    if not changes.unread:
        return
    count = len(changes.unread)
    records = "record" if count == 1 else "records"
    first = next(iter(changes.unread.values())).rejected
    progress.log(
        f"{count:,} {records} of changed posts cannot be read, first {first['value']} "
        f"({first['reason']}). The snapshot leaves these posts out until they change "
        "again or a full refresh, and lists them in data/snapshot/rejected.parquet."
    )


def pinned_file(pinned: Pin, paths: Paths) -> Path:
    """Returns the file of the pinned delta, verified.

    Raises BadInput if it is not here, CorruptFile if it is not what was pinned.
    """
    if pinned.delta is None:
        raise BadInput(f"{paths.pin.name} pins no delta. Run e6tag refresh --delta.")
    path = _folder(paths) / f"{pinned.delta.checksum}.parquet"
    if not path.exists():
        raise BadInput(
            f"{path} is not here: {paths.pin.name} pins changes that were fetched "
            "elsewhere, or .work was emptied. Run e6tag refresh --delta to fetch them "
            "again, or e6tag refresh for a full export."
        )
    if files.sha256(path) != pinned.delta.checksum:
        raise CorruptFile(
            f"{path} is damaged: its SHA-256 is not its name. Delete it and run e6tag "
            "refresh --delta."
        )
    return path


def read(path: Path) -> Changes:
    """Reads a file of changes; raises BadInput if another version wrote it."""
    note = parquet.metadata(path)
    unread = {}
    try:
        for tree in json.loads(note["rejected"]):
            unread[tree["key"]] = UnreadableRecord(**tree)
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"{path} does not record which posts could not be read: another version of "
            "e6tag wrote it. Run e6tag refresh --delta to fetch the changes again."
        ) from error
    return Changes(parquet.read(path), json.loads(note["gone"]), unread)


def write(
    changes: Changes, base_change: int, pinned: Pin, paths: Paths
) -> Delta | None:
    """Writes a file of changes, named by its SHA-256; None if nothing changed.

    base_change: the largest change_seq of the export.
    """
    if changes.posts.is_empty() and not changes.gone and not changes.unread:
        return None
    folder = _folder(paths)
    draft = folder / "draft.parquet"
    unread = [asdict(one) for one in changes.unread.values()]
    note = {
        "base": pinned.exports["posts"].checksum,
        "gone": json.dumps(changes.gone),
        "rejected": json.dumps(unread),
    }
    parquet.write(draft, changes.posts, POSTS, metadata=note)
    checksum = files.sha256(draft)
    draft.replace(folder / f"{checksum}.parquet")
    change = max(base_change, changes.change)
    changed = changes.posts.height + len(changes.unread)
    return Delta(base_change, change, changed, len(changes.gone), checksum)


def prune(paths: Paths, *deltas: Delta) -> None:
    """Removes all files of changes except those of these deltas."""
    kept = {delta.checksum for delta in deltas}
    for path in sorted(_folder(paths).glob("*.parquet")):
        if path.stem not in kept:
            path.unlink()


def _folder(paths: Paths) -> Path:
    return paths.work("refresh") / "changes"
