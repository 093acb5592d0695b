"""Search by embedding beside search by perceptual hash, on images of a project.

    python bench/search.py --project . --bundle data/bundle    # 2 minutes per board

Prints the tables of bench/results/search.md. The images are all records of the
project's manifest, read from its packs. Two questions:

Which tags of an image do its neighbours have? Queries are the test images, which the
model has not seen; neighbours are training images.

Is a changed copy found? Every test image is re-encoded, cropped, recoloured and so on,
and each copy is looked for among all images, its original among them.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageOps

from e6tag import images
from e6tag.embeddings import normalised
from e6tag.tagger import Tagger
from pipeline import packs
from pipeline.manifest import fingerprint
from pipeline.paths import SPLITS, Paths

BATCH = 16
NEIGHBOURS = (1, 10)
FALSE_SHARES = (1e-4, 1e-3)  # of pairs of different images that pass for copies
SEED = 621

Floats = NDArray[np.float32]
Bits = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Described:
    """Images as each method sees them.

    embeddings: float32 [n, D], of length 1. hashes: uint64 [n, kinds, views]; the
    pHash is that of the greys of the whole image.
    """

    embeddings: Floats
    hashes: Bits


Likeness = Callable[[Described, Described], Floats]


def by_embedding(queries: Described, others: Described) -> Floats:
    """Returns the cosine, [queries, others]."""
    return queries.embeddings @ others.embeddings.T


def by_phash(queries: Described, others: Described) -> Floats:
    """Returns minus the differing bits of the two pHashes."""
    return -_distances(queries.hashes[:, 0, 0], others.hashes[:, 0, 0])


def by_fingerprint(queries: Described, others: Described) -> Floats:
    """Returns minus the least distance of the fingerprints that the manifest keeps.

    The whole of one is compared with each view of the other, by greys and by edges.
    """
    least = np.full((len(queries.hashes), len(others.hashes)), 64, np.float32)
    for kind in range(len(fingerprint.KINDS)):
        for view in range(len(fingerprint.VIEWS)):
            pairs = (
                (queries.hashes[:, kind, 0], others.hashes[:, kind, view]),
                (queries.hashes[:, kind, view], others.hashes[:, kind, 0]),
            )
            for left, right in pairs:
                np.minimum(least, _distances(left, right), out=least)
    return -least


def _distances(left: Bits, right: Bits) -> Floats:
    return np.bitwise_count(left[:, None] ^ right[None]).astype(np.float32)


METHODS: dict[str, Likeness] = {
    "embedding": by_embedding,
    "pHash": by_phash,
    "fingerprint": by_fingerprint,
}


def encoded(image: Image.Image, quality: int = 90) -> bytes:
    """Returns a JPEG."""
    return images.encode_jpeg(image, quality=quality)


def reencoded(image: Image.Image) -> bytes:
    """Half the size, JPEG of quality 50."""
    half = image.resize((max(1, image.width // 2), max(1, image.height // 2)))
    return encoded(half, 50)


def cropped(share: float) -> Callable[[Image.Image], bytes]:
    """Cuts a share off each side."""

    def crop(image: Image.Image) -> bytes:
        across, down = round(image.width * share), round(image.height * share)
        box = (across, down, image.width - across, image.height - down)
        return encoded(image.crop(box))

    return crop


def recoloured(image: Image.Image) -> bytes:
    """Turns the hues by a third: red becomes green."""
    hue, saturation, value = image.convert("HSV").split()
    levels = [(level + 85) % 256 for level in range(256)]
    turned = hue.point(levels)
    return encoded(Image.merge("HSV", (turned, saturation, value)).convert("RGB"))


def greyed(image: Image.Image) -> bytes:
    """Without colours."""
    return encoded(image.convert("L").convert("RGB"))


def mirrored(image: Image.Image) -> bytes:
    """Left and right exchanged."""
    return encoded(ImageOps.mirror(image))


def on_a_page(image: Image.Image) -> bytes:
    """On a white page of 1.5 times its sides."""
    page = Image.new("RGB", (image.width * 3 // 2, image.height * 3 // 2), "white")
    page.paste(image, (image.width // 4, image.height // 4))
    return encoded(page)


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "re-encoded: half the size, quality 50": reencoded,
    "5 % cropped off each side": cropped(0.05),
    "15 % cropped off each side": cropped(0.15),
    "25 % cropped off each side": cropped(0.25),
    "recoloured: hues turned by a third": recoloured,
    "without colours": greyed,
    "mirrored": mirrored,
    "on a white page of 1.5 times its sides": on_a_page,
}


class Board:
    """The records of a project and their images."""

    def __init__(self, folder: Path) -> None:
        paths = Paths(folder)
        files = [paths.manifest / f"{split}.parquet" for split in SPLITS]
        tables = [pl.read_parquet(file) for file in files]
        self.records = pl.concat(tables)
        vocabulary = pl.read_parquet(paths.sample / "vocabulary.parquet")
        self.labels = np.zeros((self.records.height, vocabulary.height), np.float32)
        for number, label_ids in enumerate(self.records["label_ids"]):
            self.labels[number, label_ids.to_numpy()] = 1
        self._rows = {md5: row for row, md5 in enumerate(self.records["md5"])}
        self.bodies: list[bytes] = [b""] * self.records.height
        for path in packs.pack_files(paths.images):
            for image in packs.read_images(path):
                row = self._rows.get(image.md5)
                if row is not None:
                    self.bodies[row] = image.bytes

    def rows(self, split: str) -> NDArray[np.int64]:
        """Returns the rows of a split."""
        return np.flatnonzero((self.records["split"] == split).to_numpy())


def describe(tagger: Tagger, bodies: list[bytes]) -> Described:
    """Returns what each method keeps of image files."""
    embeddings = []
    hashes = []
    for start in range(0, len(bodies), BATCH):
        part = bodies[start : start + BATCH]
        squares = [tagger.prepare(body) for body in part]
        embeddings.append(tagger.run(np.stack(squares)).embeddings)
        hashes += [fingerprint.fingerprint(body).hashes for body in part]
    return Described(normalised(np.concatenate(embeddings)), np.stack(hashes))


def chosen(described: Described, rows: NDArray[np.int64]) -> Described:
    """Returns some of the images."""
    return Described(described.embeddings[rows], described.hashes[rows])


def compare_tags(board: Board, described: Described) -> None:
    """Prints the share of the query's tags that its neighbours have."""
    train, test = board.rows("train"), board.rows("test")
    known = board.labels[train]
    prevalence = known.mean(axis=0)
    common = prevalence > np.median(prevalence)
    print("| neighbours by | all tags, 1 | 10 | the rarer half, 1 | 10 |")
    print("|---|---|---|---|---|")
    queries, others = chosen(described, test), chosen(described, train)
    for name, likeness in METHODS.items():
        likenesses = likeness(queries, others)
        print_shares(name, likenesses, board.labels[test], known, common)
    drawn = np.random.default_rng(SEED).random((len(test), len(train)))
    print_shares("chance", drawn, board.labels[test], known, common)


