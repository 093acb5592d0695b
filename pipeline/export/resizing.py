"""Resizing a square image by two constant matrices, within a graph.

Resizing by a linear filter is a matrix from the lines of an image to those of the
result, and the same one for its columns. So a graph needs no operator whose options
differ between versions and runtimes.
"""

import numpy as np
from PIL import Image

from e6tag import bundle


def matrix(fitted_size: int, network_size: int) -> np.ndarray:
    """Returns float32 [network_size, bundle.SIZE]: training's way from file to network.

    The shards hold images fitted to `fitted_size` pixels a side by Lanczos, which the
    loader resizes to `network_size` by antialiased bilinear interpolation. The same two
    filters, applied to an image of bundle.SIZE pixels, keep what training saw: bilinear
    alone would blur where the two sizes are equal. Nothing is rounded in between.
    """
    lanczos = _filter_matrix(bundle.SIZE, fitted_size, Image.Resampling.LANCZOS)
    bilinear = _filter_matrix(fitted_size, network_size, Image.Resampling.BILINEAR)
    return np.asarray(bilinear @ lanczos, np.float32)


def _filter_matrix(size: int, target: int, filter_: Image.Resampling) -> np.ndarray:
    """Returns a filter of Pillow as float64 [target, size].

    Column i is how the filter resizes a line that is 1 at i and 0 elsewhere. Pillow
    resizes images of mode F without rounding.
    """
    units = Image.fromarray(np.eye(size, dtype=np.float32))
    resized = units.resize((size, target), filter_)
    return np.asarray(resized, np.float64)
