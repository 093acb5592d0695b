"""Perceptual hashes: numbers that hardly change when a picture is re-encoded, resized or slightly altered."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from pipeline import packs
from pipeline.pictures import flat

SIDE = 32  # pixels of the grey picture that is transformed; 8 x 8 of its lowest frequencies are kept (Zauner 2010)
THUMBNAIL = 12  # pixels of the grey thumbnail that confirms or refutes an equal hash


@dataclass(frozen=True, slots=True)
class HashJob:
    """Pictures of one pack to be hashed."""

    images: Path
    pack: str
    md5s: tuple[str, ...]


def hash_pictures(job: HashJob) -> pl.DataFrame:
    """Returns md5, bytes (size), phash and thumbnail of the job's pictures."""
    reader = packs.Reader(job.images)
    rows = []
    for md5 in job.md5s:
        body = reader.bytes(job.pack, md5)
        grey = grey_picture(body)
        rows.append((md5, len(body), phash(grey), thumbnail(grey)))
    schema = {"md5": pl.String, "bytes": pl.Int64, "phash": pl.UInt64, "thumbnail": pl.Binary}
    return pl.DataFrame(rows, schema=schema, orient="row")


def grey_picture(body: bytes) -> NDArray[np.float32]:
    """Returns the picture as [SIDE, SIDE] grey values, transparency flattened, the aspect given up."""
    with Image.open(io.BytesIO(body)) as opened:
        opened.draft("L", (SIDE * 4, SIDE * 4))
        small = flat(opened).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
        return np.asarray(small, dtype=np.float32)


def phash(grey: NDArray[np.float32]) -> int:
    """Returns 64 bits: which of the 8 x 8 lowest frequencies lie above their median. The mean brightness has no say."""
    low = dctn(grey, norm="ortho")[:8, :8].ravel()
    bits = low > np.median(low[1:])
    bits[0] = False
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumbnail(grey: NDArray[np.float32]) -> bytes:
    """Returns the grey picture at THUMBNAIL x THUMBNAIL, brightness and contrast evened out, as int8."""
    small = np.asarray(Image.fromarray(grey).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    centred = small - small.mean()
    scale = centred.std() or 1.0
    return np.clip(np.round(centred / scale * 32), -127, 127).astype(np.int8).tobytes()
