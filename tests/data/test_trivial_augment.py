"""TrivialAugment: each image is changed in one way, as Pillow would change it."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.data.test_augment import SEED, SIZE, gradient, noise

FACTOR = 1 + 0.99 * 0.6  # of an enhancement with strength 0.6

Reference = Callable[[Image.Image], Image.Image]

PILLOW: dict[str, Reference] = {
    "auto-contrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "solarize": lambda image: ImageOps.solarize(image, 103),
    "posterize": lambda image: ImageOps.posterize(image, 4),
    "colour": lambda image: ImageEnhance.Color(image).enhance(FACTOR),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(FACTOR),
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(FACTOR),
    "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(FACTOR),
}
"""What a strength of 0.6 is in Pillow."""

ROUNDING = 2
"""How far a pixel may be from Pillow's, which rounds twice or cuts."""


def changed(name: str, images: np.ndarray, strength: float) -> np.ndarray:
    """Returns the images, all changed in one way."""
    from pipeline.data.trivial_augment import CHANGES

    strengths = np.full(len(images), strength, np.float32)
    return np.asarray(CHANGES[name](images, strengths))


def dark(images: int) -> np.ndarray:
    """Returns random images of few, dark values, other ones in each channel."""
    return noise(images) // np.array([2, 3, 4], np.uint8) + np.uint8(20)


@pytest.mark.parametrize("name", PILLOW)
@pytest.mark.parametrize("make", [noise, dark, gradient])
def test_a_change_of_colours_is_that_of_pillow(
    name: str, make: Callable[[int], np.ndarray]
) -> None:
    images = make(2)
    found = changed(name, images, 0.6).astype(int)
    for image, ours in zip(images, found, strict=True):
        expected = np.asarray(PILLOW[name](Image.fromarray(image)), int)
        assert np.abs(ours - expected).max() <= ROUNDING


@pytest.mark.parametrize("name", ["solarize", "posterize", "equalize"])
def test_changes_by_whole_numbers_are_exactly_those_of_pillow(name: str) -> None:
    for images in (noise(2), dark(2)):
        found = changed(name, images, 0.6)
        for image, ours in zip(images, found, strict=True):
            expected = np.asarray(PILLOW[name](Image.fromarray(image)))
            assert np.array_equal(ours, expected)


@pytest.mark.parametrize("name", ["auto-contrast", "equalize"])
def test_an_image_of_one_colour_stays_as_it_is(name: str) -> None:
    images = np.full((1, SIZE, SIZE, 3), 90, np.uint8)
    assert np.array_equal(changed(name, images, 0.6), images)


def test_strength_zero_changes_nothing_but_what_has_no_strength() -> None:
    from pipeline.data.trivial_augment import CHANGES

    images = noise(2)
    moved = {
        name
        for name in CHANGES
        if not np.array_equal(changed(name, images, 0.0), images)
    }
    # Noise has all values already, so that auto-contrast finds nothing to stretch.
    assert moved == {"equalize"}


@pytest.mark.parametrize(
    ("name", "across", "down"),
    [
        pytest.param("shear x", 0.99, 0.0, id="x"),
        pytest.param("shear y", 0.0, 0.99, id="y"),
    ],
)
def test_a_shear_moves_rows_or_columns_in_proportion(
    name: str, across: float, down: float
) -> None:
    image = changed(name, 4 * gradient(1), 0.5)[0].astype(float) / 4
    middle = SIZE // 2
    rows, columns = np.mgrid[middle - 4 : middle + 4, middle - 4 : middle + 4]
    centre = (SIZE - 1) / 2
    near = image[middle - 4 : middle + 4, middle - 4 : middle + 4]
    expected_columns = columns + 0.5 * across * (rows - centre)
    expected_rows = rows + 0.5 * down * (columns - centre)
    assert np.abs(near[..., 0] - expected_columns).max() < 0.2
    assert np.abs(near[..., 1] - expected_rows).max() < 0.2


def test_a_translation_is_a_share_of_the_size() -> None:
    image = gradient(1)
    pixels = SIZE // 7  # 4.57 at strength 1
    strength = pixels / (SIZE * 32 / 224)
    right = changed("translate x", image, strength)[0]
    down = changed("translate y", image, -strength)[0]
    assert right[10, 10].tolist() == [10 + pixels, 10, 0]
    assert down[10, 10].tolist() == [10, 10 - pixels, 0]


def test_a_rotation_of_two_thirds_is_a_quarter_turn() -> None:
    image = noise(1)
    turned = changed("rotate", image, 90 / 135)
    assert np.abs(turned.astype(int) - np.rot90(image, axes=(1, 2))).max() <= 1


def test_each_image_gets_the_change_chosen_for_it() -> None:
    from pipeline.data.trivial_augment import CHANGES, change_each

    names = list(CHANGES)
    images = noise(len(names))
    order = np.random.default_rng(1).permutation(len(names)).astype(np.int32)
    strengths = np.linspace(-1, 1, len(names)).astype(np.float32)
    found = np.asarray(change_each(images, order, strengths))
    for place, chosen in enumerate(order):
        alone = images[place : place + 1]
        expected = changed(names[chosen], alone, float(strengths[place]))
        assert np.array_equal(found[place], expected[0]), names[chosen]


def test_changes_that_no_image_gets_do_no_harm() -> None:
    from pipeline.data.trivial_augment import change_each

    images = noise(2)
    chosen = np.zeros(2, np.int32)
    assert np.array_equal(change_each(images, chosen, np.ones(2, np.float32)), images)


def test_the_changes_are_drawn_equally_often_and_in_all_strengths() -> None:
    from pipeline.data.trivial_augment import CHANGES, draw_changes

    chosen, strengths = draw_changes(200 * len(CHANGES), SEED)
    counts = np.bincount(chosen, minlength=len(CHANGES))
    assert len(counts) == len(CHANGES)
    assert counts.min() > 150
    assert counts.max() < 250
    levels, uses = np.unique(np.round(30 * np.asarray(strengths)), return_counts=True)
    assert levels.tolist() == list(range(-30, 31))
    assert uses.min() > 20
