"""Leakage: how near test pictures lie to training pictures, beside how near any two pictures lie.

Were test pictures copies of training pictures, their nearest neighbours would be at distance 0. Among unrelated
pictures the nearest of many is nearer than a random one, and more so the more there are: that is why both are told.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

JUDGED = 2_000  # test pictures at most: a second for 500,000 training pictures
_BITS = 64
_CHUNK = 64  # test pictures compared with all training pictures at once


def distances(train: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    """Returns schemas.LEAKAGE. train, test: md5, phash.

    The test pictures with the smallest md5s are judged, each beside one training
    picture drawn by its place alone.
    """
    judged = test.sort("md5").head(JUDGED)["phash"].to_numpy()
    known = train.sort("md5")["phash"].to_numpy()
    nearest, random = (
        _histogram(_nearest(judged, known)),
        _histogram(_random(judged, known)),
    )
    return pl.DataFrame(
        {"distance": np.arange(_BITS + 1), "nearest": nearest, "random": random}
    )


def _nearest(
    judged: NDArray[np.uint64], known: NDArray[np.uint64]
) -> NDArray[np.uint8]:
    if not len(known):
        return np.empty(0, dtype=np.uint8)
    cuts = range(0, len(judged), _CHUNK)
    parts = [
        np.bitwise_count(judged[cut : cut + _CHUNK, None] ^ known[None]).min(axis=1)
        for cut in cuts
    ]
    return np.concatenate([np.empty(0, dtype=np.uint8), *parts])


def _random(judged: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.uint8]:
    if not len(known):
        return np.empty(0, dtype=np.uint8)
    drawn = np.random.default_rng(len(judged)).integers(0, len(known), len(judged))
    return np.asarray(np.bitwise_count(judged ^ known[drawn]), dtype=np.uint8)


def _histogram(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(values, minlength=_BITS + 1).astype(np.int64)
