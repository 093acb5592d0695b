"""Edits of the good datasets of tests/builders/tables.py: each breaks one thing."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa

from pipeline import files, parquet
from pipeline.paths import Paths
from pipeline.schemas.evaluation import PER_TAG, PREDICTIONS, SLICES
from pipeline.schemas.images import TAKEDOWNS
from pipeline.schemas.manifest import LEAKAGE, MANIFEST, OVERLAY
from pipeline.schemas.mining import LABEL_NOISE, PROPOSALS
from pipeline.schemas.sample import SAMPLED_POSTS, STRATEGIES, VOCABULARY
from pipeline.schemas.shards import SHARDS
from pipeline.schemas.snapshot import POSTS, SNAPSHOT_REJECTED, TAGS, UNKNOWN_TAGS
from tests.builders.tables import Row, change, md5, set_value

Edit = Callable[[Paths], Any]

SHARD = "train-00000-of-00002.tfrecord"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01"


def set_columns(
    dataset: str, stem: str, schema: pa.Schema, key: str, at: Any, /, **values: Any
) -> Edit:
    """Sets columns of the one row of a file whose `key` is `at`."""

    def edit(paths: Paths) -> None:
        path = getattr(paths, dataset) / f"{stem}.parquet"
        set_value(path, schema, key, at, **values)

    return edit


def change_rows(
    dataset: str,
    stem: str,
    schema: pa.Schema,
    change_frame: Callable[[pl.DataFrame], pl.DataFrame],
) -> Edit:
    """Rewrites a file with its rows changed."""

    def edit(paths: Paths) -> None:
        path = getattr(paths, dataset) / f"{stem}.parquet"
        change(path, change_frame, schema)

    return edit


def snapshot_post(at: int, **values: Any) -> Edit:
    return set_columns("snapshot", "posts", POSTS, "post_id", at, **values)


def snapshot_tag(at: int, **values: Any) -> Edit:
    return set_columns("snapshot", "tags", TAGS, "tag_id", at, **values)


def sampled_post(at: int, **values: Any) -> Edit:
    return set_columns("sample", "posts", SAMPLED_POSTS, "post_id", at, **values)


def vocabulary_tag(at: int, **values: Any) -> Edit:
    return set_columns("sample", "vocabulary", VOCABULARY, "label_id", at, **values)


def strategy(at: str, **values: Any) -> Edit:
    return set_columns("sample", "strategies", STRATEGIES, "strategy", at, **values)


def record(stem: str, at: int, /, **values: Any) -> Edit:
    return set_columns("manifest", stem, MANIFEST, "post_id", at, **values)


def overlaid(
    post_id: int, label: int, action: str, *, outcome: str = "applied"
) -> Edit:
    """Lists a row of data/overlay.csv with its outcome; changes no label."""
    row = {"row": 2, "post_id": post_id, "tag": "hat", "action": action}
    row |= {"outcome": outcome, "label_id": label, "detail": None}

    def with_row(rows: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([rows, pl.DataFrame([row], schema=rows.schema)])

    return change_rows("manifest", "overlay", OVERLAY, with_row)


def distance(at: int, **values: Any) -> Edit:
    return set_columns("manifest", "leakage", LEAKAGE, "distance", at, **values)


def indexed_shard(at: str, **values: Any) -> Edit:
    return set_columns("shards", "index", SHARDS, "shard", at, **values)


def per_tag(at: int, **values: Any) -> Edit:
    return set_columns("evaluation", "per_tag", PER_TAG, "label_id", at, **values)


def slice_of(at: str, **values: Any) -> Edit:
    return set_columns("evaluation", "slices", SLICES, "value", at, **values)


def prediction(at: int, **values: Any) -> Edit:
    schema = PREDICTIONS
    return set_columns("evaluation", "predictions", schema, "post_id", at, **values)


def proposal(at: int, **values: Any) -> Edit:
    return set_columns("mining", "proposals", PROPOSALS, "post_id", at, **values)


def label_noise(at: int, **values: Any) -> Edit:
    return set_columns("mining", "label_noise", LABEL_NOISE, "label_id", at, **values)


def without_record(stem: str, post_id: int) -> Edit:
    is_other = pl.col("post_id") != post_id
    return change_rows("manifest", stem, MANIFEST, lambda rows: rows.filter(is_other))


def metric(name: str = "macro_auc", **values: float | None) -> Edit:
    """Changes a metric on test."""

    def edit(paths: Paths) -> None:
        path = paths.evaluation / "metrics.json"
        metrics = json.loads(path.read_text())
        metrics["splits"]["test"][name] |= values
        files.write_json(path, metrics)

    return edit


def all_of(*edits: Edit) -> Edit:
    def edit_all(paths: Paths) -> None:
        for edit in edits:
            edit(paths)

    return edit_all


def file(name: str, content: bytes) -> Edit:
    return lambda paths: (paths.data / name).write_bytes(content)


def removed(name: str) -> Edit:
    return lambda paths: (paths.data / name).unlink()


def appended(name: str, content: bytes) -> Edit:
    def edit(paths: Paths) -> None:
        path = paths.data / name
        path.write_bytes(path.read_bytes() + content)

    return edit


def rejected_records(count: int) -> Edit:
    """Lists records of the snapshot that could not be read."""
    reason = "md5 is missing or not valid"
    row = {"export": "posts", "row": 1, "reason": reason, "value": "id 40"}

    def edit(paths: Paths) -> None:
        path = paths.snapshot / "rejected.parquet"
        parquet.write(path, [row] * count, SNAPSHOT_REJECTED)

    return edit


def unknown_tags(*rows: Row) -> Edit:
    def edit(paths: Paths) -> None:
        path = paths.snapshot / "unknown_tags.parquet"
        parquet.write(path, list(rows), UNKNOWN_TAGS)

    return edit


def taken_down(post_id: int) -> Edit:
    row = {
        "md5": md5(post_id),
        "post_id": post_id,
        "reason": "deleted",
        "snapshot": "2026-07-02",
    }

    def edit(paths: Paths) -> None:
        parquet.write(paths.images / "takedowns.parquet", [row], TAKEDOWNS)

    return edit


def all_withheld(paths: Paths) -> None:
    withheld = pl.lit(value=True)
    change(
        paths.snapshot / "posts.parquet",
        lambda rows: rows.with_columns(is_withheld=withheld),
        POSTS,
    )


def without_lineage(paths: Paths) -> None:
    path = paths.manifest / "test.parquet"
    parquet.write(path, parquet.read(path), MANIFEST)
