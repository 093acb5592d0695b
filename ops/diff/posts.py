"""Posts that came, went or changed between two runs, and what tags came and went.

Reads       data/manifest/                     splits and rejected, of both
            data/sample/                       posts and excluded_posts, of both
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from ops.diff.tags import CommonTags
from ops.runs import Run
from pipeline import parquet
from pipeline.paths import SPLITS
from pipeline.schemas.reasons import (
    DownloadFailure,
    PostExclusion,
    Reason,
    RecordRejection,
)

NOT_SAMPLED = "not needed to give every tag its images"

_SENTENCES: tuple[type[Reason], ...] = (PostExclusion, RecordRejection, DownloadFailure)

_COLUMNS = ["post_id", "md5", "label_ids"]


@dataclass(frozen=True, slots=True)
class PostChange:
    """A post of one run alone. why: what the other run says of it, in words."""

    post_id: int
    split: str
    why: str


@dataclass(frozen=True, slots=True)
class Retagged:
    """A post whose tags changed, of those that both runs have as tags."""

    post_id: int
    split: str
    added: list[str]
    removed: list[str]


@dataclass(frozen=True, slots=True)
class PostDiff:
    """before, after: records of each run; common: those of the same post.

    moved: posts in another split. replaced: posts with another file.
    """

    before: int
    after: int
    common: int
    came: list[PostChange]
    went: list[PostChange]
    retagged: list[Retagged]
    moved: list[dict[str, Any]]
    replaced: list[int]


def records(run: Run) -> pl.DataFrame | None:
    """Returns post_id, md5, label_ids and split of a run's manifest, by post_id."""
    tables = []
    for split in SPLITS:
        path = run.find(f"data/manifest/{split}.parquet")
        if path is not None:
            table = parquet.read(path, columns=_COLUMNS)
            tables.append(table.with_columns(split=pl.lit(split)))
    if not tables:
        return None
    return pl.concat(tables).sort("post_id")


def compare(
    before: Run,
    after: Run,
    tables: tuple[pl.DataFrame, pl.DataFrame],
    tags: CommonTags,
) -> PostDiff:
    """Compares the manifests. tables: `records` of both runs."""
    old, new = tables
    both = old.join(new, on="post_id", suffix="_after").sort("post_id")
    moved = both.filter(pl.col("split") != pl.col("split_after"))
    replaced = both.filter(pl.col("md5") != pl.col("md5_after"))
    return PostDiff(
        before=old.height,
        after=new.height,
        common=both.height,
        came=_changes(new.join(old, on="post_id", how="anti"), before),
        went=_changes(old.join(new, on="post_id", how="anti"), after),
        retagged=_retagged(both, tags),
        moved=moved.select("post_id", "split", "split_after").to_dicts(),
        replaced=replaced["post_id"].to_list(),
    )


def _changes(posts: pl.DataFrame, other: Run) -> list[PostChange]:
    """Returns posts with why the other run does not have them."""
    why = _reasons(other, posts["post_id"])
    changes = []
    for post_id, split in posts.select("post_id", "split").sort("post_id").iter_rows():
        changes.append(PostChange(post_id, split, why.get(post_id, NOT_SAMPLED)))
    return changes


def _reasons(run: Run, posts: pl.Series) -> dict[int, str]:
    """Returns what a run says of posts that it excluded or lost."""
    found = {}
    wanted = posts.to_frame("post_id")
    for file in ("data/sample/excluded_posts", "data/manifest/rejected"):
        path = run.find(f"{file}.parquet")
        if path is not None:
            table = parquet.read(path, columns=["post_id", "reason"])
            for post_id, reason in table.join(wanted, on="post_id").iter_rows():
                found[post_id] = _sentence(reason)
    newest = _newest_post(run)
    for post_id in posts:
        if newest is not None and post_id > newest:
            found.setdefault(post_id, "uploaded later")
    return found


def _newest_post(run: Run) -> int | None:
    """Returns the largest post id that a run's sample or its exclusions name."""
    newest = []
    for name in ("posts", "excluded_posts"):
        path = run.find(f"data/sample/{name}.parquet")
        if path is not None:
            largest = parquet.read(path, columns=["post_id"])["post_id"].max()
            if isinstance(largest, int):
                newest.append(largest)
    return max(newest, default=None)


def _sentence(reason: str) -> str:
    for kind in _SENTENCES:
        if reason in list(kind):
            return kind(reason).sentence
    return reason.replace("_", " ")


def _retagged(both: pl.DataFrame, tags: CommonTags) -> list[Retagged]:
    """Returns the posts whose common tags differ."""
    old = _labels(both, "label_ids", tags.mapping(is_before=True))
    new = _labels(both, "label_ids_after", tags.mapping(is_before=False))
    key = ["post_id", "tag"]
    added = _per_post(new.join(old, on=key, how="anti"), tags, "added")
    removed = _per_post(old.join(new, on=key, how="anti"), tags, "removed")
    changed = added.join(removed, on="post_id", how="full", coalesce=True)
    listed = changed.join(both.select("post_id", "split_after"), on="post_id")
    rows = []
    for row in listed.sort("post_id").iter_rows(named=True):
        added_tags, removed_tags = row["added"] or [], row["removed"] or []
        rows.append(
            Retagged(row["post_id"], row["split_after"], added_tags, removed_tags)
        )
    return rows


def _labels(both: pl.DataFrame, column: str, mapping: pl.DataFrame) -> pl.DataFrame:
    """Returns post_id and common tag of every label."""
    labels = both.select("post_id", label_id=pl.col(column)).explode("label_id")
    return labels.join(mapping, on="label_id").select("post_id", "tag")


def _per_post(labels: pl.DataFrame, tags: CommonTags, column: str) -> pl.DataFrame:
    """Returns post_id and the sorted names of its labels."""
    names = pl.DataFrame({"tag": range(len(tags.names)), column: tags.names})
    named = labels.join(names.with_columns(pl.col("tag").cast(pl.Int32)), on="tag")
    return named.group_by("post_id").agg(pl.col(column).sort())
