"""Nearest images among the embeddings of a file, by an approximate index or exactly.

The index, `<file>.usearch`, is a graph (HNSW, arXiv:1603.09320) that usearch keeps; it
knows images by the ids of the embeddings file, which name the model and the state of
the image. So it can be compared with the file: what is new is added, what is gone is
removed, and an index of anything else is made anew. Losing it costs time only. Behind
what usearch saves stands a checksum of it: usearch follows the graph of a damaged file
to wrong neighbours, or out of the file, which ends the process.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from e6tag import extras, files, locks
from e6tag.embeddings import EXTRA, EmbeddingsError, Floats, normalised
from e6tag.embeddings.file import EmbeddingsFile, Ids

MIN_SIMILARITY = 0.95
"""From which similarity on a pair of images passes for duplicates, where nothing else
is said (docs/search.md)."""

METRIC = "cos"
DTYPE = "f16"

CONNECTIVITY = 16
"""Neighbours of an image in the graph."""

EXPANSION_ADD = 128
EXPANSION_SEARCH = 128
"""Candidates kept while adding and while searching; decide recall and time
(bench/results/similar.md)."""

SMALL = 8_192
"""Up to so many images all pairs are compared, which takes no longer than an index."""

MAX_REMOVED = 0.25
"""Share of the images of an index that may be removed at once; with more, it is made
anew, since what remains of the graph hangs together badly."""

_CHUNK = 5_000
"""Images added between two reports of progress, and two chances to be interrupted."""

_SAVED = 100_000
"""Images added between two saves: a build that is killed goes on from there."""

_BLOCK = 8_192
"""Rows compared at once by the exact search: 8 MB at D of 256."""

_QUERIES = 1_024
"""Images whose neighbours are looked for at once, when all pairs are."""

_NEIGHBOURS = 32
"""Neighbours of an image that are taken from the index, when all pairs are wanted."""

_SEAL = b"e6tag crc32:"
"""Stands between what usearch saved and its CRC-32, four bytes. The checksum of 330 MB
takes 0.1 s, SHA-256 0.2 s and BLAKE2b 0.4 s; it is there against damage, not malice."""

_READ = 1 << 20
"""Bytes of an index read at once."""

Progress = Callable[[int, int], None]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An image and its similarity to the query: cosine, -1 to 1."""

    path: str
    similarity: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that are alike; first: the one whose path sorts first."""

    first: str
    second: str
    similarity: float


class SimilarImages:
    """Answers which images of a file of embeddings are like a given embedding.

    May be asked by several threads at once. A file that changes afterwards is not seen.
    """

    def __init__(self, file: EmbeddingsFile) -> None:
        """Reads ids, paths and sizes: 0.2 KB of memory per image."""
        self.file = file
        self._ids = file.ids()
        self.paths = file.paths()
        """Of all images, in their order."""
        self._sizes = file.sizes()
        self._order = np.argsort(self._ids)
        self._index: Any = None
        self._vectors: Any = None

    def __len__(self) -> int:
        return len(self._ids)

    def open_index(
        self, progress: Progress | None = None, *, expansion: int = EXPANSION_SEARCH
    ) -> None:
        """Opens the index, after adding and removing what changed in the file.

        progress: is called with the number of images added and of those to add.
        expansion: candidates kept while searching. Raises EmbeddingsError where it
        cannot be written.
        """
        place = index_path(self.file.path)
        opened = _open_same(place, self.file, self._ids)
        if opened is None:
            with ExitStack() as held:
                with _writing(place):
                    held.enter_context(locks.only_one(_lock_path(place)))
                opened = _open_same(place, self.file, self._ids)
                if opened is None:
                    _update(place, self.file, self._ids, progress)
                    # Before another process may change it.
                    opened = _restore(place, self.file.dimension, view=True)
        opened.expansion_search = expansion
        self._index = opened

    def nearest(
        self,
        embedding: Floats,
        count: int,
        *,
        exact: bool = False,
        without: str | None = None,
    ) -> list[Neighbour]:
        """Returns the nearest images, the most similar first.

        embedding: [D], of any length. exact: compare with every image; else by the
        index, which must be open. without: the path of an image that is left out.
        """
        query = self._checked(embedding)
        wanted = min(count + (without is not None), len(self))
        if not wanted:
            return []
        rows, similarities = self._search(query[None], wanted, exact)[0]
        found = []
        # Rounding to float16 takes those of equal images beyond 1.
        clipped = np.clip(similarities, -1, 1)
        for row, similarity in zip(rows, clipped, strict=True):
            path = self.paths[row]
            if path != without:
                width, height = map(int, self._sizes[row])
                found.append(Neighbour(path, float(similarity), width, height))
        return found[:count]

    def pairs(
        self,
        min_similarity: float,
        *,
        exact: bool = False,
        is_wanted: Callable[[str], bool] | None = None,
        progress: Progress | None = None,
    ) -> list[Pair]:
        """Returns the pairs of images that are at least so similar, the closest first.

        exact: compare every image with every other; else the neighbours by the index,
        which must be open unless there are no more than SMALL images. is_wanted: of a
        path, whether it takes part.
        """
        rows = np.arange(len(self))
        if is_wanted is not None:
            wanted = [is_wanted(path) for path in self.paths]
            rows = np.flatnonzero(np.array(wanted, dtype=bool))
        is_compared = exact or len(self) <= SMALL
        find = self._exact_pairs if is_compared else self._indexed_pairs
        found = {}
        for one, other, similarity in find(rows, min_similarity, progress):
            # Each is found from both sides, and rows are in the order of paths.
            if one != other:
                found[min(one, other), max(one, other)] = min(similarity, 1.0)
        pairs = []
        for (first, second), similarity in found.items():
            pairs.append(Pair(self.paths[first], self.paths[second], similarity))
        pairs.sort(key=lambda pair: (-pair.similarity, pair.first, pair.second))
        return pairs

    def _checked(self, embedding: Floats) -> Floats:
        if embedding.shape != (self.file.dimension,):
            raise EmbeddingsError(
                f"the query has {embedding.size} dimensions, {self.file.path} has "
                f"{self.file.dimension}"
            )
        return normalised(embedding)

    def _all_vectors(self) -> NDArray[np.float16]:
        """Returns the embeddings, float16 [n, D], which are read when first used."""
        if self._vectors is None:
            self._vectors = self.file.embeddings()
        return self._vectors

    def _search(
        self, queries: Floats, count: int, exact: bool
    ) -> list[tuple[Rows, Floats]]:
        """Returns rows and similarities of the nearest of each query, best first."""
        # The graph does not reach everything: it cannot give nearly all.
        is_exact = exact or count * 4 > len(self)
        if is_exact:
            library = extras.load("usearch.index", extra=EXTRA)
            matches = library.search(
                self._all_vectors(), queries, count, METRIC, exact=True
            )
        else:
            matches = self._index.search(queries, count)
        # usearch answers a batch of one as it answers a query.
        each = [matches] if len(queries) == 1 else matches
        answers = []
        for number in range(len(queries)):
            found = each[number]
            # Compared without an index, images are known by their rows.
            rows = found.keys.astype(np.int64)
            if not is_exact:
                rows = self._rows_of(found.keys)
            answers.append((rows, 1 - found.distances))
        return answers

    def _rows_of(self, keys: NDArray[Any]) -> Rows:
        """Returns the rows with these ids."""
        places = np.searchsorted(self._ids, keys.astype(np.int64), sorter=self._order)
        return self._order[places]

    def _exact_pairs(
        self, rows: Rows, min_similarity: float, progress: Progress | None
    ) -> Iterator[tuple[int, int, float]]:
        for start in range(0, len(rows), _QUERIES):
            queries = rows[start : start + _QUERIES]
            yield from self._compared(queries, rows[start:], min_similarity)
            if progress is not None:
                progress(start + len(queries), len(rows))

    def _indexed_pairs(
        self, rows: Rows, min_similarity: float, progress: Progress | None
    ) -> Iterator[tuple[int, int, float]]:
        taking_part = np.zeros(len(self), dtype=bool)
        taking_part[rows] = True
        vectors = self._all_vectors()
        for start in range(0, len(rows), _QUERIES):
            queries = rows[start : start + _QUERIES]
            answers = self._search(
                vectors[queries].astype(np.float32), _NEIGHBOURS, exact=False
            )
            crowded = []
            for row, (found, similarities) in zip(queries, answers, strict=True):
                is_near = similarities >= min_similarity
                if is_near.all():
                    crowded.append(row)
                    continue
                is_near &= taking_part[found]
                for other, similarity in zip(
                    found[is_near], similarities[is_near], strict=True
                ):
                    yield int(row), int(other), float(similarity)
            # It may have more such neighbours than were asked for.
            yield from self._compared(
                np.array(crowded, dtype=np.int64), rows, min_similarity
            )
            if progress is not None:
                progress(start + len(queries), len(rows))

    def _compared(
        self, left: Rows, right: Rows, min_similarity: float
    ) -> Iterator[tuple[int, int, float]]:
        """Yields the pairs of a row of each that are similar enough."""
        vectors = self._all_vectors()
        queries = vectors[left].astype(np.float32)
        for start in range(0, len(right) if len(left) else 0, _BLOCK):
            others = right[start : start + _BLOCK]
            similarities = queries @ vectors[others].astype(np.float32).T
            for i, j in np.argwhere(similarities >= min_similarity):
                yield int(left[i]), int(others[j]), float(similarities[i, j])


def index_path(path: Path) -> Path:
    """Returns where the index of a file of embeddings is."""
    return path.with_name(f"{path.name}.usearch")


def _restore(place: Path, dimension: int, *, view: bool) -> Any:
    """Opens an index; None where there is none that can be used.

    view: from the disk, read only, which takes only the time of its checksum.
    """
    library = extras.load("usearch.index", extra=EXTRA)
    if not place.is_file() or not _is_sealed(place):
        return None
    try:
        opened = library.Index.restore(place, view=view)
    except (ValueError, RuntimeError):  # of another version of usearch
        return None
    if opened is None or opened.ndim != dimension:
        return None
    opened.expansion_add = EXPANSION_ADD
    opened.expansion_search = EXPANSION_SEARCH
    return opened


def _open_same(place: Path, file: EmbeddingsFile, ids: Ids) -> Any:
    """Opens an index that holds these images and no others; None where it does not."""
    opened = _restore(place, file.dimension, view=True)
    if opened is None or not np.array_equal(np.sort(_ids_in(opened)), np.sort(ids)):
        return None
    return opened


def _ids_in(index: Any) -> Ids:
    return np.asarray(index.keys).astype(np.int64)


def _update(
    place: Path, file: EmbeddingsFile, ids: Ids, progress: Progress | None
) -> None:
    """Makes an index hold the images of the file, and saves it."""
    index = _restore(place, file.dimension, view=False)
    if index is None:
        index = _new(file.dimension)
    gone = np.setdiff1d(_ids_in(index), ids)
    if len(gone) > MAX_REMOVED * len(index):
        index = _new(file.dimension)
    elif len(gone):
        index.remove(gone)
    missing = np.flatnonzero(~np.isin(ids, _ids_in(index)))
    vectors = file.embeddings()
    for start in range(0, len(missing), _CHUNK):
        rows = missing[start : start + _CHUNK]
        # By one thread: images that several add at once are lost to the search now and
        # then, mostly those that are alike (unum-cloud/USearch#735).
        index.add(ids[rows].astype(np.uint64), vectors[rows], threads=1)
        done = start + len(rows)
        if progress is not None:
            progress(done, len(missing))
        if done % _SAVED == 0:
            _save(index, place)
    _save(index, place)


def _new(dimension: int) -> Any:
    library = extras.load("usearch.index", extra=EXTRA)
    return library.Index(
        ndim=dimension,
        metric=METRIC,
        dtype=DTYPE,
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )


def _save(index: Any, place: Path) -> None:
    with _writing(place), files.replacing(place) as temporary:
        index.save(temporary)
        with temporary.open("r+b") as saved:
            checksum = _checksum(saved, temporary.stat().st_size)
            saved.write(_SEAL + checksum)


def _is_sealed(place: Path) -> bool:
    """Returns whether a file is an index as it was saved, not a byte of it changed."""
    with place.open("rb") as saved:
        length = place.stat().st_size - len(_SEAL) - 4
        if length < 0:
            return False
        checksum = _checksum(saved, length)
        return saved.read() == _SEAL + checksum


def _checksum(file: BinaryIO, length: int) -> bytes:
    """Reads so many bytes; returns their CRC-32."""
    found = 0
    for start in range(0, length, _READ):
        found = zlib.crc32(file.read(min(_READ, length - start)), found)
    return found.to_bytes(4, "little")


def _lock_path(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Turns a failure to write an index into EmbeddingsError."""
    try:
        yield
    # usearch raises RuntimeError, and does so for a missing permission as well.
    except (OSError, RuntimeError) as error:
        raise EmbeddingsError(
            f"the index {place} cannot be written: {error}. Make room or give yourself "
            "the permission; --exact needs no index."
        ) from error
