"""Hashing pictures and finding near-duplicates.

Rates, recall against brute force, planted copies.

    python bench/duplicates.py            # about 5 minutes on 2 cores

Prints the tables of bench/results/duplicates.md. Pictures are drawn by the sandbox;
500,000 hashes are random, half of them in clusters, as flat drawings are.
"""

import io
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.manifest import duplicates, fingerprint
from pipeline.manifest.hamming_index import pairs_within_distance
from sandbox.board.drawn import SandboxBoard
from sandbox.board.provenance import index_of, origin_of

RUNS = 5
SEED = 621
RECORDS, EVALUATED = 500_000, 50_000
BOARD, PLANTED, UNRELATED = 12_000, 250, 2_000


def main() -> None:
    """Prints every table."""
    pictures = Pictures(SandboxBoard(posts=BOARD))
    hashing(pictures)
    planted(pictures)
    recall()
    searching()
    print(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
    )


class Pictures:
    """Originals of the board by index, drawn when asked for."""

    def __init__(self, board: SandboxBoard) -> None:
        self.posts = {
            index_of(post.id): post
            for post in board.posts
            if post.ext in ("jpg", "png", "webp")
        }
        self._board = board

    def of(self, index: int) -> bytes:
        """Returns the file of the post with this index."""
        return self._board.original(self.posts[index].md5)

    def kind(self, kind: str) -> list[int]:
        """Returns indices of still posts of one kind of origin, with their source."""
        found = [index for index in self.posts if origin_of(SEED, index).kind == kind]
        return [
            index
            for index in found
            if kind == "original" or origin_of(SEED, index).source in self.posts
        ]


def hashing(pictures: Pictures) -> None:
    """Images per second and core: JPEGs of quality 90, shorter side 850 pixels."""
    sources = [
        (pictures.of(index), grain)
        for index in pictures.kind("original")[:30]
        for grain in (0, 12)
    ]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for progressive in (True, False):
            drawings = [
                as_sample(body, grain, progressive=progressive)
                for body, grain in sources
            ]
            one = rate(partial(each, drawings), len(drawings))
            list(pool.map(fingerprint.fingerprint, drawings))
            two = rate(partial(each, drawings, pool), len(drawings))
            print(
                f"hashing: {len(drawings)} "
                f"{'progressive' if progressive else 'baseline'} JPEGs of "
                f"{statistics.mean(map(len, drawings)) / 1e3:.0f} kB on average: "
                f"{one:,.0f} pictures/s in one process, "
                f"{two:,.0f}/s in two"
            )


def each(
    drawings: list[bytes], pool: ProcessPoolExecutor | None = None
) -> list[fingerprint.ImageFingerprint]:
    """Looks at every drawing, here or in the pool."""
    return list(
        map(fingerprint.fingerprint, drawings)
        if pool is None
        else pool.map(fingerprint.fingerprint, drawings, chunksize=5)
    )


def as_sample(body: bytes, grain: int, *, progressive: bool = True) -> bytes:
    """Returns the picture as the site would serve its sample.

    `grain` adds noise, as paint has, for big files.
    """
    with Image.open(io.BytesIO(body)) as opened:
        picture = opened.convert("RGB")
    scale = 850 / min(picture.size)
    picture = picture.resize(
        (round(picture.width * scale), round(picture.height * scale)),
        Image.Resampling.LANCZOS,
    )
    noise = np.random.default_rng(SEED).normal(
        0, grain, (picture.height, picture.width, 1)
    )
    noisy = Image.fromarray(
        np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    )
    noisy.save(out := io.BytesIO(), "JPEG", quality=90, progressive=progressive)
    return out.getvalue()


def planted(pictures: Pictures) -> None:
    """Share of planted copies found, by kind.

    And of unrelated pairs that pass for copies.
    """
    print("planted in the sandbox, distance 6:")
    for kind in ("copy", "cropped", "recoloured"):
        copies = pictures.kind(kind)[:PLANTED]
        pairs = [
            (pictures.of(index), pictures.of(origin_of(SEED, index).source))
            for index in copies
        ]
        report(kind, pairs)
    sources = [pictures.of(index) for index in pictures.kind("original")[:PLANTED]]
    for name, change in CHANGES.items():
        report(name, [(change(body), body) for body in sources])
    unrelated = [pictures.of(index) for index in pictures.kind("original")[-UNRELATED:]]
    found = linked(unrelated, np.full(len(unrelated), 2, dtype=np.int8))
    pairs_told = {tuple(sorted(pair)) for pair in found}
    print(
        f"  unrelated: {len(pairs_told)} of "
        f"{len(unrelated) * (len(unrelated) - 1) // 2:,} pairs"
    )


def report(name: str, pairs: list[tuple[bytes, bytes]]) -> None:
    """Prints the share of (copy, source) pairs that are linked."""
    bodies = [body for pair in pairs for body in pair]
    found = linked(bodies, np.tile(np.array([2, 0], dtype=np.int8), len(pairs)))
    hits = sum((2 * number, 2 * number + 1) in found for number in range(len(pairs)))
    print(f"  {name}: {hits} of {len(pairs)} found ({hits / len(pairs):.1%})")


