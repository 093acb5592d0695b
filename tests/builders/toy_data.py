"""What the toy project's images were drawn from: the tables that the cards count.

No image is lost or excluded but for those that these tables invent: the numbers of the
cards are those of this module.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from pipeline import parquet
from pipeline.lineage import KEY
from pipeline.paths import Paths
from pipeline.schemas.images import TAKEDOWNS
from pipeline.schemas.manifest import LEAKAGE, MANIFEST, REJECTED
from pipeline.schemas.sample import EXCLUDED_POSTS, EXCLUDED_TAGS

EXCLUDED = {"deleted": 7, "forbidden_young": 3, "opted_out": 2, "rating": 11}
"""Posts of the snapshot that are no candidates."""

UNNEEDED = 5
"""Candidates that were not sampled."""

LOST = {"not_found": 4, "near_duplicate": 1}
"""Sampled posts without a record."""

TAKEN_DOWN = {"deleted": 2}

IMPLIED = 1
"""Labels of each record that has any, which nobody gave."""

Labels = Mapping[str, Sequence[tuple[int, list[int]]]]
"""post_id and label ids of the records, by split."""


def write(paths: Paths, records: Labels) -> None:
    """Writes the tables, and the columns that the manifest lacks."""
    for split, rows in records.items():
        _complete_manifest(paths, split, rows)
    total = sum(len(rows) for rows in records.values())
    sampled = total + sum(LOST.values())
    _write_posts(paths, sampled)
    _write_rejected(paths)
    excluded_tags = [_excluded_tag("monochrome"), _excluded_tag("text")]
    parquet.write(paths.sample / "excluded_tags.parquet", excluded_tags, EXCLUDED_TAGS)
    distances = [{"distance": bits, "nearest": 3, "random": 1} for bits in (8, 12, 30)]
    parquet.write(paths.manifest / "leakage.parquet", distances, LEAKAGE)


def _complete_manifest(
    paths: Paths, split: str, records: Sequence[tuple[int, list[int]]]
) -> None:
    path = paths.manifest / f"{split}.parquet"
    lineage = parquet.metadata(path)[KEY]
    table = parquet.read(path)
    labels = dict(records)
    columns: dict[str, Any] = {
        "created_at": datetime(2020, 5, 1, tzinfo=UTC),
        "label_ids": [labels[post_id] for post_id in table["post_id"]],
        "explicit_label_ids": [
            labels[post_id][IMPLIED:] for post_id in table["post_id"]
        ],
    }
    for name, values in columns.items():
        if name not in table.columns:
            column = (
                pl.Series(name, values) if isinstance(values, list) else pl.lit(values)
            )
            table = table.with_columns(column.alias(name))
    names = [name for name in MANIFEST.names if name in table.columns]
    schema = pa.schema([MANIFEST.field(name) for name in names])
    parquet.write(path, table.select(names), schema, metadata={KEY: lineage})


def _write_posts(paths: Paths, sampled: int) -> None:
    """Writes posts of which only the number and the reasons are read."""
    excluded = []
    for reason, count in EXCLUDED.items():
        for _ in range(count):
            post_id = 100_000 + len(excluded)
            excluded.append({"post_id": post_id, "reason": reason, "group_id": None})
    place = paths.sample / "excluded_posts.parquet"
    parquet.write(place, excluded, EXCLUDED_POSTS)
    ids = pa.schema([pa.field("post_id", pa.int64())])
    posts = {"post_id": range(sampled)}
    parquet.write(paths.sample / "posts.parquet", pl.DataFrame(posts), ids)
    posts = {"post_id": range(sampled + UNNEEDED + len(excluded))}
    parquet.write(paths.snapshot / "posts.parquet", pl.DataFrame(posts), ids)
    gone = []
    for reason, count in TAKEN_DOWN.items():
        for number in range(count):
            row = {"md5": f"{number:032x}", "post_id": number, "reason": reason}
            gone.append({**row, "snapshot": "2026-07-02"})
    parquet.write(paths.images / "takedowns.parquet", gone, TAKEDOWNS)


def _write_rejected(paths: Paths) -> None:
    rejected = []
    for reason, count in LOST.items():
        for _ in range(count):
            post_id = 200_000 + len(rejected)
            row = {"post_id": post_id, "md5": f"{post_id:032x}", "split": "train"}
            rejected.append({**row, "reason": reason, "detail": None})
    parquet.write(paths.manifest / "rejected.parquet", rejected, REJECTED)


def _excluded_tag(name: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(EXCLUDED_TAGS.names, 5)
    return {
        **row,
        "name": name,
        "category": "general",
        "reason": "too_few_positives",
    }
