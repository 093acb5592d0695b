"""Near-duplicates: copies are found however they were made.

And unrelated images are left alone.
"""

import io
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from e6tag.image_files.jpeg import first_scan
from pipeline.manifest import duplicates, fingerprint, hamming_index, leakage
from pipeline.manifest.hamming_index import pairs_within_distance
from sandbox.board.drawn import SandboxBoard
from sandbox.board.provenance import index_of, origin_of

SEED = 621


class Drawings:
    """Files of the sandbox by index of their post."""

    def __init__(self) -> None:
        board = SandboxBoard(posts=3_000)
        self._posts = {
            index_of(post.id): post
            for post in board.posts
            if post.ext in ("jpg", "png", "webp")
        }
        self._board = board

    def kind(self, kind: str, count: int) -> list[tuple[bytes, bytes]]:
        """Returns copies of one kind with their sources; originals with themselves."""
        found = [
            (index, max(origin_of(SEED, index).source, 0))
            for index in self._posts
            if self._is(kind, index)
        ]
        return [
            (self._file(index), self._file(source)) for index, source in found[:count]
        ]

    def _is(self, kind: str, index: int) -> bool:
        origin = origin_of(SEED, index)
        return origin.kind == kind and (
            kind == "original" or origin.source in self._posts
        )

    def _file(self, index: int) -> bytes:
        return (
            self._board.original(self._posts[index].md5)
            if index in self._posts
            else b""
        )


@pytest.fixture(scope="module")
def drawings() -> Drawings:
    return Drawings()


@pytest.fixture(scope="module")
def originals(drawings: Drawings) -> list[bytes]:
    return [body for body, _ in drawings.kind("original", 250)]


def table(pictures: list[tuple[str, bytes]]) -> pl.DataFrame:
    rows = [
        (
            number,
            f"{number:032x}",
            split,
            one.phash,
            one.hashes.tobytes(),
            one.thumbnail.tobytes(),
        )
        for number, (split, body) in enumerate(pictures)
        for one in [fingerprint.fingerprint(body)]
    ]
    schema = {
        "post_id": pl.Int64,
        "md5": pl.String,
        "split": pl.String,
        "phash": pl.UInt64,
    }
    return pl.DataFrame(
        rows,
        schema={**schema, "hashes": pl.Binary, "thumbnail": pl.Binary},
        orient="row",
    )


def share_found(pairs: list[tuple[bytes, bytes]]) -> float:
    """Returns the share of copies in test rejected for a source in training."""
    pictures = [
        one for copy, source in pairs for one in (("train", source), ("test", copy))
    ]
    found = duplicates.find(table(pictures), 6)
    assert set(found["split"]) <= {"test"}
    return found.height / len(pairs)


@pytest.mark.parametrize(
    ("kind", "share"), [("copy", 0.99), ("cropped", 0.95), ("recoloured", 0.6)]
)
def test_planted_copies_of_the_sandbox_are_found(
    drawings: Drawings, kind: str, share: float
) -> None:
    pairs = drawings.kind(kind, 100)
    assert len(pairs) > 30
    assert share_found(pairs) >= share


def encoded(picture: Image.Image, **options: object) -> bytes:
    picture.save(out := io.BytesIO(), "JPEG", **options)
    return out.getvalue()


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body)).convert("RGB")


