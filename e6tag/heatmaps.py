"""Heat maps: where in an image a network sees a tag, and an overlay that shows it."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from e6tag import bundle
from e6tag.bundle import BundleError, Tag
from e6tag.tagger import Floats, Tagger, check_model, open_session

MAX_SIDE = 1_600  # pixels of the longer side of an overlay; what screens show

_RAMP = np.array(
    [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)],
    np.float32,
)
"""Colours from no heat to the most, of equal steps in lightness: also for the
colour-blind, and in print."""

_DIMMED = 0.45  # share of an image's light that is left where there is no heat
_COVER = 0.75  # share of the heat's colour where there is the most


class HeatmapModel:
    """The network that makes heat maps, of an opened bundle."""

    def __init__(self, tagger: Tagger) -> None:
        """Opens heatmap.onnx; raises BundleError.

        tagger: of the same bundle, whose features it takes.
        """
        opened = tagger.bundle
        self._session = open_session(opened.heatmap_model)
        check_model(
            self._session,
            opened.heatmap_model,
            given=(bundle.FEATURES, tagger.features_shape),
            wanted=[bundle.HEATMAP],
        )
        columns = self._session.get_outputs()[0].shape[-1]
        if columns != len(opened.rows):
            raise BundleError(
                f"{opened.heatmap_model} has {columns} columns, {bundle.ROWS} has "
                f"{len(opened.rows)} rows"
            )

    def grid(self, features: Floats, tag: Tag) -> Floats:
        """Returns the heat map of a tag, float32 [h, w], over the fitted square.

        features: of one image, float32 [1, h, w, channels], as tagger.Outputs has them.
        """
        return np.ascontiguousarray(self.grids(features)[..., tag.row])

    def grids(self, features: Floats) -> Floats:
        """Returns the heat maps of all rows of the bundle, float32 [h, w, rows]."""
        found = self._session.run([bundle.HEATMAP], {bundle.FEATURES: features})
        return np.asarray(found[0][0], np.float32)


def overlay(image: Image.Image, grid: Floats, fit: str) -> Image.Image:
    """Returns an image with its heat map over it, at most MAX_SIDE pixels a side.

    image: upright RGB, not fitted. grid: of HeatmapModel. fit: how the image was fitted
    to the square that the network saw. The hottest position has the lightest colour,
    whatever its value; what speaks against the tag counts as no heat.
    """
    shown = image.copy()
    shown.thumbnail((MAX_SIDE, MAX_SIDE))
    heat = _over_image(shown.size, grid, fit)[..., np.newaxis]
    pixels = np.asarray(shown, np.float32)
    covered = _COVER * heat
    mixed = pixels * (_DIMMED + (1 - _DIMMED) * heat) * (1 - covered)
    mixed += _colours(heat[..., 0]) * covered
    return Image.fromarray(mixed.round().astype(np.uint8))


def to_png(image: Image.Image) -> bytes:
    """Returns an image as a PNG file."""
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


def _over_image(size: tuple[int, int], grid: Floats, fit: str) -> Floats:
    """Returns the heat of each pixel of an image, 0 to 1, float32 [height, width].

    size: width and height.
    """
    width, height = size
    target = size
    if fit == "crop":
        target = (min(size), min(size))
    stretched = Image.fromarray(grid).resize(
        target, Image.Resampling.BICUBIC, box=_box(size, grid, fit)
    )
    heat = np.zeros((height, width), np.float32)
    top = (height - target[1]) // 2
    left = (width - target[0]) // 2
    heat[top : top + target[1], left : left + target[0]] = np.asarray(stretched)
    highest = float(heat.max())
    if highest <= 0:
        return np.zeros_like(heat)
    return np.clip(heat / highest, 0, 1)


def _box(
    size: tuple[int, int], grid: Floats, fit: str
) -> tuple[float, float, float, float]:
    """Returns which part of a grid is over an image: left, top, right, bottom."""
    rows, columns = grid.shape
    across = down = 1.0
    if fit == "pad":
        across = size[0] / max(size)
        down = size[1] / max(size)
    left = columns * (1 - across) / 2
    top = rows * (1 - down) / 2
    return left, top, columns - left, rows - top


def _colours(heat: Floats) -> NDArray[np.float32]:
    """Returns the colour of each position, float32 [height, width, 3]."""
    steps = np.linspace(0, 1, len(_RAMP))
    channels = [np.interp(heat, steps, _RAMP[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)
