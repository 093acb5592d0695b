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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory {peak:.1f} GB")


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
        found = []
        for index in self.posts:
            origin = origin_of(SEED, index)
            has_source = kind == "original" or origin.source in self.posts
            if origin.kind == kind and has_source:
                found.append(index)
        return found


def hashing(pictures: Pictures) -> None:
    """Images per second and core: JPEGs of quality 90, shorter side 850 pixels."""
    originals = [pictures.of(index) for index in pictures.kind("original")[:30]]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for progressive in (True, False):
            drawings = [
                as_sample(body, grain, progressive=progressive)
                for body in originals
                for grain in (0, 12)
            ]
            form = "progressive" if progressive else "baseline"
            print_rates(form, drawings, pool)


def print_rates(form: str, drawings: list[bytes], pool: ProcessPoolExecutor) -> None:
    """Prints the drawings hashed in a second, here and in the pool."""
    one = rate(partial(each, drawings), len(drawings))
    list(pool.map(fingerprint.fingerprint, drawings))
    two = rate(partial(each, drawings, pool), len(drawings))
    kilobytes = statistics.mean(map(len, drawings)) / 1e3
    print(
        f"hashing: {len(drawings)} {form} JPEGs of {kilobytes:.0f} kB on average: "
        f"{one:,.0f} pictures/s in one process, {two:,.0f}/s in two"
    )


def each(
    drawings: list[bytes], pool: ProcessPoolExecutor | None = None
) -> list[fingerprint.ImageFingerprint]:
    """Looks at every drawing, here or in the pool."""
    if pool is None:
        return [fingerprint.fingerprint(drawing) for drawing in drawings]
    return list(pool.map(fingerprint.fingerprint, drawings, chunksize=5))


def as_sample(body: bytes, grain: int, *, progressive: bool = True) -> bytes:
    """Returns the picture as the site would serve its sample.

    `grain` adds noise, as paint has, for big files.
    """
    with Image.open(io.BytesIO(body)) as opened:
        picture = opened.convert("RGB")
    scale = 850 / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    grey = (picture.height, picture.width, 1)
    noise = np.random.default_rng(SEED).normal(0, grain, grey)
    noisy = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(noisy), quality=90, progressive=progressive)


