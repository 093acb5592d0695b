"""Nearest images: the index finds what the exact search finds, and follows the file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from e6tag import index
from e6tag.embeddings import EmbeddingsError, ImageFile, Row
from e6tag.embeddings.file import EmbeddingsFile
from e6tag.embeddings.update import Update
from e6tag.index import SimilarImages, index_path
from tests.builders.project import ROOT

DIMENSION = 16
IMAGES = 600


def embedding(number: int) -> np.ndarray:
    """Images hang together in threes."""
    centre = np.random.default_rng(number // 3).normal(size=DIMENSION)
    own = np.random.default_rng(10_000 + number).normal(size=DIMENSION)
    return (centre + 0.05 * own).astype(np.float32)


def write(target: Path, numbers: range, model: str = "ab" * 32) -> EmbeddingsFile:
    target.unlink(missing_ok=True)
    with Update(target, model=model, dimension=DIMENSION) as update:
        rows = []
        for number in numbers:
            file = ImageFile(f"/images/{number:04}.png", 100, 1)
            rows.append(Row(file, number + 1, 2, embedding(number)))
        update.add(rows)
        update.publish()
    return EmbeddingsFile(target)


def opened(file: EmbeddingsFile) -> SimilarImages:
    similar = SimilarImages(file)
    similar.open_index()
    return similar


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "photos.parquet"


@pytest.fixture
def similar(target: Path) -> SimilarImages:
    return opened(write(target, range(IMAGES)))


def numbers(found: list[index.Neighbour]) -> list[int]:
    return [int(Path(one.path).stem) for one in found]


@pytest.mark.parametrize("exact", [True, False])
def test_nearest_are_those_of_the_same_centre(
    similar: SimilarImages, exact: bool
) -> None:
    for number in range(IMAGES):
        found = similar.nearest(embedding(number), 3, exact=exact)
        first = number // 3 * 3
        assert set(numbers(found)) == {first, first + 1, first + 2}
        assert numbers(found)[0] == number
        assert found[0].similarity == pytest.approx(1, abs=2e-3)
        assert found[0].width == number + 1


def test_index_agrees_with_the_exact_search(similar: SimilarImages) -> None:
    shared = 0
    for number in range(0, IMAGES, 10):
        query = embedding(number + 1_000_000)
        by_index = numbers(similar.nearest(query, 10))
        shared += len({*by_index} & {*numbers(similar.nearest(query, 10, exact=True))})
    assert shared >= 0.99 * 600


def test_image_itself_can_be_left_out(similar: SimilarImages) -> None:
    found = similar.nearest(embedding(9), 2, without="/images/0009.png")
    assert set(numbers(found)) == {10, 11}


@pytest.mark.parametrize("exact", [True, False])
def test_more_than_there_are_gives_all(similar: SimilarImages, exact: bool) -> None:
    found = similar.nearest(embedding(0), 10 * IMAGES, exact=exact)
    assert sorted(numbers(found)) == list(range(IMAGES))


def test_empty_file_has_no_neighbours(target: Path) -> None:
    similar = opened(write(target, range(0)))
    assert similar.nearest(embedding(0), 5) == []
    assert similar.pairs(0.5) == []


def test_query_of_another_dimension_is_refused(similar: SimilarImages) -> None:
    with pytest.raises(EmbeddingsError, match="has 3 dimensions"):
        similar.nearest(np.ones(3, np.float32), 5)


def added(file: EmbeddingsFile) -> int:
    """Opens the index; returns how many images were added to it."""
    seen = {}
    SimilarImages(file).open_index(progress=seen.__setitem__)
    return max(seen, default=0)


def test_index_is_built_once_and_then_updated(target: Path) -> None:
    assert added(write(target, range(IMAGES))) == IMAGES
    assert added(EmbeddingsFile(target)) == 0
    later = write(target, range(20, IMAGES + 30))
    assert added(later) == 30
    for number in (0, 10, 300):
        found = opened(later).nearest(embedding(number), 3)
        exact = opened(later).nearest(embedding(number), 3, exact=True)
        assert numbers(found) == numbers(exact)
    assert opened(later).nearest(embedding(IMAGES + 29), 1)[0].similarity > 0.99


def test_index_that_lost_much_is_made_anew(target: Path) -> None:
    added(write(target, range(IMAGES)))
    assert added(write(target, range(300, IMAGES))) == 300


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no index" * 100, id="foreign"),
        pytest.param(None, id="truncated"),
    ],
)
def test_damaged_index_is_made_anew(target: Path, damage: bytes | None) -> None:
    file = write(target, range(IMAGES))
    added(file)
    place = index_path(target)
    if damage is None:
        damage = place.read_bytes()[: place.stat().st_size // 2]
    place.write_bytes(damage)
    assert added(file) == IMAGES
    assert added(file) == 0


def test_index_with_one_changed_byte_is_made_anew(target: Path) -> None:
    """Wherever: in the graph, usearch would follow it to other images, or crash."""
    file = write(target, range(100))
    added(file)
    place = index_path(target)
    good = place.read_bytes()
    for position in range(0, len(good), len(good) // 20):
        damaged = bytearray(good)
        damaged[position] ^= 0x55
        place.write_bytes(damaged)
        assert added(file) == 100


def test_index_without_a_checksum_is_made_anew(target: Path) -> None:
    """As earlier versions saved it."""
    file = write(target, range(100))
    added(file)
    place = index_path(target)
    place.write_bytes(place.read_bytes().partition(b"e6tag crc32:")[0])
    assert added(file) == 100


def test_index_of_another_model_is_not_used(target: Path) -> None:
    added(write(target, range(IMAGES)))
    assert added(write(target, range(IMAGES), model="cd" * 32)) == IMAGES


def expected_pairs(count: int) -> set[tuple[int, int]]:
    pairs = set()
    for first in range(0, count, 3):
        pairs |= {(first, first + 1), (first, first + 2), (first + 1, first + 2)}
    return pairs


@pytest.fixture
def by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has few images searched as many are."""
    monkeypatch.setattr(index, "SMALL", 0)


