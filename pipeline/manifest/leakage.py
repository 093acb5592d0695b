"""Leakage: how near test images are to training images, beside any two images.

If test images were copies of training images, their nearest neighbours would be at
distance 0. Among unrelated images the nearest of many is nearer than a random one, and
more so the more there are: that is why both are given.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

COMPARED = 2_000  # test images at most: a second for 500,000 training images
_BITS = 64
_CHUNK = 64  # test images compared with all training images at once


def distances(train: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    """Returns schemas.LEAKAGE. train, test: md5, phash.

    The test images with the smallest md5s are compared, each also with one training
    image drawn by its place alone.
    """
    compared = test.sort("md5").head(COMPARED)["phash"].to_numpy()
    known = train.sort("md5")["phash"].to_numpy()
    return pl.DataFrame(
        {
            "distance": np.arange(_BITS + 1),
            "nearest": _histogram(_nearest(compared, known)),
            "random": _histogram(_random(compared, known)),
        }
    )


def _nearest(
    compared: NDArray[np.uint64], known: NDArray[np.uint64]
) -> NDArray[np.uint8]:
    if not len(known):
        return np.empty(0, dtype=np.uint8)
    parts = [np.empty(0, dtype=np.uint8)]
    for start in range(0, len(compared), _CHUNK):
        chunk = compared[start : start + _CHUNK, None]
        parts.append(np.bitwise_count(chunk ^ known[None]).min(axis=1))
    return np.concatenate(parts)


def _random(
    compared: NDArray[np.uint64], known: NDArray[np.uint64]
) -> NDArray[np.uint8]:
    if not len(known):
        return np.empty(0, dtype=np.uint8)
    drawn = np.random.default_rng(len(compared)).integers(0, len(known), len(compared))
    return np.asarray(np.bitwise_count(compared ^ known[drawn]), dtype=np.uint8)


def _histogram(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(values, minlength=_BITS + 1).astype(np.int64)
