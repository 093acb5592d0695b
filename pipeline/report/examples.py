"""Test images with their labels and predictions, chosen by rule.

Some by hash, so that nobody selects them by how well the model does; then those with
the highest and the lowest F1.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from e6tag import images
from e6tag.images import Undecodable
from pipeline import packs, parquet
from pipeline.paths import Paths
from pipeline.report import predictions, thumbnails
from pipeline.report.thumbnails import SIDE, Thumbnail

SHOWN = 12  # images by hash; enough to see how the model errs
EXTREMES = 8  # images with the highest F1, and as many with the lowest
MAX_TAGS = 40  # shown per image and kind; a board's fullest posts have hundreds

Record = dict[str, Any]
"""A row of predictions.test_images."""

Truth = Callable[[int], frozenset[str] | None]
"""From a post's id to all tags that are true of its image, None where unknown."""


@dataclass(frozen=True, slots=True)
class TagScore:
    """One tag of one image. `score` is the model's, 0 to 1.

    is_true: whether the image shows it; None where nobody knows.
    """

    name: str
    score: float
    is_true: bool | None = None


@dataclass(frozen=True, slots=True)
class ExampleImage:
    """One image of the page, with its tags by falling score. f1: None where undefined.

    body: its file. given: the names of its tags.
    """

    post_id: int
    image: Thumbnail
    f1: float | None
    correct: list[TagScore]  # given and predicted
    missed: list[TagScore]  # given, not predicted
    wrong: list[TagScore]  # predicted, not given
    unseen: list[TagScore]  # true, neither given nor predicted; empty where unknown
    body: bytes = field(repr=False)
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class Examples:
    """The test images of the page.

    is_truth_known: whether the tags say what is true of an image.
    """

    typical: list[ExampleImage]
    best: list[ExampleImage]
    worst: list[ExampleImage]
    is_truth_known: bool


def choose_examples(
    paths: Paths, per_tag: pl.DataFrame, truth: Truth | None = None
) -> Examples:
    """Returns SHOWN images by hash, and EXTREMES of the best and of the worst.

    Those by hash have the smallest SHA-256 of their md5, which also decides between
    images of the same F1. No image is both best and worst. per_tag: schemas.PER_TAG,
    ordered by label_id.
    """
    records = predictions.test_images(paths, per_tag["threshold"].to_list()).to_dicts()
    records.sort(key=lambda record: packs.sampling_key(record["md5"]))
    typical = records[:SHOWN]
    best, worst = _extremes(records)
    by_md5 = _examples(paths, [*typical, *best, *worst], per_tag, truth)
    return Examples(
        typical=[by_md5[record["md5"]] for record in typical],
        best=[by_md5[record["md5"]] for record in best],
        worst=[by_md5[record["md5"]] for record in worst],
        is_truth_known=truth is not None,
    )


def _extremes(records: list[Record]) -> tuple[list[Record], list[Record]]:
    """Returns the records with the highest F1, and those with the lowest.

    Of equals, those that come first in `records`.
    """
    ranked = [record for record in records if record["f1"] is not None]
    most = min(EXTREMES, len(ranked) // 2)
    ranked.sort(key=lambda record: -record["f1"])
    best = ranked[:most]
    # In the order of `records` again, so that the sort leaves equals in it.
    left = {record["md5"] for record in ranked[most:]}
    others = [record for record in records if record["md5"] in left]
    others.sort(key=lambda record: record["f1"])
    return best, others[:most]


def _examples(
    paths: Paths, chosen: list[Record], per_tag: pl.DataFrame, truth: Truth | None
) -> dict[str, ExampleImage]:
    """Returns the chosen images by md5, each read once."""
    md5s = sorted({record["md5"] for record in chosen})
    scores = predictions.scores(paths, md5s, per_tag.height)
    bodies = thumbnails.read_bodies(paths, chosen)
    by_md5 = {}
    for record in chosen:
        md5 = record["md5"]
        pack, body = bodies[md5]
        small = _thumbnail(paths, pack, body)
        by_md5[md5] = _example(record, body, small, scores[md5], per_tag, truth)
    return by_md5


def _thumbnail(paths: Paths, pack: str, body: bytes) -> Thumbnail:
    try:
        return thumbnails.encode(images.decode(body, at_least=2 * SIDE))
    except Undecodable as error:
        raise parquet.corrupt_file_error(paths.images / pack, error) from error


def _example(
    record: Record,
    body: bytes,
    image: Thumbnail,
    scores: list[float],
    per_tag: pl.DataFrame,
    truth: Truth | None,
) -> ExampleImage:
    names = per_tag["name"].to_list()
    thresholds = per_tag["threshold"].to_list()
    given = set(record["label_ids"])
    predicted = _predicted(scores, thresholds)
    true_names = truth(record["post_id"]) if truth else None

    def tags(labels: Iterable[int]) -> list[TagScore]:
        return _tag_scores(labels, names, scores, true_names)

    unseen: set[int] = set()
    if true_names is not None:
        true = {label for label, name in enumerate(names) if name in true_names}
        unseen = true - given - predicted
    return ExampleImage(
        post_id=record["post_id"],
        image=image,
        f1=record["f1"],
        correct=tags(given & predicted),
        missed=tags(given - predicted),
        wrong=tags(predicted - given),
        unseen=tags(unseen),
        body=body,
        given=frozenset(names[label] for label in given),
    )


def _predicted(scores: list[float], thresholds: list[float]) -> set[int]:
    """Returns the labels whose score reaches their threshold."""
    labels = set()
    for label, score in enumerate(scores):
        if score >= thresholds[label]:
            labels.add(label)
    return labels


def _tag_scores(
    labels: Iterable[int],
    names: list[str],
    scores: list[float],
    true_names: frozenset[str] | None,
) -> list[TagScore]:
    """Returns the labels by falling score, then by name."""
    tags = []
    for label in labels:
        name = names[label]
        is_true = None if true_names is None else name in true_names
        tags.append(TagScore(name, scores[label], is_true))
    return sorted(tags, key=lambda tag: (-tag.score, tag.name))
