"""Inference: order, bounded memory, and what becomes of unreadable inputs."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from e6tag.inference import Inferred, infer
from e6tag.inputs import Input
from e6tag.tagger import Tagger
from tests.builders import toy_bundle, toy_images
from tests.builders.toy_images import BLUE, GREEN, RED

COLOURS = (RED, GREEN, BLUE)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    return Tagger(toy_bundle.write_bundle(tmp_path_factory.mktemp("bundle")))


def sources(folder: Path, images: int) -> list[Input]:
    """Inputs of three colours in turn; every fifth is no image."""
    found = []
    for number in range(images):
        path = folder / f"{number}.png"
        path.write_bytes(b"broken")
        if number % 5 != 4:
            path.write_bytes(toy_images.image(COLOURS[number % 3]))
        found.append(Input(path.name, path))
    return found


def highest(inferred: Inferred) -> int:
    assert inferred.outputs is not None
    return int(inferred.outputs.scores[0, :3].argmax())


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_order_is_that_of_the_inputs(
    tagger: Tagger, tmp_path: Path, batch_size: int
) -> None:
    given = sources(tmp_path, images=21)
    found = list(infer(tagger, given, batch_size=batch_size, workers=3))
    assert [one.source for one in found] == given
    for number, one in enumerate(found):
        if number % 5 == 4:
            assert (
                one.failure
                == "not an image; read are JPEG, PNG, WebP, GIF, BMP and AVIF"
            )
        else:
            assert highest(one) == number % 3
            assert one.outputs is not None
            assert one.outputs.embeddings.shape == (1, 4)


def test_no_more_than_three_batches_are_read_ahead(
    tagger: Tagger, tmp_path: Path
) -> None:
    path = toy_images.write(tmp_path / "a.png", RED)
    read = 0

    def endless() -> Iterator[Input]:
        nonlocal read
        for number in count():
            read += 1
            yield Input(str(number), path)

    for _ in islice(infer(tagger, endless(), batch_size=4, workers=2), 20):
        pass
    assert read <= 20 + 3 * 4


def test_batches_change_no_answer(tagger: Tagger, tmp_path: Path) -> None:
    given = sources(tmp_path, images=4)
    alone = [one.outputs for one in infer(tagger, given, batch_size=1)]
    together = [one.outputs for one in infer(tagger, given, batch_size=4)]
    for one, other in zip(alone, together, strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


def test_nothing_at_all(tagger: Tagger) -> None:
    assert list(infer(tagger, [])) == []