@pytest.mark.usefixtures("by_index")
@pytest.mark.parametrize("exact", [True, False])
def test_pairs_are_all_and_each_once(similar: SimilarImages, exact: bool) -> None:
    pairs = similar.pairs(0.95, exact=exact)
    found = [(int(Path(p.first).stem), int(Path(p.second).stem)) for p in pairs]
    assert len(found) == len(set(found))
    assert set(found) == expected_pairs(IMAGES)
    similarities = [pair.similarity for pair in pairs]
    assert similarities == sorted(similarities, reverse=True)


@pytest.mark.usefixtures("by_index")
def test_more_equal_images_than_the_index_is_asked_for(target: Path) -> None:
    with Update(target, model="ab" * 32, dimension=DIMENSION) as update:
        rows = []
        for number in range(300):
            file = ImageFile(f"/images/{number:04}.png", 100, 1)
            rows.append(Row(file, 1, 1, embedding(0 if number < 100 else number)))
        update.add(rows)
        update.publish()
    pairs = opened(EmbeddingsFile(target)).pairs(0.999)
    assert len(pairs) >= 100 * 99 // 2


@pytest.mark.usefixtures("by_index")
def test_pairs_can_be_limited_to_a_folder(similar: SimilarImages) -> None:
    def is_wanted(path: str) -> bool:
        return int(Path(path).stem) in {3, 5, 6}

    for exact in (True, False):
        pairs = similar.pairs(0.95, exact=exact, is_wanted=is_wanted)
        assert [(p.first[-8:], p.second[-8:]) for p in pairs] == [
            ("0003.png", "0005.png")
        ]


BUILD = """
import os, sys
from pathlib import Path
from e6tag import index
from e6tag.embeddings.file import EmbeddingsFile
from e6tag.index import SimilarImages
index._CHUNK = 100
index._SAVED = 100  # after each chunk
images = SimilarImages(EmbeddingsFile(Path(sys.argv[1])))
added = []
images.open_index(lambda done, total: added.append(total))
print(len(images._index), len(added))
"""


def test_index_is_built_by_one_process_at_a_time(target: Path) -> None:
    write(target, range(2_000))
    command = [sys.executable, "-c", BUILD, str(target)]
    building = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)
    ]
    printed = [process.communicate()[0].split() for process in building]
    assert [held for held, _ in printed] == [b"2000"] * 4
    # One builds it, and the others wait for it.
    assert sorted(added for _, added in printed) == [b"0", b"0", b"0", b"20"]
    assert {path.name for path in target.parent.iterdir()} == {
        target.name,
        index_path(target).name,
    }


def test_lock_of_a_killed_process_is_free(target: Path) -> None:
    file = write(target, range(100))
    place = index_path(target)
    place.with_name(f".{place.name}.lock").touch()
    opened(file)
    assert list(target.parent.glob(".*")) == []