def encoded(picture: Image.Image, **options: object) -> bytes:
    """Returns a JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def planted(pictures: Pictures) -> None:
    """Share of planted copies found, by kind.

    And of unrelated pairs that pass for copies.
    """
    print("planted in the sandbox, distance 6:")
    for kind in ("copy", "cropped", "recoloured"):
        pairs = []
        for index in pictures.kind(kind)[:PLANTED]:
            source = origin_of(SEED, index).source
            pairs.append((pictures.of(index), pictures.of(source)))
        report(kind, pairs)
    sources = [pictures.of(index) for index in pictures.kind("original")[:PLANTED]]
    for name, change in CHANGES.items():
        report(name, [(change(body), body) for body in sources])
    report_unrelated(pictures)


def report_unrelated(pictures: Pictures) -> None:
    """Prints how many pairs of originals are linked."""
    unrelated = [pictures.of(index) for index in pictures.kind("original")[-UNRELATED:]]
    found = linked(unrelated, np.full(len(unrelated), 2, dtype=np.int8))
    linked_pairs = {tuple(sorted(pair)) for pair in found}
    pairs = len(unrelated) * (len(unrelated) - 1) // 2
    print(f"  unrelated: {len(linked_pairs)} of {pairs:,} pairs")


def report(name: str, pairs: list[tuple[bytes, bytes]]) -> None:
    """Prints the share of (copy, source) pairs that are linked."""
    bodies = [body for pair in pairs for body in pair]
    found = linked(bodies, np.tile(np.array([2, 0], dtype=np.int8), len(pairs)))
    hits = sum((2 * number, 2 * number + 1) in found for number in range(len(pairs)))
    print(f"  {name}: {hits} of {len(pairs)} found ({hits / len(pairs):.1%})")


def linked(bodies: list[bytes], ranks: NDArray[np.int8]) -> set[tuple[int, int]]:
    """Returns the links between pictures."""
    found = [fingerprint.fingerprint(body) for body in bodies]
    hashes = np.stack([one.hashes for one in found])
    thumbnails = np.stack([one.thumbnail for one in found])
    links: set[tuple[int, int]] = set()
    for one, other in duplicates.find_links(hashes, thumbnails, ranks, 6):
        links.update(zip(one.tolist(), other.tolist(), strict=True))
    return links


def changed(
    change: Callable[[Image.Image], Image.Image], quality: int = 85
) -> Callable[[bytes], bytes]:
    """Returns a function that changes a picture and encodes it anew."""

    def apply(body: bytes) -> bytes:
        with Image.open(io.BytesIO(body)) as opened:
            picture = change(opened.convert("RGB"))
        return encoded(picture, quality=quality)

    return apply


def cut(
    left: float, top: float, right: float, bottom: float
) -> Callable[[Image.Image], Image.Image]:
    """Returns a crop by shares of each side."""

    def crop(picture: Image.Image) -> Image.Image:
        width, height = picture.size
        box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
        return picture.crop(box)

    return crop


def unchanged(picture: Image.Image) -> Image.Image:
    """Returns the picture."""
    return picture


def third(picture: Image.Image) -> Image.Image:
    """Returns the picture with sides of a third."""
    return picture.resize((picture.width // 3, picture.height // 3))


def tinted(picture: Image.Image) -> Image.Image:
    """Returns the picture under a thin layer of orange."""
    orange = Image.new("RGB", picture.size, (255, 180, 90))
    return Image.blend(picture, orange, 0.15)


CHANGES = {
    "re-encoded at quality 40": changed(unchanged, 40),
    "resized to a third": changed(third),
    "5 % cut off the top": changed(cut(0, 0.05, 0, 0)),
    "8 % cut off the left": changed(cut(0.08, 0, 0, 0)),
    "3 % cut off left and bottom": changed(cut(0.03, 0, 0, 0.03)),
    "tinted": changed(tinted),
}


def recall() -> None:
    """Pairs within distance 6 among 20,000 hashes: found by the search.

    And by comparing all with all.
    """
    hashes = clustered(20_000)
    pairs: set[tuple[int, int]] = set()
    for row, other in pairs_within_distance(hashes, hashes, 6):
        pairs.update(zip(row.tolist(), other.tolist(), strict=True))
    brute = 0
    for start in range(0, len(hashes), 500):
        part = hashes[start : start + 500]
        distances = np.bitwise_count(part[:, None] ^ hashes[None])
        brute += int((distances <= 6).sum())
    print(f"recall among 20,000 hashes: {len(pairs):,} of {brute:,} pairs")


def searching() -> None:
    """Seconds for 500,000 pictures: as `manifest` searches, and all with all."""
    whole = clustered(RECORDS)
    rng = np.random.default_rng(SEED)
    # Views of a picture differ from the whole in a few bits, grey and edges in all.
    kinds = np.stack([whole, rng.permutation(whole)], axis=1)
    hashes = kinds[:, :, None] ^ scattered(rng, len(fingerprint.VIEWS))
    shape = (RECORDS, fingerprint.THUMBNAIL, fingerprint.THUMBNAIL, 4)
    thumbnails = rng.integers(0, 256, shape, dtype=np.uint8)
    ranks = (np.arange(RECORDS) >= RECORDS - EVALUATED).astype(np.int8)
    find_links = partial(duplicates.find_links, hashes, thumbnails, ranks, 6)
    times = [timed(find_links) for _ in range(RUNS)]
    all_times = ", ".join(f"{seconds:.1f}" for seconds in times)
    print(
        f"search, {RECORDS:,} pictures, {EVALUATED:,} of them evaluated, 8 views, "
        f"grey and edges: median {statistics.median(times):.1f} s of {all_times}"
    )
    compare_all(whole)


def compare_all(hashes: NDArray[np.uint64]) -> None:
    """Prints the time of comparing all hashes with all."""
    pairs = 0
    started = time.perf_counter()
    for row, _ in pairs_within_distance(hashes, hashes, 6):
        pairs += len(row)
    seconds = time.perf_counter() - started
    print(f"search, {RECORDS:,} hashes, all with all: {seconds:.1f} s, {pairs:,} pairs")


def clustered(count: int) -> NDArray[np.uint64]:
    """Returns random hashes of 32 set bits.

    Half lie within a few bits of one of 1,000 centres.
    """
    rng = np.random.default_rng(SEED)
    bits = rng.random((count, 64)).argsort(axis=1) < 32
    centres = rng.integers(0, 1_000, count // 2)
    flipped = rng.random((count // 2, 64)) < 0.12
    bits[: count // 2] = bits[centres + count // 2] ^ flipped
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def scattered(rng: np.random.Generator, views: int) -> NDArray[np.uint64]:
    """Returns [records, 1, views] masks of up to eight changed bits.

    None for the first view.
    """
    masks = np.zeros((RECORDS, 1, views), dtype=np.uint64)
    for _ in range(8):
        bits = rng.integers(0, 64, (RECORDS, 1, views - 1), dtype=np.uint64)
        masks[:, :, 1:] |= np.uint64(1) << bits
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