@pytest.mark.parametrize(
    ("change", "share"),
    [
        pytest.param(
            lambda picture: encoded(picture, quality=40), 0.98, id="re-encoded"
        ),
        pytest.param(
            lambda picture: encoded(picture, quality=90, progressive=True),
            0.98,
            id="progressive",
        ),
        pytest.param(
            lambda picture: encoded(
                picture.resize((picture.width // 3, picture.height // 3))
            ),
            0.98,
            id="small",
        ),
        pytest.param(
            lambda picture: encoded(
                picture.crop((round(0.05 * picture.width), 0, *picture.size))
            ),
            0.95,
            id="one side cut",
        ),
    ],
)
def test_copies_made_by_others_are_found(
    originals: list[bytes], change: Callable[[Image.Image], bytes], share: float
) -> None:
    assert (
        share_found([(change(opened(body)), body) for body in originals[:100]]) >= share
    )


def test_unrelated_pictures_are_not_linked(originals: list[bytes]) -> None:
    records = table([("test", body) for body in originals])
    hashes = np.frombuffer(b"".join(records["hashes"]), np.uint64).reshape(
        len(originals), 2, -1
    )
    thumbnails = np.frombuffer(b"".join(records["thumbnail"]), np.uint8).reshape(
        -1, 16, 16, 4
    )
    found = duplicates.find_links(
        hashes, thumbnails, np.ones(len(originals), dtype=np.int8), 6
    )
    pairs = {
        tuple(sorted(pair))
        for one, other in found
        for pair in zip(one.tolist(), other.tolist(), strict=True)
    }
    assert len(pairs) <= len(originals) * (len(originals) - 1) / 2 / 10_000


def test_group_is_told_by_its_links_and_only_its_first_split_stays(
    originals: list[bytes],
) -> None:
    whole = opened(originals[0])
    chain = [
        whole.crop((0, 0, round((1 - cut) * whole.width), whole.height))
        for cut in (0, 0.06, 0.12, 0.18)
    ]
    splits = ["train", "test", "test", "validation"]
    found = duplicates.find(
        table(
            [(split, encoded(one)) for split, one in zip(splits, chain, strict=True)]
        ),
        6,
    )
    assert found.select("post_id", "reason", "detail").rows() == [
        (number, "near_duplicate", "of post 0") for number in (1, 2, 3)
    ]


def test_pictures_of_one_template_are_told_alike_however_few_pairs_are_held(
    originals: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        (split, body)
        for body in originals[:3]
        for split in ["train", "test", "validation"] * 4
    ]
    whole = duplicates.find(table(rows), 6)
    assert whole.filter(reason="near_duplicate").height == 24
    monkeypatch.setattr(hamming_index, "_CANDIDATES", 5)
    monkeypatch.setattr(duplicates, "_JOINED", 3)
    assert duplicates.find(table(rows), 6).equals(whole)


def test_blank_pictures_are_not_taken_for_one_another() -> None:
    blank = [
        encoded(Image.new("RGB", (300, 200), colour))
        for colour in ("white", "black", "red", "white")
    ]
    assert duplicates.find(
        table([("train", blank[0]), *(("test", one) for one in blank[1:])]), 6
    ).is_empty()


def test_first_scan_tells_the_same_as_the_whole_file(originals: list[bytes]) -> None:
    for body in originals[:20]:
        large = opened(body).resize((900, 700))
        progressive = encoded(large, quality=90, progressive=True)
        start = first_scan(progressive)
        assert start is not None
        assert len(start) < len(progressive) / 2
        differing = (
            fingerprint.fingerprint(progressive).hashes
            ^ fingerprint.fingerprint(encoded(large, quality=90)).hashes
        )
        assert np.bitwise_count(differing).max() <= 4


def test_baseline_jpeg_has_no_first_scan_to_cut_at(originals: list[bytes]) -> None:
    assert first_scan(encoded(opened(originals[0]))) is None


def test_first_scan_that_lacks_a_colour_is_not_enough(originals: list[bytes]) -> None:
    progressive = bytearray(encoded(opened(originals[0]), progressive=True))
    scan = progressive.find(b"\xff\xda")
    assert progressive[scan + 4] == 3
    progressive[scan + 4] = 1
    assert first_scan(bytes(progressive)) is None


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60),
    st.integers(0, 16),
    st.randoms(),
)
@settings(max_examples=40, deadline=None)
def test_search_finds_just_the_pairs_that_brute_force_finds(
    values: list[int], distance: int, random
) -> None:  # type: ignore[no-untyped-def]
    near = [
        value ^ (1 << random.randrange(64)) ^ (1 << random.randrange(64))
        for value in values
    ]
    hashes = np.array(values + near, dtype=np.uint64)
    found = [
        pair
        for row, other in pairs_within_distance(hashes, hashes, distance)
        for pair in zip(row, other, strict=True)
    ]
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    assert sorted(found) == sorted(zip(*np.nonzero(apart <= distance), strict=True))


def test_of_two_posts_with_one_picture_the_first_stays(originals: list[bytes]) -> None:
    records = table([("test", originals[0]), ("train", originals[1])]).with_columns(
        md5=pl.lit("0" * 32)
    )
    assert duplicates.find(records, 0).select("post_id", "reason").rows() == [
        (0, "same_image")
    ]


def test_leakage_tells_copies_from_strangers() -> None:
    rng = np.random.default_rng(3)
    md5s = [f"{number:032x}" for number in range(400)]
    train = pl.DataFrame(
        {"md5": md5s, "phash": rng.integers(0, 2**64 - 1, 400, dtype=np.uint64)}
    )
    found = leakage.distances(train, train.head(50))
    assert found.height == 65
    assert found["nearest"].to_list()[:2] == [50, 0]
    strangers = train.with_columns(
        phash=pl.Series(rng.integers(0, 2**64 - 1, 400, dtype=np.uint64))
    ).head(50)
    found = leakage.distances(train, strangers)
    mean = {
        name: (found["distance"] * found[name]).sum() / 50
        for name in ("nearest", "random")
    }
    assert 10 < mean["nearest"] < mean["random"]
    assert found["nearest"].sum() == found["random"].sum() == 50


def test_leakage_of_empty_splits_is_empty() -> None:
    empty = pl.DataFrame(schema={"md5": pl.String, "phash": pl.UInt64})
    assert leakage.distances(empty, empty)["nearest"].sum() == 0
