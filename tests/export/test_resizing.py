"""The constant matrices resize as the loader of the shards does."""

import numpy as np
import pytest
from PIL import Image

from pipeline.export import comparison, resizing
from pipeline.model import backend


@pytest.mark.parametrize(("fitted", "size"), [(448, 96), (448, 300)])
def test_resizing_equals_what_the_loader_does(fitted: int, size: int) -> None:
    """Where the shards hold images of 448 pixels, nothing comes in between."""
    backend.start("tensorflow")
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (2, 448, 448, 3), dtype=np.uint8)
    found = comparison.prepared(pixels, resizing.matrix(fitted, size))
    expected = tf.image.resize(pixels, (size, size), "bilinear", antialias=True).numpy()
    assert np.abs(found - expected).max() < 1e-2


def test_resizing_to_the_size_of_the_shards_is_lanczos() -> None:
    """As the shards are fitted: bilinear would blur what training saw sharp."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 448, 448, 3), dtype=np.uint8)
    found = comparison.prepared(pixels, resizing.matrix(256, 256))[0]
    image = Image.fromarray(pixels[0])
    expected = np.asarray(image.resize((256, 256), Image.Resampling.LANCZOS))
    # Pillow clips after each of the two passes.
    assert np.abs(found - expected).mean() < 0.5
