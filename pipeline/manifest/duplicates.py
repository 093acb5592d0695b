"""Near-duplicates: evaluation images that look like one of a split before theirs."""

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
# figures in one pose would count as one image. Values from planted copies and
# unrelated drawings: bench/results/duplicates.md.
COPY_CORRELATION, COPY_DIFFERENCE = 0.95, 12.0
EDGE_CORRELATION, RECOLOURED_CORRELATION, RECOLOURED_DIFFERENCE = 0.92, 0.5, 30.0

# Bits that a hash must have set; half are, unless frequencies tie at zero: the hash of
# a blank image distinguishes nothing.
_STRUCTURE = 16
_COMPARED = 4_096  # pairs of thumbnails compared at once, 25 kB a pair
# Pairs after which groups are joined, so that images of one group are compared no
# further.
_JOINED = 65_536


def find(records: pl.DataFrame, distance: int) -> pl.DataFrame:
    """Returns post_id, md5, split, reason and detail of the records to reject.

    Of records with one md5 the first by split, then post_id, stays. Of images that look
    alike, directly or through others, those of the first split stay. Ordered by
    post_id.

    records: post_id, md5, split, hashes and thumbnail (fingerprint.ImageFingerprint, as
    bytes). distance: bits in which hashes may differ.
    """
    ranks = {split: rank for rank, split in enumerate(SPLITS)}
    rank = pl.col("split").replace_strict(ranks, return_dtype=pl.Int8)
    ranked = records.with_columns(rank=rank).sort("rank", "post_id")
    first = ranked.unique("md5", keep="first", maintain_order=True)
    others = ranked.join(first.select("post_id"), on="post_id", how="anti")
    repeated = others.join(first.select("md5", original="post_id"), on="md5")
    near = _near_duplicates(first, distance)
    rejected = [
        _rejections(repeated, RecordRejection.SAME_IMAGE),
        _rejections(near, RecordRejection.NEAR_DUPLICATE),
    ]
    return pl.concat(rejected).sort("post_id")


def _near_duplicates(records: pl.DataFrame, distance: int) -> pl.DataFrame:
    """Returns the records that look like one of an earlier split, with its `original`.

    records: each md5 once, by rank of the split.
    """
    ranks = records["rank"].to_numpy()
    pairs = find_links(_hashes(records), _thumbnails(records), ranks, distance)
    heads = _heads(records.height, pairs)
    original = pl.Series(records["post_id"].to_numpy()[heads], dtype=pl.Int64)
    is_later = pl.Series(ranks > ranks[heads])
    return records.with_columns(original=original).filter(is_later)


def _rejections(records: pl.DataFrame, reason: RecordRejection) -> pl.DataFrame:
    return records.select(
        "post_id",
        "md5",
        "split",
        reason=pl.lit(reason.value),
        detail=pl.format("of post {}", "original"),
    )


def find_links(
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8],
    ranks: NDArray[np.int8],
    distance: int,
) -> list[Pairs]:
    """Returns pairs of records that look alike, at least one of an evaluation split.

    Not all pairs: of thousands of images made from one template, enough to join them;
    all pairs would fill the memory.

    hashes: [records, kinds, views]; thumbnails: [records, side, side, 4]; ranks:
    [records], above 0 for evaluation splits.
    """
    evaluated = np.flatnonzero(ranks > 0)
    found: list[Pairs] = []
    heads = np.arange(len(hashes))
    unjoined = 0
    for one, other, view in _near_blocks(hashes, evaluated, distance):
        is_joined = heads[one] == heads[other]
        compared = ~is_joined & (ranks[other] <= ranks[one])
        pairs = (one[compared], other[compared], view[compared])
        for confirmed in _confirmed(thumbnails, *pairs):
            found.append(confirmed)
            unjoined += len(confirmed[0])
        if unjoined >= _JOINED:
            heads = _heads(len(hashes), found)
            unjoined = 0
    return found


def _near_blocks(
    hashes: NDArray[np.uint64], evaluated: NDArray[np.int64], distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yields what `_near` finds for each kind of hash, _JOINED pairs at a time."""
    for kind in range(len(fingerprint.KINDS)):
        for one, other, view in _near(hashes[:, kind], evaluated, distance):
            for start in range(0, len(one), _JOINED):
                block = slice(start, start + _JOINED)
                yield one[block], other[block], view[block]


def _near(
    hashes: NDArray[np.uint64], evaluated: NDArray[np.int64], distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yields evaluation records, the records near them, and through which view.

    The view is negative if it is one of the first record. hashes: [records, views].
    """
    views = hashes.shape[1]
    has_structure = np.bitwise_count(hashes[evaluated, 0]) >= _STRUCTURE
    queries = evaluated[has_structure]
    # Blank views are near no image with structure, and by the thousand in one band they
    # would cost gigabytes.
    bits = np.bitwise_count(hashes.ravel())
    known = np.flatnonzero(bits >= _STRUCTURE - distance)
    whole = hashes[queries, 0]
    for row, place in pairs_within_distance(whole, hashes.ravel()[known], distance):
        entry = known[place]
        yield queries[row], entry // views, entry % views
    crops = hashes[queries, 1:].ravel()
    for row, other in pairs_within_distance(crops, hashes[:, 0], distance):
        yield queries[row // (views - 1)], other, -(1 + row % (views - 1))


def _confirmed(
    thumbnails: NDArray[np.uint8],
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    view: NDArray[np.int64],
) -> Iterator[Pairs]:
    """Yields those pairs whose thumbnails, each through its view, show one image."""
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
    a = _centred(left)
    b = _centred(right)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = (a * b).sum(axis=1)
    return np.asarray(products / np.maximum(lengths, 1e-6), dtype=np.float32)


def _centred(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns each image as a row of values whose mean is 0."""
    rows = values.reshape(len(values), -1)
    return rows - rows.mean(axis=1, keepdims=True)


def _heads(records: int, found: list[Pairs]) -> NDArray[np.int64]:
    """Returns for each record the first record of its group.

    A group is what looks alike, directly or through others.
    """
    nothing = np.empty(0, dtype=np.int64)
    one = np.concatenate([nothing, *(pairs[0] for pairs in found)])
    other = np.concatenate([nothing, *(pairs[1] for pairs in found)])
    ones = np.ones(len(one), dtype=np.int8)
    graph = coo_array((ones, (one, other)), shape=(records, records))
    count, group = connected_components(graph, directed=False)
    first = np.full(count, records, dtype=np.int64)
    np.minimum.at(first, group, np.arange(records))
    return first[group]


def _hashes(records: pl.DataFrame) -> NDArray[np.uint64]:
    values = np.frombuffer(b"".join(records["hashes"]), dtype=np.uint64)
    return values.reshape(-1, len(fingerprint.KINDS), len(fingerprint.VIEWS))


def _thumbnails(records: pl.DataFrame) -> NDArray[np.uint8]:
    side = fingerprint.THUMBNAIL
    values = np.frombuffer(b"".join(records["thumbnail"]), dtype=np.uint8)
    return values.reshape(-1, side, side, 4)
