"""Test images with their labels and predictions, chosen by hash.

Nobody selects them by how well the model does.
"""

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from PIL import Image

from e6tag.images import DECODE_ERRORS, flat
from pipeline import packs, parquet
from pipeline.paths import Paths
from pipeline.report import inputs

SHOWN = 24  # images; enough to see how the model errs, few enough to look at each
SIDE = 192  # pixels of the longer side at most
QUALITY = 82  # of the JPEG: about 8 kB each
MAX_TAGS = 40  # shown per image and kind; a board's fullest posts have hundreds


@dataclass(frozen=True, slots=True)
class TagScore:
    """One tag of one image. `score` is the model's, 0 to 1."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ExampleImage:
    """One image of the page, with its tags by falling score."""

    post_id: int
    uri: str
    width: int
    height: int
    correct: list[TagScore]  # given and predicted
    missed: list[TagScore]  # given, not predicted
    wrong: list[TagScore]  # predicted, not given


def choose_examples(paths: Paths, per_tag: pl.DataFrame) -> list[ExampleImage]:
    """Returns SHOWN test images: those whose md5 has the smallest SHA-256.

    per_tag: schemas.PER_TAG, ordered by label_id.
    """
    records = inputs.test_records(paths).to_dicts()
    records.sort(key=_sampling_key)
    chosen = records[:SHOWN]
    md5s = [record["md5"] for record in chosen]
    scores = inputs.scores(paths, md5s, per_tag.height)
    thumbnails = _thumbnails(paths, chosen)
    examples = []
    for record in chosen:
        md5 = record["md5"]
        examples.append(_example(record, thumbnails[md5], scores[md5], per_tag))
    return examples


def _sampling_key(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(record["md5"].encode()).hexdigest()


def _thumbnails(
    paths: Paths, records: Iterable[dict[str, Any]]
) -> dict[str, Thumbnail]:
    """Returns the thumbnails by md5, reading each pack only once."""
    reader = packs.PackReader(paths.images)
    by_pack = sorted(records, key=lambda record: (record["pack"], record["md5"]))
    thumbnails = {}
    for record in by_pack:
        pack, md5 = record["pack"], record["md5"]
        body = reader.bytes(pack, md5)
        try:
            thumbnails[md5] = _thumbnail(body)
        except DECODE_ERRORS as error:
            raise parquet.corrupt_file_error(paths.images / pack, error) from error
    return thumbnails


def _thumbnail(body: bytes) -> Thumbnail:
    with Image.open(io.BytesIO(body)) as image:
        # JPEG only: decodes at a fraction of the size.
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
        small = flat(image)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    uri = f"data:image/jpeg;base64,{encoded}"
    return Thumbnail(uri, small.width, small.height)


def _example(
    record: Mapping[str, Any],
    thumbnail: Thumbnail,
    scores: list[float],
    per_tag: pl.DataFrame,
) -> ExampleImage:
    names = per_tag["name"].to_list()
    thresholds = per_tag["threshold"].to_list()
    given = set(record["label_ids"])
    predicted = _predicted(scores, thresholds)
    return ExampleImage(
        post_id=record["post_id"],
        uri=thumbnail.uri,
        width=thumbnail.width,
        height=thumbnail.height,
        correct=_tag_scores(given & predicted, names, scores),
        missed=_tag_scores(given - predicted, names, scores),
        wrong=_tag_scores(predicted - given, names, scores),
    )


def _predicted(scores: list[float], thresholds: list[float]) -> set[int]:
    """Returns the labels whose score reaches their threshold."""
    labels = set()
    for label, score in enumerate(scores):
        if score >= thresholds[label]:
            labels.add(label)
    return labels


def _tag_scores(
    labels: Iterable[int], names: list[str], scores: list[float]
) -> list[TagScore]:
    """Returns the labels by falling score, then by name."""
    tags = [TagScore(names[label], scores[label]) for label in labels]
    return sorted(tags, key=lambda tag: (-tag.score, tag.name))
