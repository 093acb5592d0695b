"""Reads the snapshot's posts, some row groups at a time, into small integer arrays.

e621 has 240 million tags on its posts. As strings in a table they cost hundreds of
bytes each and minutes to close over the implications; here Parquet's own dictionary
gives a number per distinct name, which is looked up once, and a sparse product of posts
by tags with tags by what they imply resolves, closes, removes doubles, tells what was
given.
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
from pipeline.params import Sample
from pipeline.sample.evidence import LabelNoiseCounts
from pipeline.sample.splits import NO_ARTIST, PSEUDO_ARTISTS, TORN
from pipeline.sample.tag_graph import ImplicationIndex, TagGraph
from pipeline.schemas.reasons import PostExclusion

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
REASONS = tuple(reason.value for reason in PostExclusion)
CANDIDATE = len(REASONS)  # in place of a reason
# Read at once, at least: fewer look the same names up more often, more take memory
_POSTS = 128_000
_EVIDENCE = 8  # times as many are looked at for label noise, at least
_GIVEN = (
    1 << 16
)  # more than there can be reasons for which a tag is implied on one post
_YOUNG, _OPT_OUT, _ANIMATED = 1, 2, 4  # bits: what a name on a post means to the policy


@dataclass(frozen=True, slots=True)
class CandidatePosts:
    """All posts of a snapshot, ordered by post_id.

    And the tags of those that may be sampled.

    Tags are codes of `Relations`, closed over implications, those of the wanted
    categories only, in a sparse matrix: post n has `tags[starts[n] : starts[n + 1]]`,
    in no order; posts that are dropped have none.
    """

    post_id: NDArray[np.int64]
    created: NDArray[np.int64]  # microseconds since 1970, UTC
    parent_id: NDArray[np.int64]  # -1: none
    reason: NDArray[np.uint8]  # index into REASONS, or CANDIDATE
    candidate_tags: NDArray[
        np.int32
    ]  # of all categories, after closure; 0 where dropped
    artist_split: NDArray[
        np.int8
    ]  # the split that the post's artists share, or NO_ARTIST, or TORN
    starts: NDArray[np.int64]
    tags: NDArray[np.int32]
    given: NDArray[np.bool_]  # not only implied
    carried: NDArray[
        np.int64
    ]  # by code: posts with the tag, after closure, those that are dropped among them
    evidence: LabelNoiseCounts


@dataclass(frozen=True, slots=True)
class _Part:
    """Some row groups, read. Columns as in Posts; `lengths` instead of `starts`."""

    post_id: NDArray[np.int64]
    created: NDArray[np.int64]
    parent_id: NDArray[np.int64]
    reason: NDArray[np.uint8]
    candidate_tags: NDArray[np.int32]
    artist_split: NDArray[np.int8]
    lengths: NDArray[np.int64]
    tags: NDArray[np.int32]
    given: NDArray[np.bool_]


class CandidateReader:
    """What all row groups are read with."""

    def __init__(
        self,
        params: Sample,
        since: str,
        relations: TagGraph,
        names: policy.PolicyTags,
        *,
        artist_split: NDArray[np.int8] | None = None,
        listed: Iterable[str] = (),
    ) -> None:
        """Takes what to look for.

        since: ISO date; artist_split: by code; listed: wanted whatever their category.
        """
        self.params, self.since = params, since
        self.known = relations.tags.height  # codes from here on are not in tags.parquet
        # Names that only the policy knows get codes too; the code after them all stands
        # for every other name.
        self.code = dict(relations.code)
        self.policed = names.young | names.opt_out | policy.ANIMATED_TAGS
        for name in sorted(self.policed | PSEUDO_ARTISTS):
            self.code.setdefault(name, len(self.code))
        self.codes = len(self.code) + 1
        self.by_name = pl.DataFrame(
            {"name": list(self.code), "code": np.arange(len(self.code))}
        )
        self.final = np.arange(self.codes)
        self.final[: len(relations.code)] = relations.canonical_codes()
        self.means = self._table(np.uint8)
        for bit, meant in (
            (_YOUNG, names.young),
            (_OPT_OUT, names.opt_out),
            (_ANIMATED, policy.ANIMATED_TAGS),
        ):
            self.means[[self.code[name] for name in meant]] |= bit
        self.wanted, self.excluded = self._table(np.bool_), self._table(np.bool_)
        self.wanted[: self.known] = (
            relations.tags["category"].is_in(params.categories).to_numpy()
        )
        self.wanted[
            [
                code
                for name in relations.resolve(listed)
                if (code := self.code.get(name, self.known)) < self.known
            ]
        ] = True
        self.excluded[
            [
                self.code[name]
                for name in relations.resolve(params.exclude_tags)
                if name in self.code
            ]
        ] = True
        self.artist_split = artist_split
        closure = relations.closure()
        self.closure = _matrix(closure, self.codes)
        self.evidence = LabelNoiseCounts(closure, self.codes)
        self._carried, self._lock = (
            np.zeros(self.codes, dtype=np.int64),
            threading.Lock(),
        )
        self._local = threading.local()

    def read(self, path: Path) -> CandidatePosts:
        """Reads posts.parquet once.

        Raises CorruptFile where it cannot be read or is not ordered by post_id.
        """
        try:
            metadata = pq.read_metadata(path)
            units = _units(
                [
                    metadata.row_group(group).num_rows
                    for group in range(metadata.num_row_groups)
                ]
            )
            every = max(1, len(units) // _EVIDENCE)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                jobs = [
                    pool.submit(
                        self._part,
                        path,
                        metadata,
                        unit,
                        is_evidence=number % every == 0,
                    )
                    for number, unit in enumerate(units)
                ]
                parts = [job.result() for job in jobs]
        except (pa.ArrowInvalid, OSError) as error:
            raise parquet.corrupt_file_error(path, error) from error
        posts = _joined(parts, self._carried, self.evidence)
        _refuse_disorder(path, posts.post_id)
        return posts

    def _open(self, path: Path, metadata: pq.FileMetaData) -> pq.ParquetFile:
        """Returns this thread's own reader of the file.

        The metadata of hundreds of row groups is parsed once.
        """
        if not hasattr(self._local, "file"):
            leaves = [
                metadata.schema.column(n).path for n in range(metadata.num_columns)
            ]
            self._local.file = pq.ParquetFile(
                path,
                metadata=metadata,
                read_dictionary=[
                    leaf
                    for leaf in leaves
                    if leaf.split(".")[0] in ("tags", "locked_tags")
                ],
            )
        return self._local.file

    def _part(
        self,
        path: Path,
        metadata: pq.FileMetaData,
        groups: list[int],
        *,
        is_evidence: bool,
    ) -> _Part:
        file = self._open(path, metadata)
        # One by one: PyArrow cannot read lists with a dictionary across row groups.
        wanted = [*COLUMNS, "tags", "locked_tags"]
        table = pa.concat_tables(
            file.read_row_group(group, wanted, use_threads=False) for group in groups
        )
        starts, names, dictionary = _names(table["tags"])
        code = self._codes(dictionary)
        means = _any_bits(starts, self.means[code][names]) | self._locked(
            table["locked_tags"]
        )
        columns = pl.DataFrame(pl.from_arrow(table.select(COLUMNS)))
        reason = self._judged(columns, means)
        artist_split = self._artists(starts, self.final[code], names)
        if is_evidence:
            self.evidence.add(
                *_of(reason == CANDIDATE, starts, names), code, self.final[code]
            )
        tagged = self._closed(starts, self.final[code][names])
        tag, given = tagged.indices, tagged.data >= _GIVEN
        with self._lock:
            self._carried += np.bincount(tag, minlength=self.codes)
        row = np.repeat(np.arange(table.num_rows), np.diff(tagged.indptr))
        unknown = np.bincount(
            row[np.flatnonzero(tag >= self.known)], minlength=table.num_rows
        )
        count = (np.diff(tagged.indptr) - unknown).astype(np.int32)
        is_excluded = np.zeros(table.num_rows, dtype=bool)
        is_excluded[row[np.flatnonzero(self.excluded[tag])]] = True
        remains = reason == CANDIDATE
        reason[remains & (count < self.params.min_tags)] = REASONS.index(
            PostExclusion.TOO_FEW_TAGS.value
        )
        reason[remains & is_excluded] = REASONS.index(PostExclusion.EXCLUDED_TAG.value)
        count[reason != CANDIDATE] = 0
        kept = np.flatnonzero(self.wanted[tag] & (reason == CANDIDATE)[row])
        return _Part(
            columns["post_id"].to_numpy(),
            columns["created_at"].to_physical().to_numpy(),
            columns["parent_id"].fill_null(-1).to_numpy(),
            reason,
            count,
            artist_split,
            np.bincount(row[kept], minlength=table.num_rows),
            tag[kept],
            given[kept],
        )

    def _closed(
        self, starts: NDArray[np.int64], codes: NDArray[np.int64]
    ) -> "csr_array":
        """Returns the closed tags of posts as a matrix [posts, codes].

        At least _GIVEN where given, else smaller.
        """
        from scipy.sparse import csr_array

        ones = np.ones(len(codes), dtype=np.int32)
        on = csr_array(
            (ones, codes.astype(np.int32), starts.astype(np.int32)),
            shape=(len(starts) - 1, self.codes),
        )
        return on @ self.closure

    def _codes(self, dictionary: pl.Series) -> NDArray[np.int64]:
        """Returns the code of each name.

        A join: twice as fast as a dict, and other threads go on.
        """
        found = dictionary.to_frame("name").join(
            self.by_name, on="name", how="left", maintain_order="left"
        )
        return found["code"].fill_null(self.codes - 1).to_numpy()

    def _locked(self, lists: pa.ChunkedArray) -> NDArray[np.uint8]:
        starts, names, dictionary = _names(lists)
        return _any_bits(starts, self.means[self._codes(dictionary)][names] & _OPT_OUT)

    def _judged(
        self, columns: pl.DataFrame, means: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Returns by what the policy and the post's own columns drop it."""
        bits = pl.Series(means)
        too_early = pl.col("created_at") < pl.lit(self.since).str.to_datetime(
            time_zone="UTC"
        )
        by_policy = policy.exclusion_reason_from_flags(
            young=pl.lit((bits & _YOUNG) > 0),
            opted_out=pl.lit((bits & _OPT_OUT) > 0),
            animated=pl.lit((bits & _ANIMATED) > 0),
        )
        by_column = (
            pl.when(~pl.col("rating").is_in(self.params.ratings))
            .then(pl.lit(PostExclusion.RATING.value))
            .when(too_early)
            .then(pl.lit(PostExclusion.BEFORE_SINCE.value))
        )
        reason = columns.select(
            pl.coalesce(by_policy, by_column).cast(pl.Enum(REASONS))
        ).to_series()
        return (
            reason.to_physical().cast(pl.UInt8).fill_null(CANDIDATE).to_numpy().copy()
        )

    def _artists(
        self, starts: NDArray[np.int64], final: NDArray[np.int64], names: NDArray[Any]
    ) -> NDArray[np.int8]:
        posts = len(starts) - 1
        shared = np.full(posts, NO_ARTIST, dtype=np.int8)
        if self.artist_split is None:
            return shared
        by_code = np.full(self.codes, NO_ARTIST, dtype=np.int8)
        by_code[: len(self.artist_split)] = self.artist_split
        by_code[self.known :] = (
            # A name that is not listed yet may turn out to be an artist, of any split
            TORN
        )
        nobody = np.array(
            [
                code
                for name in PSEUDO_ARTISTS
                if (code := self.code[name]) >= self.known
            ],
            dtype=np.int64,
        )
        by_code[nobody] = NO_ARTIST
        split = by_code[final][names]
        named = np.flatnonzero(split != NO_ARTIST)
        row = _post_of(starts, named)
        least, most = np.full(posts, 127, dtype=np.int8), shared.copy()
        np.minimum.at(least, row, split[named])
        np.maximum.at(most, row, split[named])
        shared = np.where(
            most == NO_ARTIST, NO_ARTIST, np.where(least == most, most, TORN)
        )
        return np.where(least == TORN, TORN, shared).astype(np.int8)

    def _table(self, kind: type[np.generic]) -> NDArray[Any]:
        return np.zeros(self.codes, dtype=kind)