def print_shares(
    name: str,
    likenesses: NDArray[np.floating[Any]],
    wanted: Floats,
    known: Floats,
    common: NDArray[np.bool_],
) -> None:
    """Prints a row: mean over queries of the share of their tags, all and rare."""
    order = np.argsort(-likenesses, axis=1, kind="stable")
    cells = []
    for columns in (np.ones_like(common), ~common):
        asked = wanted[:, columns]
        has_tags = asked.sum(axis=1) > 0
        for count in NEIGHBOURS:
            near = known[:, columns][order[has_tags, :count]].mean(axis=1)
            query = asked[has_tags]
            share = (near * query).sum(axis=1) / query.sum(axis=1)
            cells.append(f"{share.mean():.3f}")
    print(f"| {name} | {' | '.join(cells)} |")


def compare_copies(board: Board, tagger: Tagger, described: Described) -> None:
    """Prints how many copies are found: first of all, and above a limit."""
    test = board.rows("test")
    limits = {name: limits_of(described, test, METHODS[name]) for name in METHODS}
    print(f"limits of likeness, for {FALSE_SHARES} of other pairs: {limits}")
    print("| copies | method | nearest | above the limits |")
    print("|---|---|---|---|")
    originals = [images.decode(board.bodies[row]) for row in test]
    for change, make in CHANGES.items():
        changed = [make(image) for image in originals]
        copies = describe(tagger, changed)
        for name, likeness in METHODS.items():
            likenesses = likeness(copies, described)
            own = likenesses[np.arange(len(test)), test]
            # Of equal ones the original counts as the last.
            is_first = (likenesses >= own[:, None]).sum(axis=1) == 1
            shares = [f"{is_first.mean():.3f}"]
            shares += [f"{(own >= limit).mean():.3f}" for limit in limits[name]]
            print(f"| {change} | {name} | {' | '.join(shares)} |", flush=True)


def limits_of(
    described: Described, test: NDArray[np.int64], likeness: Likeness
) -> list[float]:
    """Returns from which likeness on few pairs of different images pass for copies.

    Near-duplicates of test images are not in the manifest, so other pairs than those of
    an image with itself are taken for different.
    """
    likenesses = likeness(chosen(described, test), described)
    likenesses[np.arange(len(test)), test] = -np.inf
    pairs = np.sort(likenesses[np.isfinite(likenesses)])
    limits = []
    for share in FALSE_SHARES:
        last = pairs[-1 - int(share * len(pairs))]
        # Strictly above: many pairs have the same number of bits.
        limits.append(float(np.nextafter(last, np.float32(np.inf))))
    return limits


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    options = parser.parse_args()
    board = Board(options.project)
    tagger = Tagger(options.bundle)
    print(f"{board.records.height:,} images, {len(board.rows('test')):,} of test")
    described = describe(tagger, board.bodies)
    compare_tags(board, described)
    compare_copies(board, tagger, described)


if __name__ == "__main__":
    main()
