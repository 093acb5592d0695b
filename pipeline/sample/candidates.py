"""Reads the snapshot's posts, some row groups at a time, into small integer arrays.

e621 has 240 million tags on its posts. As strings in a table they cost hundreds of
bytes each, and minutes to close over the implications. Here Parquet's own dictionary
gives a number per distinct name (name_lists), whose code is looked up once (tag_codes),
and a sparse product closes all of them at once (tag_closure).
"""

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import parquet, policy
from pipeline.errors import CorruptFile
from pipeline.params.sample import Sample
from pipeline.sample.exclusions import CANDIDATE, exclude_by_columns, exclude_by_tags
from pipeline.sample.label_noise import LabelNoiseCounts
from pipeline.sample.name_lists import NameLists, any_bits, keep_posts, name_lists
from pipeline.sample.splits import NO_ARTIST, PSEUDO_ARTISTS, TORN, shared_split
from pipeline.sample.tag_closure import GIVEN, close_tags, closure_matrix
from pipeline.sample.tag_codes import OPT_OUT, TagCodes
from pipeline.tag_graph import TagGraph

if TYPE_CHECKING:
    from scipy.sparse import csr_array

COLUMNS = (
    "post_id",
    "created_at",
    "rating",
    "ext",
    "duration",
    "parent_id",
    "is_deleted",
    "is_withheld",
)
# Posts read at once, at least: smaller batches look up the same names more often,
# larger ones take memory.
_POSTS = 128_000
# One in so many runs of row groups is examined for label noise.
_NOISE_INTERVAL = 8


@dataclass(frozen=True, slots=True)
class CandidatePosts:
    """All posts of a snapshot by post_id, and the tags of those that may be sampled.

    Tags are codes of a TagGraph, closed over implications, those of the wanted
    categories only, in a sparse matrix: post n has `tags[starts[n] : starts[n + 1]]`,
    in no order; excluded posts have none.
    """

    post_id: NDArray[np.int64]
    created: NDArray[np.int64]  # microseconds since 1970, UTC
    parent_id: NDArray[np.int64]  # -1: none
    reason: NDArray[np.uint8]  # index into exclusions.REASONS, or CANDIDATE
    # Of all categories, after closure; 0 where excluded.
    tag_count: NDArray[np.int32]
    # The split that the post's artists share, or NO_ARTIST, or TORN.
    artist_split: NDArray[np.int8]
    starts: NDArray[np.int64]
    tags: NDArray[np.int32]
    given: NDArray[np.bool_]  # not only implied
    # By code: posts with the tag, after closure, excluded posts among them.
    carried: NDArray[np.int64]
    evidence: LabelNoiseCounts


@dataclass(frozen=True, slots=True)
class _Part:
    """Some row groups. As in CandidatePosts, with `lengths` instead of `starts`."""

    post_id: NDArray[np.int64]
    created: NDArray[np.int64]
    parent_id: NDArray[np.int64]
    reason: NDArray[np.uint8]
    tag_count: NDArray[np.int32]
    artist_split: NDArray[np.int8]
    lengths: NDArray[np.int64]
    tags: NDArray[np.int32]
    given: NDArray[np.bool_]