def _matrix(closure: ImplicationIndex, codes: int) -> "csr_array":
    """Returns [codes, codes].

    _GIVEN where a tag meets itself, 1 where it implies another.
    """
    from scipy.sparse import csr_array

    lengths = np.diff(
        closure.starts,
        append=np.full(codes + 1 - len(closure.starts), closure.starts[-1]),
    )
    starts = np.concatenate([[0], np.cumsum(lengths + 1)])
    itself = np.zeros(starts[-1], dtype=bool)
    itself[starts[:-1]] = True
    columns = np.empty(len(itself), dtype=np.int32)
    columns[itself], columns[~itself] = np.arange(codes), closure.codes
    return csr_array(
        (
            np.where(itself, _GIVEN, 1).astype(np.int32),
            columns,
            starts.astype(np.int32),
        ),
        (codes, codes),
    )


def _units(rows: list[int]) -> list[list[int]]:
    """Returns row groups, given by their numbers of rows, in runs of about _POSTS posts."""
    units: list[list[int]] = []
    held = _POSTS
    for group, count in enumerate(rows):
        if held >= _POSTS:
            units.append([])
            held = 0
        units[-1].append(group)
        held += count
    return units


def _names(lists: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[Any], pl.Series]:
    """Returns where the names of each post start, the names as places in a dictionary.

    And the dictionary.
    """
    array = lists.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no chunks
        array = (
            pa.concat_arrays(array.chunks)
            if array.num_chunks
            else pa.array([], array.type)
        )
    values = array.flatten()
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return (
        starts,
        values.indices.to_numpy(),
        pl.Series("name", values.dictionary, dtype=pl.String),
    )


