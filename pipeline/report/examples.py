"""Test pictures with what they were given and what was predicted: drawn by hash.

So nobody chose them.
"""

import base64
import hashlib
import io
from dataclasses import dataclass
from typing import Any

import polars as pl
from PIL import Image

from e6tag.images import BROKEN, flat
from pipeline import packs, parquet
from pipeline.paths import Paths
from pipeline.report import inputs

SHOWN = 24  # pictures; enough to see how it errs, few enough to look at each
SIDE = 192  # pixels of the longer side at most
QUALITY = 82  # of the JPEG: about 8 kB each
MOST = 40  # tags shown per picture and kind; a board's fullest posts have hundreds


@dataclass(frozen=True, slots=True)
class TagScore:
    """One tag of one picture. `score` is the model's, 0 to 1."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class ExampleImage:
    """One picture of the page, with its tags by falling score."""

    post_id: int
    uri: str
    width: int
    height: int
    correct: list[TagScore]  # given and predicted
    missed: list[TagScore]  # given, not predicted
    wrong: list[TagScore]  # predicted, not given


def choose_examples(paths: Paths, per_tag: pl.DataFrame) -> list[ExampleImage]:
    """Returns SHOWN test pictures.

    Those whose md5 has the smallest SHA-256, whatever the model makes of them.
    """
    drawn = sorted(
        inputs.test_records(paths).to_dicts(),
        key=lambda record: _sampling_key(record["md5"]),
    )[:SHOWN]
    scores = inputs.scores(paths, [record["md5"] for record in drawn], per_tag.height)
    reader = packs.PackReader(paths.images)
    # Read in the order of packs, so that each pack is opened once; shown in the order
    # of the lot.
    uris = {
        record["md5"]: _thumbnail(
            paths, record["pack"], reader.bytes(record["pack"], record["md5"])
        )
        for record in sorted(drawn, key=lambda record: (record["pack"], record["md5"]))
    }
    names, thresholds = per_tag["name"].to_list(), per_tag["threshold"].to_list()
    return [
        _shown(record, uris[record["md5"]], scores[record["md5"]], names, thresholds)
        for record in drawn
    ]  # fmt: skip


def _sampling_key(md5: str) -> str:
    return hashlib.sha256(md5.encode()).hexdigest()


def _thumbnail(paths: Paths, pack: str, body: bytes) -> tuple[str, int, int]:
    try:
        with Image.open(io.BytesIO(body)) as opened:
            opened.draft(
                "RGB", (2 * SIDE, 2 * SIDE)
            )  # JPEG only: decodes at a fraction of the size
            small = flat(opened)
    except BROKEN as error:
        raise parquet.corrupt_file_error(paths.images / pack, error) from error
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.save(out := io.BytesIO(), "JPEG", quality=QUALITY)
    return (
        "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode(),
        small.width,
        small.height,
    )


def _shown(
    record: dict[str, Any],
    thumbnail: tuple[str, int, int],
    scores: list[float],
    names: list[str],
    at: list[float],
) -> ExampleImage:
    given = set(record["label_ids"])
    said = {
        label
        for label, (score, threshold) in enumerate(zip(scores, at, strict=True))
        if score >= threshold
    }
    kinds = [
        sorted(
            (TagScore(names[label], scores[label]) for label in labels),
            key=lambda one: (-one.score, one.name),
        )
        for labels in (given & said, given - said, said - given)
    ]
    uri, width, height = thumbnail
    return ExampleImage(record["post_id"], uri, width, height, *kinds)
