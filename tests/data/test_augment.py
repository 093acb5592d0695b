"""Augmentation: each image mirrored or not, shifted or not, and nothing invented."""

import numpy as np

SIZE = 32
SEED = [1, 2]


def gradient(images: int) -> np.ndarray:
    """Returns images whose red is the column and whose green is the row."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[..., 0] = np.arange(SIZE)[None, :]
    image[..., 1] = np.arange(SIZE)[:, None]
    return np.broadcast_to(image, (images, SIZE, SIZE, 3)).copy()


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
