"""Reads the snapshot's posts, some row groups at a time, into small integer arrays.

e621 has 240 million tags on its posts. As strings in a table they cost hundreds of
bytes each, and minutes to close over the implications. Here Parquet's own dictionary
gives a number per distinct name, which is looked up once, and a sparse product of posts
by tags with tags by what they imply resolves, closes and deduplicates, and marks which
tags were given.
"""

import os
import threading
from collections.abc import Iterable, Mapping
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
from pipeline.sample.label_noise import LabelNoiseCounts
from pipeline.sample.splits import NO_ARTIST, PSEUDO_ARTISTS, TORN
from pipeline.schemas.reasons import PostExclusion
from pipeline.tag_graph import ImplicationIndex, TagGraph

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
# Posts read at once, at least: smaller batches look up the same names more often,
# larger ones take memory.
_POSTS = 128_000
# One in so many runs of row groups is examined for label noise.
_NOISE_INTERVAL = 8
# More than the tags of one post that can imply a tag.
_GIVEN = 1 << 16
# Bits: what a name on a post means to the policy.
_YOUNG, _OPT_OUT, _ANIMATED = 1, 2, 4


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
    reason: NDArray[np.uint8]  # index into REASONS, or CANDIDATE
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


@dataclass(frozen=True, slots=True)
class _Names:
    """The names on posts: post n has dictionary[places[starts[n] : starts[n + 1]]]."""

    starts: NDArray[np.int64]
    places: NDArray[Any]
    dictionary: pl.Series


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
        self.known = relations.tags.height  # codes from here on are not in tags.parquet
        # Names that only the policy knows get codes too. The code after them all is
        # that of every other name.
        self.policed = names.young | names.opt_out | policy.ANIMATED_TAGS
        self.code = dict(relations.code)
        for name in sorted(self.policed | PSEUDO_ARTISTS):
            self.code.setdefault(name, len(self.code))
        self.codes = len(self.code) + 1
        self.by_name = _code_table(self.code)
        self.final = self._final_codes(relations)
        self.meaning = self._policy_bits(names)
        self.wanted = self._wanted_codes(relations, listed)
        self.excluded = self._excluded_codes(relations)
        self.artist_split = artist_split
        closure = relations.closure()
        self.closure = _closure_matrix(closure, self.codes)
        self.evidence = LabelNoiseCounts(closure, self.codes)
        self._carried = np.zeros(self.codes, dtype=np.int64)
        self._lock = threading.Lock()
        self._local = threading.local()

    def _final_codes(self, relations: TagGraph) -> NDArray[np.int64]:
        """Returns, by code, the code of what the name finally stands for."""
        final = np.arange(self.codes)
        final[: len(relations.code)] = relations.canonical_codes()
        return final

    def _policy_bits(self, names: policy.PolicyTags) -> NDArray[np.uint8]:
        """Returns, by code, what the name means to the policy."""
        meaning = np.zeros(self.codes, dtype=np.uint8)
        for bit, named in (
            (_YOUNG, names.young),
            (_OPT_OUT, names.opt_out),
            (_ANIMATED, policy.ANIMATED_TAGS),
        ):
            codes = [self.code[name] for name in named]
            meaning[codes] |= bit
        return meaning

    def _wanted_codes(
        self, relations: TagGraph, listed: Iterable[str]
    ) -> NDArray[np.bool_]:
        """Returns, by code, whether the tag may be in the vocabulary."""
        wanted = np.zeros(self.codes, dtype=np.bool_)
        is_in_category = relations.tags["category"].is_in(self.params.categories)
        wanted[: self.known] = is_in_category.to_numpy()
        for name in relations.resolve(listed):
            code = self.code.get(name, self.known)
            if code < self.known:
                wanted[code] = True
        return wanted

    def _excluded_codes(self, relations: TagGraph) -> NDArray[np.bool_]:
        """Returns, by code, whether a post with the tag is excluded."""
        excluded = np.zeros(self.codes, dtype=np.bool_)
        for name in relations.resolve(self.params.exclude_tags):
            if name in self.code:
                excluded[self.code[name]] = True
        return excluded

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
        names = _names(table["tags"])
        code = self._codes(names.dictionary)
        final = self.final[code]
        of_tags = _any_bits(names.starts, self.meaning[code][names.places])
        of_locked_tags = self._locked_meaning(table["locked_tags"])
        columns = pl.DataFrame(pl.from_arrow(table.select(COLUMNS)))
        reason = self._exclusion(columns, of_tags | of_locked_tags)
        artist_split = self._artist_splits(names, final)
        if counts_noise:
            starts, places = _only(reason == CANDIDATE, names)
            self.evidence.add(starts, places, code, final)
        closed = self._closed(names.starts, final[names.places])
        self._count_carried(closed)
        return self._make_part(columns, reason, artist_split, closed)

    def _count_carried(self, closed: "csr_array") -> None:
        """Adds the posts with each tag."""
        counts = np.bincount(closed.indices, minlength=self.codes)
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
        self._exclude_by_tags(reason, closed.indices, row, count)
        is_candidate = reason == CANDIDATE
        count[~is_candidate] = 0
        kept = np.flatnonzero(self.wanted[closed.indices] & is_candidate[row])
        return _Part(
            columns["post_id"].to_numpy(),
            columns["created_at"].to_physical().to_numpy(),
            columns["parent_id"].fill_null(-1).to_numpy(),
            reason,
            count,
            artist_split,
            np.bincount(row[kept], minlength=len(reason)),
            closed.indices[kept],
            closed.data[kept] >= _GIVEN,
        )

    def _closed(
        self, starts: NDArray[np.int64], codes: NDArray[np.int64]
    ) -> "csr_array":
        """Returns the closed tags of posts as a matrix [posts, codes].

        At least _GIVEN where given, else smaller.
        """
        from scipy.sparse import csr_array

        ones = np.ones(len(codes), dtype=np.int32)
        entries = (ones, codes.astype(np.int32), starts.astype(np.int32))
        tagged = csr_array(entries, shape=(len(starts) - 1, self.codes))
        return tagged @ self.closure

    def _count_known(
        self, closed: "csr_array", row: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Returns how many tags of each post tags.parquet knows."""
        posts = closed.shape[0]
        unknown_rows = row[np.flatnonzero(closed.indices >= self.known)]
        unknown = np.bincount(unknown_rows, minlength=posts)
        return (np.diff(closed.indptr) - unknown).astype(np.int32)

    def _exclude_by_tags(
        self,
        reason: NDArray[np.uint8],
        tag: NDArray[np.int32],
        row: NDArray[np.int64],
        count: NDArray[np.int32],
    ) -> None:
        """Sets the reason of candidates with too few tags, or with an excluded one."""
        remains = reason == CANDIDATE
        is_excluded = np.zeros(len(reason), dtype=bool)
        is_excluded[row[np.flatnonzero(self.excluded[tag])]] = True
        has_too_few = count < self.params.min_tags
        too_few_tags = REASONS.index(PostExclusion.TOO_FEW_TAGS.value)
        reason[remains & has_too_few] = too_few_tags
        excluded_tag = REASONS.index(PostExclusion.EXCLUDED_TAG.value)
        reason[remains & is_excluded] = excluded_tag

    def _codes(self, dictionary: pl.Series) -> NDArray[np.int64]:
        """Returns the code of each name.

        A join: twice as fast as a dict, and other threads go on.
        """
        names = dictionary.to_frame("name")
        found = names.join(self.by_name, on="name", how="left", maintain_order="left")
        return found["code"].fill_null(self.codes - 1).to_numpy()

    def _locked_meaning(self, lists: pa.ChunkedArray) -> NDArray[np.uint8]:
        """Returns the opt-outs among the locked tags of each post."""
        names = _names(lists)
        codes = self._codes(names.dictionary)
        return _any_bits(names.starts, self.meaning[codes][names.places] & _OPT_OUT)

    def _exclusion(
        self, columns: pl.DataFrame, meaning: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Returns the reason by which the policy or its own columns exclude a post."""
        bits = pl.Series(meaning)
        by_policy = policy.exclusion_reason_from_flags(
            young=pl.lit((bits & _YOUNG) > 0),
            opted_out=pl.lit((bits & _OPT_OUT) > 0),
            animated=pl.lit((bits & _ANIMATED) > 0),
        )
        first_day = pl.lit(self.params.since).cast(pl.Datetime("us", "UTC"))
        by_column = (
            pl.when(~pl.col("rating").is_in(self.params.ratings))
            .then(pl.lit(PostExclusion.RATING.value))
            .when(pl.col("created_at") < first_day)
            .then(pl.lit(PostExclusion.BEFORE_SINCE.value))
        )
        name = pl.coalesce(by_policy, by_column).cast(pl.Enum(REASONS))
        index = columns.select(name).to_series().to_physical().cast(pl.UInt8)
        return index.fill_null(CANDIDATE).to_numpy().copy()

    def _artist_splits(
        self, names: _Names, final: NDArray[np.int64]
    ) -> NDArray[np.int8]:
        """Returns the split that the artists of each post share, NO_ARTIST or TORN."""
        posts = len(names.starts) - 1
        if self.artist_split is None:
            return np.full(posts, NO_ARTIST, dtype=np.int8)
        by_code = self._artist_split_by_code(self.artist_split)
        split = by_code[final][names.places]
        named = np.flatnonzero(split != NO_ARTIST)
        row = _post_of(names.starts, named)
        lowest = np.full(posts, 127, dtype=np.int8)
        highest = np.full(posts, NO_ARTIST, dtype=np.int8)
        np.minimum.at(lowest, row, split[named])
        np.maximum.at(highest, row, split[named])
        shared = np.where(lowest == highest, highest, TORN)
        shared = np.where(highest == NO_ARTIST, NO_ARTIST, shared)
        return np.where(lowest == TORN, TORN, shared).astype(np.int8)

    def _artist_split_by_code(self, artist_split: NDArray[np.int8]) -> NDArray[np.int8]:
        by_code = np.full(self.codes, NO_ARTIST, dtype=np.int8)
        by_code[: len(artist_split)] = artist_split
        # A name that is not listed yet may turn out to be an artist, of any split.
        by_code[self.known :] = TORN
        for name in PSEUDO_ARTISTS:
            if self.code[name] >= self.known:
                by_code[self.code[name]] = NO_ARTIST
        return by_code


def _closure_matrix(closure: ImplicationIndex, codes: int) -> "csr_array":
    """Returns [codes, codes]: _GIVEN on the diagonal, 1 where a tag implies another."""
    from scipy.sparse import csr_array

    others = np.full(codes + 1 - len(closure.starts), closure.starts[-1])
    lengths = np.diff(closure.starts, append=others)
    starts = np.concatenate([[0], np.cumsum(lengths + 1)])
    is_itself = np.zeros(starts[-1], dtype=bool)
    is_itself[starts[:-1]] = True
    columns = np.empty(len(is_itself), dtype=np.int32)
    columns[is_itself] = np.arange(codes)
    columns[~is_itself] = closure.codes
    values = np.where(is_itself, _GIVEN, 1).astype(np.int32)
    entries = (values, columns, starts.astype(np.int32))
    return csr_array(entries, shape=(codes, codes))


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


def _names(lists: pa.ChunkedArray) -> _Names:
    array = _one_array(lists.unify_dictionaries())
    values = array.flatten()
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    dictionary = pl.Series("name", values.dictionary, dtype=pl.String)
    return _Names(starts, values.indices.to_numpy(), dictionary)


def _one_array(lists: pa.ChunkedArray) -> pa.Array:
    array = lists.combine_chunks()
    if not isinstance(array, pa.ChunkedArray):
        return array
    if not array.num_chunks:
        return pa.array([], array.type)
    return pa.concat_arrays(array.chunks)


def _only(
    posts: NDArray[np.bool_], names: _Names
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Returns starts and places, with none left of the other posts."""
    lengths = np.diff(names.starts)
    starts = np.concatenate([[0], np.cumsum(lengths * posts)])
    return starts, names.places[np.repeat(posts, lengths)]


def _post_of(starts: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(starts, places, side="right") - 1


def _any_bits(starts: NDArray[np.int64], bits: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns for each post the bits that any of its names has."""
    combined = np.zeros(len(starts) - 1, dtype=np.uint8)
    places = np.flatnonzero(bits)
    np.bitwise_or.at(combined, _post_of(starts, places), bits[places])
    return combined


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


def _code_table(code: Mapping[str, int]) -> pl.DataFrame:
    """Returns names and codes as a table, to be joined with."""
    return pl.DataFrame({"name": list(code), "code": list(code.values())})


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
