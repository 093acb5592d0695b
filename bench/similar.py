"""Search among 500,000 embeddings: time of a query, recall, building, memory.

    python bench/similar.py --like FILE.parquet    # of e6tag embed; 20 minutes

Prints the tables of bench/results/similar.md. The embeddings are drawn like those of
real images: each is a mixture of two images of FILE with noise on top, so that they
fill about as many dimensions. Every query is drawn alike and is none of them.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from e6tag import index
from e6tag.embeddings import ImageFile, Row, normalised
from e6tag.embeddings.file import EmbeddingsFile
from e6tag.embeddings.update import Update
from e6tag.index import SimilarImages, index_path

IMAGES = 500_000
ADDED = 5_000
QUERIES = 500
COUNT = 10
NOISE = 0.2  # of the spread of each dimension
SEED = 621
EXPANSIONS = (32, 64, 128, 256)
MODEL = "0" * 64

Floats = NDArray[np.float32]


def main() -> None:
    """Prints every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--like", type=Path, required=True, metavar="FILE.parquet")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--folder", type=Path, help="keeps the files here")
    options = parser.parse_args()
    real = EmbeddingsFile(options.like).embeddings().astype(np.float32)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        measure(folder / "many.parquet", real, options.images)


def measure(target: Path, real: Floats, images: int) -> None:
    """Builds, searches, updates."""
    random = np.random.default_rng(SEED)
    print(f"{images:,} images like {len(real):,}, {real.shape[1]} dimensions")
    many = drawn(real, images, random)
    if not target.exists():  # in a folder that was given before
        write(target, many, 0)
    del many
    print(f"embeddings {megabytes(target):,.0f} MB")
    started = time.perf_counter()
    similar = SimilarImages(EmbeddingsFile(target))
    print(f"ids and paths read in {time.perf_counter() - started:.2f} s")
    open_index(similar, "built")
    print(
        f"index {megabytes(index_path(target)):,.0f} MB, peak memory {peak():,.1f} GB"
    )
    queries = drawn(real, QUERIES, random)
    search(similar, queries)
    write(target, drawn(real, ADDED, random), images)
    open_index(SimilarImages(EmbeddingsFile(target)), f"{ADDED:,} added")
    similar = SimilarImages(EmbeddingsFile(target))
    open_index(similar, "opened")
    search(similar, queries)


def drawn(real: Floats, count: int, random: np.random.Generator) -> Floats:
    """Returns embeddings of images that are not there."""
    spread = real.std(axis=0) * NOISE
    parts = []
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        first, second = random.integers(0, len(real), (2, size))
        share = random.uniform(0, 0.5, (size, 1)).astype(np.float32)
        noise = random.normal(size=(size, real.shape[1])).astype(np.float32)
        mixed = real[first] * (1 - share) + real[second] * share
        parts.append(normalised(mixed + noise * spread))
    return np.concatenate(parts)


def write(target: Path, embeddings: Floats, start: int) -> None:
    """Adds embeddings to a file, of images that are called by numbers."""
    with Update(target, model=MODEL, dimension=embeddings.shape[1]) as update:
        for block in range(0, len(embeddings), 10_000):
            rows = []
            for number, one in enumerate(embeddings[block : block + 10_000]):
                file = ImageFile(f"/images/{start + block + number:07}.jpg", 1, 1)
                rows.append(Row(file, 850, 850, one))
            update.add(rows)
        update.publish()


def open_index(similar: SimilarImages, what: str) -> None:
    """Opens an index and prints how long it took."""
    started = time.perf_counter()
    cpu = time.process_time()
    similar.open_index()
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - cpu
    print(f"index {what}: {seconds:,.1f} s ({cpu_seconds:,.1f} s of CPU)")


def search(similar: SimilarImages, queries: Floats) -> None:
    """Prints time and recall of queries one by one, by the candidates kept."""
    exact, times = asked(similar, queries, exact=True)
    print(f"exact: median {np.median(times):.1f} ms")
    for expansion in EXPANSIONS:
        similar.open_index(expansion=expansion)
        asked(similar, queries[:50], exact=False)  # reads the file
        found, times = asked(similar, queries, exact=False)
        shared = [len(one & other) for one, other in zip(found, exact, strict=True)]
        recall = sum(shared) / (COUNT * len(queries))
        chosen = " (chosen)" if expansion == index.EXPANSION_SEARCH else ""
        print(
            f"| {expansion}{chosen} | {recall:.4f} | {np.median(times):.2f} | "
            f"{np.quantile(times, 0.99):.2f} |"
        )


def asked(
    similar: SimilarImages, queries: Floats, *, exact: bool
) -> tuple[list[set[str]], list[float]]:
    """Returns the paths found by each query, and its milliseconds."""
    answers = []
    times = []
    for query in queries:
        started = time.perf_counter()
        found = similar.nearest(query, COUNT, exact=exact)
        times.append((time.perf_counter() - started) * 1e3)
        paths = {one.path for one in found}
        answers.append(paths)
    return answers, times


def megabytes(path: Path) -> float:
    """Returns the size of a file."""
    return path.stat().st_size / 1e6


def peak() -> float:
    """Returns the most memory that this process had, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    main()