def _of(
    posts: NDArray[np.bool_], starts: NDArray[np.int64], names: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Returns starts and names with none left of the other posts."""
    lengths = np.diff(starts)
    return np.concatenate([[0], np.cumsum(lengths * posts)]), names[
        np.repeat(posts, lengths)
    ]


def _post_of(starts: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(starts, places, side="right") - 1


def _any_bits(starts: NDArray[np.int64], bits: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns for each post the bits that any of its names has."""
    every = np.zeros(len(starts) - 1, dtype=np.uint8)
    there = np.flatnonzero(bits)
    np.bitwise_or.at(every, _post_of(starts, there), bits[there])
    return every


def _joined(
    parts: list[_Part], carried: NDArray[np.int64], evidence: LabelNoiseCounts
) -> CandidatePosts:
    def column(name: str, kind: type[np.generic]) -> NDArray[Any]:
        return np.concatenate(
            [np.empty(0, kind), *(getattr(part, name) for part in parts)], dtype=kind
        )

    return CandidatePosts(
        post_id=column("post_id", np.int64),
        created=column("created", np.int64),
        parent_id=column("parent_id", np.int64),
        reason=column("reason", np.uint8),
        candidate_tags=column("candidate_tags", np.int32),
        artist_split=column("artist_split", np.int8),
        starts=np.concatenate([[0], np.cumsum(column("lengths", np.int64))]),
        tags=column("tags", np.int32),
        given=column("given", np.bool_),
        carried=carried,
        evidence=evidence,
    )


def _refuse_disorder(path: Path, post_id: NDArray[np.int64]) -> None:
    wrong = np.flatnonzero(np.diff(post_id) <= 0)
    if len(wrong):
        raise CorruptFile(
            f"{path} is not ordered by post_id: {post_id[wrong[0] + 1]} follows "
            f"{post_id[wrong[0]]}, and "
            f"{len(wrong) - 1:,} more. Delete it and run dvc repro again: harvest puts "
            "it in order."
        )
