"""The tables that list posts: those of the sample, and those left out of it."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.paths import SPLITS, Paths
from pipeline.sample.candidates import CandidatePosts
from pipeline.sample.cover import Selection
from pipeline.sample.exclusions import CANDIDATE, REASONS
from pipeline.sample.label_matrix import LabelMatrix
from pipeline.sample.splits import SplitAssignment
from pipeline.schemas.reasons import PostExclusion

FROM_SNAPSHOT = (
    "change_seq",
    "md5",
    "ext",
    "rating",
    "width",
    "height",
    "file_size",
    "created_at",
)
"""Columns of schemas.SAMPLED_POSTS that are the snapshot's."""


def sampled(
    paths: Paths,
    posts: CandidatePosts,
    assigned: SplitAssignment,
    records: LabelMatrix,
    sample: Selection,
) -> pl.DataFrame:
    """Returns schemas.SAMPLED_POSTS of the sample."""
    rows = np.searchsorted(posts.post_id, records.post_id[sample.rows])
    label_ids, explicit_label_ids = records.lists(sample.rows)
    selected_for = pl.Series(sample.selected_for, dtype=pl.Int32)
    columns = pl.DataFrame(
        {
            "post_id": posts.post_id[rows],
            "group_id": assigned.group_id[rows],
            "split": pl.Series(SPLITS).gather(assigned.split[rows]),
            "tag_count": posts.tag_count[rows],
            "label_ids": label_ids,
            "explicit_label_ids": explicit_label_ids,
            "selected_for": selected_for.set(selected_for < 0, None),
        }
    )
    return columns.hstack(_from_snapshot(paths, rows))


def _from_snapshot(paths: Paths, rows: NDArray[np.int64]) -> pl.DataFrame:
    """Returns FROM_SNAPSHOT of these rows of posts.parquet.

    rows: ascending. Holds one row group per core in memory.
    """
    path = paths.snapshot / "posts.parquet"
    metadata = pq.read_metadata(path)
    groups = range(metadata.num_row_groups)
    sizes = [metadata.row_group(group).num_rows for group in groups]
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    cuts = np.searchsorted(rows, bounds)

    def read_part(group: int) -> pl.DataFrame:
        within_group = rows[cuts[group] : cuts[group + 1]] - bounds[group]
        file = pq.ParquetFile(path, metadata=metadata)
        table = file.read_row_group(group, list(FROM_SNAPSHOT), use_threads=False)
        return pl.DataFrame(pl.from_arrow(table))[within_group]

    groups_with_rows = np.flatnonzero(np.diff(cuts)).tolist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return pl.concat(pool.map(read_part, groups_with_rows))


def excluded(posts: CandidatePosts, assigned: SplitAssignment) -> pl.DataFrame:
    """Returns schemas.EXCLUDED_POSTS."""
    rows = np.flatnonzero(posts.reason != CANDIDATE)
    codes = posts.reason[rows]
    spans_splits = pl.Series(codes == REASONS.index(PostExclusion.SPANS_SPLITS))
    group_id = pl.Series(assigned.group_id[rows])
    return pl.DataFrame(
        {
            "post_id": posts.post_id[rows],
            "reason": pl.Series(REASONS).gather(codes),
            "group_id": group_id.set(~spans_splits, None),
        }
    )