def linked(bodies: list[bytes], ranks: NDArray[np.int8]) -> set[tuple[int, int]]:
    """Returns the links between pictures."""
    found = [fingerprint.fingerprint(body) for body in bodies]
    hashes, thumbnails = (
        np.stack([one.hashes for one in found]),
        np.stack([one.thumbnail for one in found]),
    )
    pairs = duplicates.find_links(hashes, thumbnails, ranks, 6)
    return {
        pair
        for one, other in pairs
        for pair in zip(one.tolist(), other.tolist(), strict=True)
    }


def changed(
    change: Callable[[Image.Image], Image.Image], quality: int = 85
) -> Callable[[bytes], bytes]:
    """Returns a function that changes a picture and encodes it anew."""

    def apply(body: bytes) -> bytes:
        with Image.open(io.BytesIO(body)) as opened:
            change(opened.convert("RGB")).save(
                out := io.BytesIO(), "JPEG", quality=quality
            )
        return out.getvalue()

    return apply


def cut(
    left: float, top: float, right: float, bottom: float
) -> Callable[[Image.Image], Image.Image]:
    """Returns a crop by shares of each side."""

    def crop(picture: Image.Image) -> Image.Image:
        width, height = picture.size
        return picture.crop(
            (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
        )

    return crop


CHANGES = {
    "re-encoded at quality 40": changed(lambda picture: picture, 40),
    "resized to a third": changed(
        lambda picture: picture.resize((picture.width // 3, picture.height // 3))
    ),
    "5 % cut off the top": changed(cut(0, 0.05, 0, 0)),
    "8 % cut off the left": changed(cut(0.08, 0, 0, 0)),
    "3 % cut off left and bottom": changed(cut(0.03, 0, 0, 0.03)),
    "tinted": changed(
        lambda picture: Image.blend(
            picture, Image.new("RGB", picture.size, (255, 180, 90)), 0.15
        )
    ),
}


def recall() -> None:
    """Pairs within distance 6 among 20,000 hashes: found by the search.

    And by comparing all with all.
    """
    hashes = clustered(20_000)
    pairs = sorted(
        {
            pair
            for row, other in pairs_within_distance(hashes, hashes, 6)
            for pair in zip(row, other, strict=True)
        }
    )
    brute = 0
    for start in range(0, len(hashes), 500):
        brute += int(
            (
                np.bitwise_count(hashes[start : start + 500, None] ^ hashes[None]) <= 6
            ).sum()
        )
    print(f"recall among 20,000 hashes: {len(pairs):,} of {brute:,} pairs")


def searching() -> None:
    """Seconds for 500,000 pictures: as `manifest` searches, and all with all."""
    whole = clustered(RECORDS)
    rng = np.random.default_rng(SEED)
    # Views of a picture differ from the whole in a few bits, grey and edges in all.
    hashes = np.stack([whole, rng.permutation(whole)], axis=1)[:, :, None] ^ scattered(
        rng, len(fingerprint.VIEWS)
    )
    thumbnails = rng.integers(
        0,
        256,
        (RECORDS, fingerprint.THUMBNAIL, fingerprint.THUMBNAIL, 4),
        dtype=np.uint8,
    )
    ranks = (np.arange(RECORDS) >= RECORDS - EVALUATED).astype(np.int8)
    times = [
        timed(lambda: duplicates.find_links(hashes, thumbnails, ranks, 6))
        for _ in range(RUNS)
    ]
    print(
        f"search, {RECORDS:,} pictures, {EVALUATED:,} of them evaluated, 8 views, "
        "grey and edges: ",
        end="",
    )
    print(
        f"median {statistics.median(times):.1f} s of "
        f"{', '.join(f'{one:.1f}' for one in times)}"
    )
    pairs = 0
    started = time.perf_counter()
    for row, _ in pairs_within_distance(whole, whole, 6):
        pairs += len(row)
    print(
        f"search, {RECORDS:,} hashes, all with all: "
        f"{time.perf_counter() - started:.1f} s, {pairs:,} pairs"
    )


def clustered(count: int) -> NDArray[np.uint64]:
    """Returns random hashes of 32 set bits.

    Half lie within a few bits of one of 1,000 centres.
    """
    rng = np.random.default_rng(SEED)
    bits = rng.random((count, 64)).argsort(axis=1) < 32
    centres = rng.integers(0, 1_000, count // 2)
    bits[: count // 2] = bits[centres + count // 2] ^ (
        rng.random((count // 2, 64)) < 0.12
    )
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def scattered(rng: np.random.Generator, views: int) -> NDArray[np.uint64]:
    """Returns [records, 1, views] masks of up to eight changed bits.

    None for the first view.
    """
    masks = np.zeros((RECORDS, 1, views), dtype=np.uint64)
    for _ in range(8):
        masks[:, :, 1:] |= np.uint64(1) << rng.integers(
            0, 64, (RECORDS, 1, views - 1), dtype=np.uint64
        )
    return masks


def rate(work: Callable[[], object], count: int) -> float:
    """Returns the median rate of several runs."""
    return statistics.median(count / timed(work) for _ in range(RUNS))


def timed(work: Callable[[], object]) -> float:
    """Returns seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
