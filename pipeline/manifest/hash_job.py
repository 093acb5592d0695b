"""Reads every image once, in parallel: its size in bytes and its fingerprint."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from e6tag.images import DECODE_ERRORS
from pipeline import packs
from pipeline.manifest.fingerprint import fingerprint

SCHEMA = {
    "md5": pl.String,
    "bytes": pl.Int64,
    "phash": pl.UInt64,
    "hashes": pl.Binary,
    "thumbnail": pl.Binary,
    "broken": pl.String,
}
"""Columns of the result for an image.

`broken` is the decoder's message for one that cannot be decoded, else null.
"""


@dataclass(frozen=True, slots=True)
class HashJob:
    """Pictures of one pack to be hashed."""

    images: Path
    pack: str
    md5s: tuple[str, ...]


def hash_images(job: HashJob) -> pl.DataFrame:
    """Returns a row of SCHEMA for each of the job's pictures."""
    reader = packs.PackReader(job.images)
    rows = [_row(md5, reader.bytes(job.pack, md5)) for md5 in job.md5s]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _row(
    md5: str, body: bytes
) -> tuple[str, int, int | None, bytes | None, bytes | None, str | None]:
    try:
        found = fingerprint(body)
    except DECODE_ERRORS as error:
        return (md5, len(body), None, None, None, f"cannot be decoded: {error}")
    return (
        md5,
        len(body),
        found.phash,
        found.hashes.tobytes(),
        found.thumbnail.tobytes(),
        None,
    )
