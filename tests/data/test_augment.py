"""Augmentation: each image mirrored or not, shifted or not, and nothing invented."""

import numpy as np
import pytest

SIZE = 32
SEED = [1, 2]


def gradient(images: int) -> np.ndarray:
    """Returns images whose red is the column and whose green is the row."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[..., 0] = np.arange(SIZE)[None, :]
    image[..., 1] = np.arange(SIZE)[:, None]
    return np.broadcast_to(image, (images, SIZE, SIZE, 3)).copy()


def noise(images: int) -> np.ndarray:
    """Returns random images."""
    shape = (images, SIZE, SIZE, 3)
    return np.random.default_rng(621).integers(0, 256, shape, np.uint8)


def mirrored_at_edges(positions: np.ndarray) -> np.ndarray:
    """Returns positions outside the image mirrored at its edges."""
    positions = np.where(positions < 0, -1 - positions, positions)
    return np.where(positions >= SIZE, 2 * SIZE - 1 - positions, positions)


def test_nothing_changes_when_both_are_off() -> None:
    from pipeline.data.augment import augment

    images = gradient(4)
    assert np.array_equal(augment(images, SEED, flip=False, shift=0.0), images)


def test_about_half_of_the_images_are_mirrored_and_no_other_change_is_made() -> None:
    from pipeline.data.augment import augment

    images = gradient(64)
    changed = np.asarray(augment(images, SEED, flip=True, shift=0.0))
    mirrored = (changed == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (changed == images).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 16 < mirrored.sum() < 48


def test_each_image_is_shifted_by_its_own_whole_pixels_with_mirrored_edges() -> None:
    from pipeline.data.augment import augment

    reach = 3
    images = gradient(64)
    shifted = np.asarray(augment(images, SEED, flip=False, shift=reach / SIZE))
    shifts = set()
    for image in shifted.astype(int):
        # The middle is never filled from an edge, so it tells the shift.
        middle = SIZE // 2
        right = int(image[middle, middle, 0]) - middle
        down = int(image[middle, middle, 1]) - middle
        columns = mirrored_at_edges(np.arange(SIZE) + right)
        rows = mirrored_at_edges(np.arange(SIZE) + down)
        assert np.array_equal(image[..., 0], np.broadcast_to(columns, (SIZE, SIZE)))
        assert np.array_equal(image[..., 1], np.broadcast_to(rows, (SIZE, SIZE)).T)
        shifts.add((right, down))
    reached = {abs(value) for shift in shifts for value in shift}
    assert reached == set(range(reach + 1))
    assert len(shifts) > 16


def test_the_seed_alone_decides() -> None:
    from pipeline.data.augment import augment

    images = gradient(16)
    once = np.asarray(augment(images, SEED, flip=True, shift=0.1))
    again = np.asarray(augment(images, SEED, flip=True, shift=0.1))
    other = np.asarray(augment(images, [1, 3], flip=True, shift=0.1))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"rotation": 15.0}, id="rotation"),
        pytest.param({"zoom": 0.2}, id="zoom"),
        pytest.param({"contrast": 0.4}, id="contrast"),
        pytest.param({"trivial_augment": True}, id="TrivialAugment"),
        pytest.param(
            {"rotation": 5.0, "zoom": 0.1, "contrast": 0.1, "trivial_augment": True},
            id="all",
        ),
    ],
)
def test_the_seed_alone_decides_every_change(
    changes: dict[str, float | bool],
) -> None:
    from pipeline.data.augment import augment

    images = noise(16)
    once = np.asarray(augment(images, SEED, flip=True, shift=0.1, **changes))
    again = np.asarray(augment(images, SEED, flip=True, shift=0.1, **changes))
    other = np.asarray(augment(images, [1, 3], flip=True, shift=0.1, **changes))
    without = np.asarray(augment(images, SEED, flip=True, shift=0.1))
    assert once.dtype == np.uint8
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)
    assert not np.array_equal(once, without)


def test_images_are_mirrored_and_shifted_the_same_while_they_turn() -> None:
    """But for the turn, which is too small here to move a pixel."""
    from pipeline.data.augment import augment

    images = noise(32)
    moved = np.asarray(augment(images, SEED, flip=True, shift=0.1))
    turned = np.asarray(augment(images, SEED, flip=True, shift=0.1, rotation=1e-4))
    assert np.abs(turned.astype(int) - moved).max() <= 1


def test_rotation_and_zoom_stay_within_their_limits() -> None:
    """Told by where the colours of a gradient are found after the change."""
    from pipeline.data.augment import augment

    images = gradient(64)
    for changes, largest_angle, largest_zoom in (
        ({"rotation": 10.0}, 10.0, 0.0),
        ({"zoom": 0.1}, 0.0, 0.1),
    ):
        changed = augment(images, SEED, flip=False, shift=0.0, **changes)
        rows = np.asarray(changed)[:, 4:28, 4:28, 1].astype(float)
        columns = np.asarray(changed)[:, 4:28, 4:28, 0].astype(float)
        # How far column and row of the source go within 23 columns of the result.
        across = (columns[:, :, -1] - columns[:, :, 0]).mean(axis=1)
        down = (rows[:, :, -1] - rows[:, :, 0]).mean(axis=1)
        angles = np.degrees(np.arctan2(down, across))
        zooms = 23 / np.hypot(across, down) - 1
        assert np.abs(angles).max() <= largest_angle + 0.5
        assert np.abs(zooms).max() <= largest_zoom + 0.02
        assert max(np.abs(angles).max() / 10, np.abs(zooms).max() / 0.1) > 0.8


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turn_by_quarters_is_that_of_numpy(quarters: int) -> None:
    from pipeline.data.warp import rotations, warp

    images = noise(2)
    angles = np.full(2, quarters * np.pi / 2, np.float32)
    turned = warp(images, rotations(angles), np.zeros((2, 2), np.float32))
    assert np.array_equal(turned, np.rot90(images, quarters, axes=(1, 2)))


def test_a_zoom_by_two_shows_the_middle_twice_as_large() -> None:
    from pipeline.data.warp import warp

    images = 6 * gradient(1)
    matrix = np.eye(2, dtype=np.float32)[None] / 2
    zoomed = np.asarray(warp(images, matrix, np.zeros((1, 2), np.float32)))
    middle = (SIZE - 1) / 2
    columns = 6 * (middle + (np.arange(SIZE) - middle) / 2)
    assert np.array_equal(zoomed[0, 0, :, 0], np.round(columns))
    assert np.array_equal(zoomed[0, :, 0, 1], np.round(columns))


def test_what_a_warp_uncovers_is_the_mirrored_image() -> None:
    from pipeline.data.warp import warp

    images = gradient(1)
    offset = np.array([[0.0, 5.0]], np.float32)
    moved = np.asarray(warp(images, np.eye(2, dtype=np.float32)[None], offset))
    expected = mirrored_at_edges(np.arange(SIZE) + 5)
    assert np.array_equal(moved[0, 0, :, 0], expected)
    assert np.array_equal(moved[0, :, 0, 1], np.arange(SIZE))


def test_contrast_stretches_around_the_mean_colour_of_each_image() -> None:
    from pipeline.data.augment import with_contrast

    images = noise(3) // 2 + 64
    factors = np.array([1.0, 0.0, 0.5], np.float32)
    same, flat, half = np.asarray(with_contrast(images, factors))
    assert np.array_equal(same, images[0])
    assert np.array_equal(flat[0, 0], np.round(images[1].mean(axis=(0, 1))))
    assert flat.std(axis=(0, 1)).max() == 0
    mean = images[2].mean(axis=(0, 1))
    assert np.abs(half - (mean + images[2]) / 2).max() <= 0.5 + 1e-3


def test_contrast_is_limited_to_what_a_pixel_can_hold() -> None:
    from pipeline.data.augment import with_contrast

    images = noise(1)
    expected = 2.0 * images[0] - images[0].mean(axis=(0, 1))
    stretched = np.asarray(with_contrast(images, np.array([2.0], np.float32)))[0]
    assert np.array_equal(stretched == 255, expected >= 254.5)
    assert np.array_equal(stretched == 0, expected <= 0.5)


def test_images_and_labels_are_mixed_in_the_same_shares() -> None:
    from pipeline.data.augment import mix

    images = noise(3)
    labels = np.eye(3, dtype=np.uint8)
    shares = np.array([1.0, 0.25, 0.5], np.float32)
    mixed, mixed_labels = mix(images, labels, shares)
    assert mixed.dtype == np.uint8
    expected = [
        images[0],
        0.25 * images[1] + 0.75 * images[0],
        0.5 * images[2] + 0.5 * images[1],
    ]
    assert np.abs(np.asarray(mixed) - np.stack(expected)).max() <= 0.5
    expected_labels = [[1, 0, 0], [0.75, 0.25, 0], [0, 0.5, 0.5]]
    assert mixed_labels.dtype == np.float32
    assert np.array_equal(mixed_labels, expected_labels)


@pytest.mark.parametrize(("alpha", "deviation"), [(0.3, 0.3953), (1.0, 0.2887)])
def test_shares_of_mixup_follow_the_beta_distribution(
    alpha: float, deviation: float
) -> None:
    from pipeline.data.augment import mix_up

    count = 4_000
    images = np.zeros((count, 1, 1, 3), np.uint8)
    labels = (np.arange(count) % 2)[:, None]
    _, mixed = mix_up(images, labels, SEED, alpha=alpha)
    shares = np.asarray(mixed)[1::2, 0]
    assert abs(shares.mean() - 0.5) < 0.03
    assert abs(shares.std() - deviation) < 0.02


@pytest.mark.parametrize("alpha", [0.001, 10.0])
def test_mixup_with_an_extreme_alpha_gives_shares(alpha: float) -> None:
    from pipeline.data.augment import mix_up

    labels = np.ones((2_000, 1), np.uint8)
    images = np.full((2_000, 1, 1, 3), 7, np.uint8)
    mixed, mixed_labels = mix_up(images, labels, SEED, alpha=alpha)
    assert np.array_equal(mixed, images)
    assert np.allclose(mixed_labels, 1)
