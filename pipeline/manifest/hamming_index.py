"""Near hashes: all pairs of 64-bit hashes that differ in few bits.

They are found without comparing every pair. Hashes are cut into bands. Two that differ
in at most d bits differ in at most d / BANDS bits of one band at least. So looking up
each band of a query, and everything that differs from it in that few bits, misses no
pair (multi-index hashing, Norouzi et al. 2012, arXiv:1307.2982).
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

BANDS, BAND_BITS = 4, 16
_QUERIES = 2_048  # looked up at once
# Candidates compared at once, some hundred bytes each; more where one query has more.
_CANDIDATES = 1 << 20

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def pairs_within_distance(
    queries: NDArray[np.uint64], hashes: NDArray[np.uint64], distance: int
) -> Iterator[Pairs]:
    """Yields (rows of queries, rows of hashes) that differ in at most `distance` bits.

    Every pair once.

    500,000 x 4,000,000 random hashes at distance 6: see bench/results/duplicates.md. A
    distance of 8 or more makes it 8 times slower, of 12 or more 40 times: more
    neighbours of each band must be looked up.
    """
    flips = _flips(distance // BANDS)
    bands = [_Band(hashes, number) for number in range(BANDS)]
    for start in range(0, len(queries), _QUERIES):
        chunk = queries[start : start + _QUERIES]
        for number, band in enumerate(bands):
            for row, other in band.candidates(chunk, flips):
                differing = chunk[row] ^ hashes[other]
                near = np.bitwise_count(differing) <= distance
                near[near] = ~_found_before(differing[near], number, distance // BANDS)
                if near.any():
                    yield row[near] + start, other[near]


class _Band:
    """The hashes sorted by one of their bands."""

    def __init__(self, hashes: NDArray[np.uint64], number: int) -> None:
        self._number = number
        keys = _keys(hashes, number)
        self._order = np.argsort(keys, kind="stable").astype(np.int64)
        self._starts = np.searchsorted(
            keys[self._order], np.arange((1 << BAND_BITS) + 1)
        )

    def candidates(
        self, queries: NDArray[np.uint64], flips: NDArray[np.uint16]
    ) -> Iterator[Pairs]:
        """Yields rows of queries and of hashes whose bands differ by one of `flips`."""
        keys = _keys(queries, self._number)
        for flip in flips:
            probed = (keys ^ flip).astype(np.int64)
            first = self._starts[probed]
            counts = self._starts[probed + 1] - first
            for start, end in _runs(counts):
                some = counts[start:end]
                row = np.repeat(np.arange(start, end), some)
                within_bucket = np.arange(len(row)) - np.repeat(
                    np.cumsum(some) - some, some
                )
                yield (
                    row,
                    self._order[np.repeat(first[start:end], some) + within_bucket],
                )


def _runs(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yields runs of queries that together have _CANDIDATES, or are one query.

    A band of many may look the same.
    """
    run = np.cumsum(counts) // _CANDIDATES
    ends = [*(np.flatnonzero(np.diff(run)) + 1).tolist(), len(counts)]
    yield from zip([0, *ends[:-1]], ends, strict=True)


def _keys(hashes: NDArray[np.uint64], number: int) -> NDArray[np.uint16]:
    return (hashes >> np.uint64(BAND_BITS * number)).astype(np.uint16)


def _flips(bits: int) -> NDArray[np.uint16]:
    """Returns every change of a band in at most so many bits."""
    changes: list[int] = []
    for size in range(bits + 1):
        chosen_bits = combinations([1 << bit for bit in range(BAND_BITS)], size)
        changes += map(sum, chosen_bits)
    return np.array(changes, dtype=np.uint16)


def _found_before(
    differing: NDArray[np.uint64], number: int, bits: int
) -> NDArray[np.bool_]:
    """Returns whether an earlier band has yielded a pair that differs like this."""
    earlier = [
        np.bitwise_count(_keys(differing, before)) <= bits for before in range(number)
    ]
    return (
        np.logical_or.reduce(earlier)
        if earlier
        else np.zeros(len(differing), dtype=bool)
    )
