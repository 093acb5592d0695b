"""Near-duplicates: pictures of an evaluation split that look like one of a split before it."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.paths import SPLITS
from pipeline.schemas import Rejection

CONFIRMED = 0.95
"""Correlation of two thumbnails from which two pictures with near hashes are one. Flat cartoons on plain grounds share
their lowest frequencies by the dozen; the hash alone would reject unrelated pictures."""

_CHUNK = 200  # pictures compared with all others at once; memory is 9 bytes for each of _CHUNK x pictures pairs


def find(records: pl.DataFrame, distance: int) -> pl.DataFrame:
    """Returns post_id, md5, split, reason and detail of the records to reject, ordered by post_id.

    records: post_id, md5, split, phash, thumbnail. Of records with one md5 the first by split, then post_id, stays.
    """
    ranked = records.with_columns(
        rank=pl.col("split").replace_strict({split: i for i, split in enumerate(SPLITS)}, return_dtype=pl.Int8)
    )
    ranked = ranked.sort("rank", "post_id")
    first = ranked.unique("md5", keep="first", maintain_order=True)
    repeated = ranked.join(first.select("post_id"), on="post_id", how="anti").join(
        first.select("md5", original="post_id"), on="md5"
    )
    twins = _twins(first["phash"].to_numpy(), _thumbnails(first), first["rank"].to_numpy(), distance)
    near = first.with_columns(
        original=pl.Series([first["post_id"][i] if i >= 0 else None for i in twins.tolist()], dtype=pl.Int64)
    )
    near = near.filter(pl.col("original").is_not_null())
    reasons = [(repeated, Rejection.SAME_PICTURE), (near, Rejection.NEAR_DUPLICATE)]
    return pl.concat(
        frame.select("post_id", "md5", "split", reason=pl.lit(reason.value), detail=pl.format("of post {}", "original"))
        for frame, reason in reasons
    ).sort("post_id")


def _thumbnails(records: pl.DataFrame) -> NDArray[np.float32]:
    """Returns [records, pixels] thumbnails of length one, so that their products are correlations."""
    raw = np.frombuffer(b"".join(records["thumbnail"].to_list()), dtype=np.int8).astype(np.float32)
    rows = raw.reshape(records.height, -1) if records.height else raw.reshape(0, 1)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _twins(
    hashes: NDArray[np.uint64], thumbnails: NDArray[np.float32], ranks: NDArray[np.int8], distance: int
) -> NDArray[np.int64]:
    """Returns for each record the first record of an earlier split that it looks like, or -1."""
    found = np.full(len(hashes), -1, dtype=np.int64)
    later = np.flatnonzero(ranks > ranks.min(initial=0))
    for start in range(0, len(later), _CHUNK):
        rows = later[start : start + _CHUNK]
        near = np.bitwise_count(hashes[rows, None] ^ hashes[None, :]) <= distance
        near &= ranks[None, :] < ranks[rows, None]
        for row, candidates in zip(rows, near, strict=True):
            others = np.flatnonzero(candidates)
            alike = others[thumbnails[others] @ thumbnails[row] >= CONFIRMED]
            if len(alike):
                found[row] = alike[0]
    return found
