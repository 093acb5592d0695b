"""The toy project with labels that are missing, and rare tags beside the vocabulary."""

from collections.abc import Mapping
from datetime import UTC, datetime

import polars as pl

from pipeline import parquet
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.manifest import MANIFEST, OVERLAY
from pipeline.schemas.sample import EXCLUDED_TAGS
from pipeline.schemas.snapshot import POSTS, RELATIONS, TAGS
from tests.builders import toy_shards
from tests.builders.tables import Row

OMITTED = "circle"
"""The tag that is missing on every EVERY-th post that shows it."""

EVERY = 8

RARE = "ring"
"""A tag outside the vocabulary: on the posts with a dot, but for every EVERY-th."""

YOUNG = "cub"
"""The same tag by a name that the policy is about."""

DRAWN = [*toy_shards.TAGS]
"""Names of the vocabulary by label."""


def write(paths: Paths) -> dict[int, set[str]]:
    """Writes what `mine` reads beside shards and model; returns the truth by post."""
    truth = {}
    first = 1
    for split in SPLITS:
        count = toy_shards.RECORDS.get(split, 0)
        rows = []
        for post_id in range(first, first + count):
            _, _, labels = toy_shards._record(621, post_id)
            truth[post_id] = {DRAWN[label] for label in labels}
            rows.append(_record(post_id, split, given(truth[post_id], post_id)))
        first += count
        parquet.write(paths.manifest / f"{split}.parquet", rows, MANIFEST)
    parquet.write(paths.manifest / "overlay.parquet", [], OVERLAY)
    _write_snapshot(paths, truth)
    _write_excluded_tags(paths)
    for names in truth.values():
        if "dot" in names:
            names.add(RARE)
    return truth


def given(names: set[str], post_id: int) -> set[str]:
    """Returns the labels that a post is given."""
    return names - {OMITTED} if is_omitted(post_id) else names


def is_omitted(post_id: int) -> bool:
    return post_id % EVERY == 0


def _record(post_id: int, split: str, names: set[str]) -> Row:
    labels = sorted(DRAWN.index(name) for name in names)
    return {
        "post_id": post_id,
        "change_seq": post_id,
        "md5": toy_shards.md5_of(post_id),
        "rating": "s",
        "created_at": datetime(2020, 1, 1, tzinfo=UTC),
        "group_id": post_id,
        "split": split,
        "label_ids": labels,
        "explicit_label_ids": labels,
        "pack": f"pack-{split}.parquet",
        "variant": "original",
        "format": "jpeg",
        "width": 64,
        "height": 64,
        "bytes": 2_000,
        "phash": post_id,
    }


def _write_snapshot(paths: Paths, truth: Mapping[int, set[str]]) -> None:
    posts = []
    for post_id, names in truth.items():
        tags = given(names, post_id)
        if "dot" in names and not is_omitted(post_id + 1):
            tags = tags | {RARE, YOUNG}
        posts.append(_post(post_id, sorted(tags)))
    parquet.write(paths.snapshot / "posts.parquet", posts, POSTS)
    parquet.write(paths.snapshot / "aliases.parquet", [], RELATIONS)
    parquet.write(paths.snapshot / "implications.parquet", [], RELATIONS)
    tags = []
    for number, name in enumerate([*DRAWN, RARE, YOUNG]):
        row = {"tag_id": 100 + number, "name": name, "category": 0, "post_count": 50}
        tags.append(row)
    parquet.write(paths.snapshot / "tags.parquet", tags, TAGS)


def _write_excluded_tags(paths: Paths) -> None:
    excluded = []
    for name in (RARE, YOUNG):
        row = {"name": name, "category": "general", "reason": "too_few_positives"}
        counts = ("snapshot_posts", "candidate_posts", "train_posts")
        row |= dict.fromkeys((*counts, "validation_posts", "test_posts"), 50)
        excluded.append(row)
    parquet.write(paths.sample / "excluded_tags.parquet", excluded, EXCLUDED_TAGS)


def _post(post_id: int, tags: list[str]) -> Row:
    return {
        "post_id": post_id,
        "change_seq": post_id,
        "created_at": datetime(2020, 1, 1, tzinfo=UTC),
        "md5": toy_shards.md5_of(post_id),
        "ext": "png",
        "rating": "s",
        "width": 64,
        "height": 64,
        "file_size": 2_000,
        "duration": None,
        "parent_id": None,
        "is_deleted": False,
        "is_pending": False,
        "is_flagged": False,
        "is_withheld": False,
        "score": 1,
        "fav_count": 1,
        "tags": tags,
        "locked_tags": [],
    }


def review(paths: Paths, proposals: pl.DataFrame) -> None:
    """Lists proposals as rows of the overlay that a person found wrong."""
    rows = proposals.with_row_index("row", offset=2).select(
        pl.col("row").cast(pl.Int64),
        "post_id",
        "tag",
        "label_id",
        action=pl.lit("remove"),
        outcome=pl.when(pl.col("label_id").is_null())
        .then(pl.lit("outside_vocabulary"))
        .otherwise(pl.lit("unchanged")),
        detail=pl.lit(None, pl.String),
    )
    parquet.write(paths.manifest / "overlay.parquet", rows, OVERLAY)
