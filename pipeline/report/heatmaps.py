"""Where in an image the bundle's network sees a tag, for some test images."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from e6tag import heatmaps, images
from e6tag.bundle import Tag
from e6tag.heatmaps import HeatmapModel
from e6tag.tagger import Floats, Tagger
from pipeline.paths import Paths
from pipeline.report import thumbnails
from pipeline.report.examples import ExampleImage
from pipeline.report.thumbnails import SIDE, Thumbnail

SHOWN = 8  # images; each has a run of the network and up to three heat maps

KINDS = ("correct", "missed", "wrong")
"""Given and predicted; given, not predicted; predicted, not given."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Where a tag was seen. kind: of KINDS. score: 0 to 1.

    is_lit: whether any position speaks for the tag.
    """

    kind: str
    name: str
    score: float
    image: Thumbnail
    is_lit: bool


@dataclass(frozen=True, slots=True)
class MappedImage:
    """An image with the heat maps of its surest tag of each kind."""

    post_id: int
    image: Thumbnail
    maps: list[HeatMap]


def draw(paths: Paths, examples: Iterable[ExampleImage]) -> list[MappedImage]:
    """Returns the first SHOWN images with their heat maps; raises BundleError."""
    # One thread: how sums are split over more would show in their last digits.
    tagger = Tagger(paths.bundle, threads=1)
    model = HeatmapModel(tagger)
    mapped = []
    for example in list(examples)[:SHOWN]:
        maps = _maps(tagger, model, example)
        mapped.append(MappedImage(example.post_id, example.image, maps))
    return mapped


def _maps(tagger: Tagger, model: HeatmapModel, example: ExampleImage) -> list[HeatMap]:
    outputs = tagger.run(tagger.prepare(example.body)[np.newaxis])
    scores = outputs.scores[0]
    decoded = images.decode(example.body, at_least=2 * SIDE)
    decoded.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    maps = []
    for kind, number in _surest(tagger, scores, example.given).items():
        tag = tagger.bundle.tags[number]
        grid = model.grid(outputs.features, tag)
        maps.append(_map(kind, tag, scores[number], decoded, grid, tagger.bundle.fit))
    return maps


def _map(
    kind: str, tag: Tag, score: float, image: Image.Image, grid: Floats, fit: str
) -> HeatMap:
    drawn = heatmaps.overlay(image, grid, fit)
    return HeatMap(
        kind=kind,
        name=tag.name,
        score=float(score),
        image=thumbnails.encode(drawn),
        is_lit=bool(grid.max() > 0),
    )


def _surest(tagger: Tagger, scores: Floats, given: frozenset[str]) -> dict[str, int]:
    """Returns the tag with the highest score of each kind that the image has."""
    applies = tagger.select(scores)
    surest: dict[str, int] = {}
    for number in np.argsort(-scores, kind="stable").tolist():
        is_given = tagger.bundle.tags[number].name in given
        if is_given:
            surest.setdefault("correct" if applies[number] else "missed", number)
        elif applies[number]:
            surest.setdefault("wrong", number)
    return {kind: surest[kind] for kind in KINDS if kind in surest}