class CandidateReader:
    """What all row groups are read with."""

    def __init__(
        self,
        params: Sample,
        relations: TagGraph,
        names: policy.PolicyTags,
        *,
        artist_split: NDArray[np.int8] | None = None,
        listed: Iterable[str] = (),
    ) -> None:
        """Takes what to look for.

        artist_split: by code; listed: wanted whatever their category.
        """
        self.params = params
        self.codes = TagCodes(params, relations, names, listed)
        self.artist_split = artist_split
        closure = relations.closure()
        self.closure = closure_matrix(closure, self.codes.count)
        self.evidence = LabelNoiseCounts(closure, self.codes.count)
        self._carried = np.zeros(self.codes.count, dtype=np.int64)
        self._lock = threading.Lock()
        self._local = threading.local()

    def read(self, path: Path) -> CandidatePosts:
        """Reads posts.parquet once.

        Raises CorruptFile where it cannot be read or is not ordered by post_id.
        """
        try:
            parts = self._read_parts(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise parquet.corrupt_file_error(path, error) from error
        posts = _join(parts, self._carried, self.evidence)
        _check_order(path, posts.post_id)
        return posts

    def _read_parts(self, path: Path) -> list[_Part]:
        metadata = pq.read_metadata(path)
        groups = range(metadata.num_row_groups)
        rows = [metadata.row_group(group).num_rows for group in groups]
        runs = _runs_of_groups(rows)
        interval = max(1, len(runs) // _NOISE_INTERVAL)
        jobs = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, run in enumerate(runs):
                counts_noise = number % interval == 0
                job = pool.submit(self._part, path, metadata, run, counts_noise)
                jobs.append(job)
            return [job.result() for job in jobs]

    def _open(self, path: Path, metadata: pq.FileMetaData) -> pq.ParquetFile:
        """Returns this thread's own reader of the file.

        The metadata of hundreds of row groups is parsed once.
        """
        if not hasattr(self._local, "file"):
            columns = range(metadata.num_columns)
            leaves = [metadata.schema.column(number).path for number in columns]
            lists = ("tags", "locked_tags")
            encoded = [leaf for leaf in leaves if leaf.split(".")[0] in lists]
            self._local.file = pq.ParquetFile(
                path, metadata=metadata, read_dictionary=encoded
            )
        return self._local.file

    def _read_groups(
        self, path: Path, metadata: pq.FileMetaData, groups: list[int]
    ) -> pa.Table:
        file = self._open(path, metadata)
        wanted = [*COLUMNS, "tags", "locked_tags"]
        # One by one: PyArrow cannot read lists with a dictionary across row groups.
        return pa.concat_tables(
            file.read_row_group(group, wanted, use_threads=False) for group in groups
        )

    def _part(
        self,
        path: Path,
        metadata: pq.FileMetaData,
        groups: list[int],
        counts_noise: bool,
    ) -> _Part:
        table = self._read_groups(path, metadata, groups)
        names = name_lists(table["tags"])
        code = self.codes.look_up(names.dictionary)
        final = self.codes.final[code]
        meaning = self.codes.meaning[code]
        of_tags = any_bits(names.starts, meaning[names.places])
        of_locked_tags = self._locked_meaning(table["locked_tags"])
        columns = pl.DataFrame(pl.from_arrow(table.select(COLUMNS)))
        reason = exclude_by_columns(self.params, columns, of_tags | of_locked_tags)
        artist_split = self._artist_splits(names, final)
        if counts_noise:
            starts, places = keep_posts(reason == CANDIDATE, names)
            self.evidence.add(starts, places, code, final)
        closed = close_tags(names.starts, final[names.places], self.closure)
        self._count_carried(closed)
        return self._make_part(columns, reason, artist_split, closed)

    def _count_carried(self, closed: "csr_array") -> None:
        """Adds the posts with each tag."""
        counts = np.bincount(closed.indices, minlength=self.codes.count)
        with self._lock:
            self._carried += counts

    def _make_part(
        self,
        columns: pl.DataFrame,
        reason: NDArray[np.uint8],
        artist_split: NDArray[np.int8],
        closed: "csr_array",
    ) -> _Part:
        """Returns the posts with the wanted tags of those that are candidates."""
        row = np.repeat(np.arange(len(reason)), np.diff(closed.indptr))
        count = self._count_known(closed, row)
        has_excluded_tag = self._have_excluded_tag(closed, row)
        exclude_by_tags(self.params, reason, count, has_excluded_tag)
        is_candidate = reason == CANDIDATE
        count[~is_candidate] = 0
        kept = np.flatnonzero(self.codes.wanted[closed.indices] & is_candidate[row])
        return _Part(
            columns["post_id"].to_numpy(),
            columns["created_at"].to_physical().to_numpy(),
            columns["parent_id"].fill_null(-1).to_numpy(),
            reason,
            count,
            artist_split,
            np.bincount(row[kept], minlength=len(reason)),
            closed.indices[kept],
            closed.data[kept] >= GIVEN,
        )

    def _count_known(
        self, closed: "csr_array", row: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Returns how many tags of each post tags.parquet knows."""
        posts = closed.shape[0]
        unknown_rows = row[np.flatnonzero(closed.indices >= self.codes.known)]
        unknown = np.bincount(unknown_rows, minlength=posts)
        return (np.diff(closed.indptr) - unknown).astype(np.int32)

    def _have_excluded_tag(
        self, closed: "csr_array", row: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Returns whether each post has an excluded tag."""
        has_excluded_tag = np.zeros(closed.shape[0], dtype=bool)
        excluded = np.flatnonzero(self.codes.excluded[closed.indices])
        has_excluded_tag[row[excluded]] = True
        return has_excluded_tag

    def _locked_meaning(self, lists: pa.ChunkedArray) -> NDArray[np.uint8]:
        """Returns the opt-outs among the locked tags of each post."""
        names = name_lists(lists)
        meaning = self.codes.meaning[self.codes.look_up(names.dictionary)]
        return any_bits(names.starts, meaning[names.places] & OPT_OUT)

    def _artist_splits(
        self, names: NameLists, final: NDArray[np.int64]
    ) -> NDArray[np.int8]:
        """Returns the split that the artists of each post share, NO_ARTIST or TORN."""
        posts = len(names.starts) - 1
        if self.artist_split is None:
            return np.full(posts, NO_ARTIST, dtype=np.int8)
        by_code = self._artist_split_by_code(self.artist_split)
        return shared_split(names.starts, by_code[final][names.places])

    def _artist_split_by_code(self, artist_split: NDArray[np.int8]) -> NDArray[np.int8]:
        by_code = np.full(self.codes.count, NO_ARTIST, dtype=np.int8)
        by_code[: len(artist_split)] = artist_split
        # A name that is not listed yet may turn out to be an artist, of any split.
        by_code[self.codes.known :] = TORN
        for name in PSEUDO_ARTISTS:
            code = self.codes.code[name]
            if code >= self.codes.known:
                by_code[code] = NO_ARTIST
        return by_code


def _runs_of_groups(rows: list[int]) -> list[list[int]]:
    """Returns row groups in runs of about _POSTS posts. rows: of each group."""
    runs: list[list[int]] = []
    held = _POSTS
    for group, count in enumerate(rows):
        if held >= _POSTS:
            runs.append([])
            held = 0
        runs[-1].append(group)
        held += count
    return runs


def _join(
    parts: list[_Part], carried: NDArray[np.int64], evidence: LabelNoiseCounts
) -> CandidatePosts:
    def column(name: str, kind: type[np.generic]) -> NDArray[Any]:
        arrays = [getattr(part, name) for part in parts]
        return np.concatenate([np.empty(0, kind), *arrays], dtype=kind)

    lengths = column("lengths", np.int64)
    return CandidatePosts(
        post_id=column("post_id", np.int64),
        created=column("created", np.int64),
        parent_id=column("parent_id", np.int64),
        reason=column("reason", np.uint8),
        tag_count=column("tag_count", np.int32),
        artist_split=column("artist_split", np.int8),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        tags=column("tags", np.int32),
        given=column("given", np.bool_),
        carried=carried,
        evidence=evidence,
    )


def _check_order(path: Path, post_id: NDArray[np.int64]) -> None:
    """Raises CorruptFile where post_id does not ascend."""
    wrong = np.flatnonzero(np.diff(post_id) <= 0)
    if len(wrong):
        first = wrong[0]
        raise CorruptFile(
            f"{path} is not ordered by post_id: {post_id[first + 1]} follows "
            f"{post_id[first]}, and {len(wrong) - 1:,} more. Delete it and run dvc "
            "repro again: harvest puts it in order."
        )
