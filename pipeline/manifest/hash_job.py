"""Reads every image once, in parallel: its size in bytes and its fingerprint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from e6tag.images import BACKGROUND, Undecodable
from pipeline import packs, progress
from pipeline.manifest import fingerprint
from pipeline.schemas.reasons import DownloadFailure, Reason, RecordRejection

SCHEMA = {
    "md5": pl.String,
    "bytes": pl.Int64,
    "phash": pl.UInt64,
    "hashes": pl.Binary,
    "thumbnail": pl.Binary,
    "rejection": pl.String,
    "rejection_detail": pl.String,
}
"""Columns of the result for an image.

rejection, rejection_detail: why no record can be made of it, else null.
"""

MAX_ASPECT = 32
"""How many times as long as wide an image may be. In a square of 96 pixels the shorter
side of such an image has 3."""

MIN_CONTENT = 0.001
"""Share of an image that must differ from BACKGROUND: 4 cells of the 4,096 that a
fingerprint sees, each the mean of what lies in it."""

_CONTRAST = 8  # of 255: what differs less is taken for background


@dataclass(frozen=True, slots=True)
class HashJob:
    """Images of one pack to be hashed."""

    images: Path
    pack: str
    md5s: tuple[str, ...]


def hash_images(job: HashJob) -> pl.DataFrame:
    """Returns a row of SCHEMA for each of the job's images."""
    reader = packs.PackReader(job.images)
    rows = [_row(md5, reader.bytes(job.pack, md5)) for md5 in job.md5s]
    return pl.DataFrame(rows, schema=SCHEMA)


def _row(md5: str, body: bytes) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SCHEMA)
    row |= {"md5": md5, "bytes": len(body)}
    try:
        image = fingerprint.read_small(body)
    except Undecodable as error:
        progress.log_undecodable("manifest", md5, error)
        return row | _rejection(DownloadFailure.BROKEN_IMAGE, error.damage.value)
    pixels = fingerprint.shrink(image)
    emptiness = _emptiness(image.size, pixels)
    if emptiness is not None:
        return row | _rejection(RecordRejection.NEARLY_EMPTY, emptiness)
    found = fingerprint.of_pixels(pixels)
    return row | {
        "phash": found.phash,
        "hashes": found.hashes.tobytes(),
        "thumbnail": found.thumbnail.tobytes(),
    }


def _rejection(reason: Reason, detail: str) -> dict[str, str]:
    return {"rejection": reason.value, "rejection_detail": detail}


def _emptiness(size: tuple[int, int], pixels: NDArray[np.float32]) -> str | None:
    """Returns why a square of the image would be nearly empty; None where it is not.

    size: width and height; pixels: as `fingerprint.shrink` returns them.
    """
    if max(size) > MAX_ASPECT * min(size):
        return f"more than {MAX_ASPECT} times as long as wide"
    difference = np.abs(pixels - np.array(BACKGROUND, np.float32)).max(axis=2)
    if (difference > _CONTRAST).mean() < MIN_CONTENT:
        return "nothing but background"
    return None
