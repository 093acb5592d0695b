"""Near-duplicates: pictures of an evaluation split that look like one of a split before it."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.manifest import fingerprint
from pipeline.manifest.hamming_index import Pairs, pairs_within_distance
from pipeline.paths import SPLITS
from pipeline.schemas.reasons import RecordRejection

# What confirms near hashes. Copies: colours that go together and lie close. Recoloured
# copies: edges that go together, and colours that are not wholly others, else two
# figures in one pose would count as one picture. Values from planted copies and
# unrelated drawings: bench/results/duplicates.md.
COPY_CORRELATION, COPY_DIFFERENCE = 0.95, 12.0
EDGE_CORRELATION, RECOLOURED_CORRELATION, RECOLOURED_DIFFERENCE = 0.92, 0.5, 30.0

# Bits set at least; half are, unless frequencies tie at zero: blank pictures are told
# by nothing
_STRUCTURE = 16
_COMPARED = 4_096  # pairs of thumbnails compared at once, 25 kB a pair
# Pairs after which groups are joined, so that pictures of one group are compared no
# further
_JOINED = 65_536


def find(records: pl.DataFrame, distance: int) -> pl.DataFrame:
    """Returns post_id, md5, split, reason and detail of the records to reject, ordered by post_id.

    records: post_id, md5, split, hashes and thumbnail (likeness.Likeness, as bytes). distance: bits in which hashes may
    differ. Of records with one md5 the first by split, then post_id, stays. Of pictures that look alike, directly or
    through others, those of the first split stay.
    """
    ranked = records.with_columns(
        rank=pl.col("split").replace_strict(
            {split: i for i, split in enumerate(SPLITS)}, return_dtype=pl.Int8
        )
    )
    ranked = ranked.sort("rank", "post_id")
    first = ranked.unique("md5", keep="first", maintain_order=True)
    repeated = ranked.join(first.select("post_id"), on="post_id", how="anti").join(
        first.select("md5", original="post_id"), on="md5"
    )
    ranks = first["rank"].to_numpy()
    heads = _heads(
        first.height, find_links(_hashes(first), _thumbnails(first), ranks, distance)
    )
    near = first.with_columns(
        original=pl.Series(first["post_id"].to_numpy()[heads], dtype=pl.Int64)
    )
    near = near.filter(pl.Series(ranks > ranks[heads]))
    reasons = [
        (repeated, RecordRejection.SAME_PICTURE),
        (near, RecordRejection.NEAR_DUPLICATE),
    ]
    return pl.concat(
        frame.select(
            "post_id",
            "md5",
            "split",
            reason=pl.lit(reason.value),
            detail=pl.format("of post {}", "original"),
        )
        for frame, reason in reasons
    ).sort("post_id")


def find_links(
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8],
    ranks: NDArray[np.int8],
    distance: int,
) -> list[Pairs]:
    """Returns pairs of records that look alike, one of them at least being of an evaluation split (rank above 0).

    Not all pairs: of thousands that share one template enough to join them, else the pairs would fill the memory.
    hashes: [records, kinds, views]; thumbnails: [records, side, side, 4].
    """
    judged = np.flatnonzero(ranks > 0)
    found: list[Pairs] = []
    heads, unjoined = np.arange(len(hashes)), 0
    for kind in range(len(fingerprint.KINDS)):
        for one, other, view in _near(hashes[:, kind], judged, distance):
            for start in range(0, len(one), _JOINED):
                cut = slice(start, start + _JOINED)
                apart = (heads[one[cut]] != heads[other[cut]]) & (
                    ranks[other[cut]] <= ranks[one[cut]]
                )
                alike = list(
                    _confirmed(
                        thumbnails, one[cut][apart], other[cut][apart], view[cut][apart]
                    )
                )
                found += alike
                unjoined += sum(len(pair[0]) for pair in alike)
                if unjoined >= _JOINED:
                    heads, unjoined = _heads(len(hashes), found), 0
    return found


def _near(
    hashes: NDArray[np.uint64], judged: NDArray[np.int64], distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yields evaluation records, the records near them, and through which view.

    Negative if it is into the first.
    """
    views = hashes.shape[1]
    told = judged[np.bitwise_count(hashes[judged, 0]) >= _STRUCTURE]
    # Blank views are near no picture that is told, and by the thousand in one band they
    # would cost gigabytes.
    known = np.flatnonzero(np.bitwise_count(hashes.ravel()) >= _STRUCTURE - distance)
    for row, place in pairs_within_distance(
        hashes[told, 0], hashes.ravel()[known], distance
    ):
        entry = known[place]
        yield told[row], entry // views, entry % views
    for row, other in pairs_within_distance(
        hashes[told, 1:].ravel(), hashes[:, 0], distance
    ):
        yield told[row // (views - 1)], other, -(1 + row % (views - 1))


def _confirmed(
    thumbnails: NDArray[np.uint8],
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    view: NDArray[np.int64],
) -> Iterator[Pairs]:
    """Yields those pairs whose thumbnails, each through its view, show one picture."""
    for start in range(0, len(one), _COMPARED):
        cut = slice(start, start + _COMPARED)
        left = fingerprint.crop_views(thumbnails[one[cut]], np.maximum(-view[cut], 0))
        right = fingerprint.crop_views(thumbnails[other[cut]], np.maximum(view[cut], 0))
        difference = np.abs(left[..., :3] - right[..., :3]).mean(axis=(1, 2, 3))
        colours = _correlation(left[..., :3], right[..., :3])
        edges = _correlation(left[..., 3], right[..., 3])
        is_copy = (colours >= COPY_CORRELATION) & (difference <= COPY_DIFFERENCE)
        is_recoloured = (
            (edges >= EDGE_CORRELATION)
            & (colours >= RECOLOURED_CORRELATION)
            & (difference <= RECOLOURED_DIFFERENCE)
        )
        alike = is_copy | is_recoloured
        yield one[cut][alike], other[cut][alike]


def _correlation(
    left: NDArray[np.float32], right: NDArray[np.float32]
) -> NDArray[np.float32]:
    a, b = left.reshape(len(left), -1), right.reshape(len(right), -1)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-6), dtype=np.float32)


def _heads(records: int, found: list[Pairs]) -> NDArray[np.int64]:
    """Returns for each record the first record of its group.

    Those that look alike, directly or through others.
    """
    one = np.concatenate([np.empty(0, dtype=np.int64), *(pairs[0] for pairs in found)])
    other = np.concatenate(
        [np.empty(0, dtype=np.int64), *(pairs[1] for pairs in found)]
    )
    graph = coo_array(
        (np.ones(len(one), dtype=np.int8), (one, other)), shape=(records, records)
    )
    count, group = connected_components(graph, directed=False)
    first = np.full(count, records, dtype=np.int64)
    np.minimum.at(first, group, np.arange(records))
    return first[group]


def _hashes(records: pl.DataFrame) -> NDArray[np.uint64]:
    kinds, views = len(fingerprint.KINDS), len(fingerprint.VIEWS)
    return np.frombuffer(b"".join(records["hashes"]), dtype=np.uint64).reshape(
        -1, kinds, views
    )


def _thumbnails(records: pl.DataFrame) -> NDArray[np.uint8]:
    side = fingerprint.THUMBNAIL
    return np.frombuffer(b"".join(records["thumbnail"]), dtype=np.uint8).reshape(
        -1, side, side, 4
    )
