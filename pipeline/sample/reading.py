"""Reads the snapshot's posts, one row group at a time, into small integer arrays.

e621 has 240 million tags on its posts. As strings in a table they cost hundreds of bytes each and minutes to close
over the implications; here Parquet's own dictionary gives a number per distinct name of a row group, which is looked
up once, and one sort per row group resolves, closes, removes doubles, and says what was given and what lacked.
"""

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import parquet, policy
from pipeline.errors import CorruptFile
from pipeline.params import Sample
from pipeline.sample.labels import Relations
from pipeline.sample.splits import NO_ARTIST, TORN
from pipeline.schemas import Dropped

COLUMNS = ("post_id", "created_at", "rating", "ext", "duration", "parent_id", "is_deleted", "is_withheld")
REASONS = tuple(reason.value for reason in Dropped)
CANDIDATE = len(REASONS)  # in place of a reason
_ROWS = 2_048  # posts closed at once, so that the arrays in between fit the processor's cache
_YOUNG, _OPT_OUT, _ANIMATED = 1, 2, 4  # bits: what a name on a post means to the policy


@dataclass(frozen=True, slots=True)
class Posts:
    """All posts of a snapshot, ordered by post_id, and the tags of those that may be sampled.

    Tags are codes of `Relations`, closed over implications, those of the wanted categories only, in a sparse matrix:
    post n has `tags[starts[n] : starts[n + 1]]`, ascending; posts that are dropped have none.
    """

    post_id: NDArray[np.int64]
    created: NDArray[np.int64]  # microseconds since 1970, UTC
    parent_id: NDArray[np.int64]  # -1: none
    reason: NDArray[np.uint8]  # index into REASONS, or CANDIDATE
    candidate_tags: NDArray[np.int32]  # of all categories, after closure; 0 where dropped
    artist_split: NDArray[np.int8]  # the split that the post's artists share, or NO_ARTIST, or TORN
    starts: NDArray[np.int64]
    tags: NDArray[np.int32]
    given: NDArray[np.bool_]  # not only implied
    # Of posts that neither the policy nor their own columns drop:
    spelled: NDArray[np.int64]  # by code: that carry this very name, aliases not resolved
    carried: NDArray[np.int64]  # by code: that were given the tag, in any spelling
    lacking: NDArray[np.int64]  # by entry of Implied: that were given the antecedent and not the consequent


@dataclass(frozen=True, slots=True)
class _Part:
    """A row group, read. Columns as in Posts; `lengths` instead of `starts`."""

    post_id: NDArray[np.int64]
    created: NDArray[np.int64]
    parent_id: NDArray[np.int64]
    reason: NDArray[np.uint8]
    candidate_tags: NDArray[np.int32]
    artist_split: NDArray[np.int8]
    lengths: NDArray[np.int64]
    tags: NDArray[np.int32]
    given: NDArray[np.bool_]


class Reader:
    """What every row group is read with."""

    def __init__(
        self,
        params: Sample,
        since: str,
        relations: Relations,
        names: policy.Names,
        *,
        artist_split: NDArray[np.int8] | None = None,
        listed: Iterable[str] = (),
    ) -> None:
        """Takes what to look for. since: ISO date; artist_split: by code; listed: wanted whatever their category."""
        self.params, self.since = params, since
        self.known = relations.tags.height  # codes from here on are not in tags.parquet
        # Names that only the policy knows get codes too; the code after them all stands for every other name.
        self.code = dict(relations.code)
        for name in sorted(names.young | names.opt_out | policy.ANIMATED_TAGS):
            self.code.setdefault(name, len(self.code))
        self.codes = len(self.code) + 1
        self.final = np.arange(self.codes)
        self.final[: len(relations.code)] = relations.stands_for()
        self.means = self._table(np.uint8)
        for bit, meant in ((_YOUNG, names.young), (_OPT_OUT, names.opt_out), (_ANIMATED, policy.ANIMATED_TAGS)):
            self.means[[self.code[name] for name in meant]] |= bit
        self.wanted, self.excluded = self._table(np.bool_), self._table(np.bool_)
        self.wanted[: self.known] = relations.tags["category"].is_in(params.categories).to_numpy()
        self.wanted[
            [code for name in relations.resolve(listed) if (code := self.code.get(name, self.known)) < self.known]
        ] = True
        self.excluded[[self.code[name] for name in relations.resolve(params.exclude_tags) if name in self.code]] = True
        self.artist_split = artist_split
        closure = relations.closure()
        self.starts = np.concatenate(
            [closure.starts, np.full(self.codes + 1 - len(closure.starts), closure.starts[-1])]
        )
        # A pair is one number: post, tag, and how it is known: 0 for given, else the entry of Implied plus 1.
        self.how_bits, self.code_bits = (len(closure.codes) + 1).bit_length(), self.codes.bit_length()
        self.implied = (closure.codes << self.how_bits) | np.arange(1, len(closure.codes) + 1)
        self.spelled = np.zeros(self.codes, dtype=np.int64)
        self.carried = np.zeros(self.codes, dtype=np.int64)
        self.lacking = np.zeros(len(closure.codes), dtype=np.int64)
        self._lock, self._local = threading.Lock(), threading.local()

    def read(self, path: Path) -> Posts:
        """Reads posts.parquet once; raises CorruptFile where it cannot be read or is not ordered by post_id."""
        try:
            metadata = pq.read_metadata(path)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                parts = list(
                    pool.map(lambda n: self._group(self._open(path, metadata), n), range(metadata.num_row_groups))
                )
        except (pa.ArrowInvalid, OSError) as error:
            raise parquet.damaged(path, error) from error
        posts = self._joined(parts)
        _refuse_disorder(path, posts.post_id)
        return posts

    def _open(self, path: Path, metadata: pq.FileMetaData) -> pq.ParquetFile:
        """Returns this thread's own reader of the file; the metadata of hundreds of row groups is parsed once."""
        if not hasattr(self._local, "file"):
            leaves = [metadata.schema.column(n).path for n in range(metadata.num_columns)]
            self._local.file = pq.ParquetFile(
                path,
                metadata=metadata,
                read_dictionary=[leaf for leaf in leaves if leaf.split(".")[0] in ("tags", "locked_tags")],
            )
        return self._local.file

    def _group(self, file: pq.ParquetFile, number: int) -> _Part:
        table = file.read_row_group(number, columns=[*COLUMNS, "tags", "locked_tags"], use_threads=False)
        rows, names, dictionary = _names(table["tags"])
        code = self._codes(dictionary)
        means = _any_bits(rows, self.means[code][names], table.num_rows)
        means |= self._locked(table["locked_tags"], table.num_rows)
        columns = pl.DataFrame(pl.from_arrow(table.select(COLUMNS)))
        reason = self._judged(columns, means)
        here = np.flatnonzero((reason == CANDIDATE)[rows])
        row, tag, given = self._closed(rows[here], names[here], code)
        count = np.bincount(row, minlength=table.num_rows).astype(np.int32)
        self._judge_by_tags(reason, count, row, tag)
        count[reason != CANDIDATE] = 0
        kept = np.flatnonzero(self.wanted[tag] & (reason == CANDIDATE)[row])
        return _Part(
            columns["post_id"].to_numpy(),
            columns["created_at"].to_physical().to_numpy(),
            columns["parent_id"].fill_null(-1).to_numpy(),
            reason,
            count,
            self._artists(rows, self.final[code], names, table.num_rows),
            np.bincount(row[kept], minlength=table.num_rows),
            tag[kept].astype(np.int32),
            given[kept],
        )

    def _codes(self, dictionary: list[str]) -> NDArray[np.int64]:
        return np.fromiter(map(self.code.get, dictionary, repeat(self.codes - 1)), np.int64, len(dictionary))

    def _locked(self, lists: pa.ChunkedArray, posts: int) -> NDArray[np.uint8]:
        rows, names, dictionary = _names(lists)
        return _any_bits(rows, self.means[self._codes(dictionary)][names] & _OPT_OUT, posts)

    def _judged(self, columns: pl.DataFrame, means: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns by what the policy and the post's own columns drop it."""
        bits = pl.Series(means)
        too_early = pl.col("created_at") < pl.lit(self.since).str.to_datetime(time_zone="UTC")
        by_policy = policy.judge(
            young=pl.lit((bits & _YOUNG) > 0),
            opted_out=pl.lit((bits & _OPT_OUT) > 0),
            animated=pl.lit((bits & _ANIMATED) > 0),
        )
        by_column = (
            pl.when(~pl.col("rating").is_in(self.params.ratings))
            .then(pl.lit(Dropped.RATING.value))
            .when(too_early)
            .then(pl.lit(Dropped.BEFORE_SINCE.value))
        )
        reason = columns.select(pl.coalesce(by_policy, by_column).cast(pl.Enum(REASONS))).to_series()
        return reason.to_physical().cast(pl.UInt8).fill_null(CANDIDATE).to_numpy().copy()

    def _closed(
        self, rows: NDArray[np.int64], names: NDArray[Any], code: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Returns rows, tags and whether given of all pairs after closure, each once, ordered by row, then tag.

        rows, names: the pairs, names as places in a dictionary; code: of the dictionary's names. Pairs whose tag is not
        in tags.parquet are left out at last: what they imply counts.
        """
        final = self.final[code]
        first, length, key = self.starts[final], np.diff(self.starts)[final], final << self.how_bits
        cuts = np.searchsorted(rows, np.arange(0, rows.max(initial=0) + _ROWS + 1, _ROWS))
        closed = []
        for start, end in pairwise(cuts.tolist()):
            name, place = names[start:end], rows[start:end] << (self.code_bits + self.how_bits)
            lengths = length[name]
            entry = np.repeat(first[name] - (np.cumsum(lengths) - lengths), lengths)
            entry += np.arange(len(entry))
            keys = np.concatenate([place | key[name], np.repeat(place, lengths) | self.implied[entry]])
            closed.append(self._once(keys))
        pairs, given, lacking = (np.concatenate(column) for column in zip(*closed, strict=True))
        tag = pairs & ((1 << self.code_bits) - 1)
        with self._lock:
            np.add.at(self.spelled, code, np.bincount(names, minlength=len(code)))
            self.carried += np.bincount(tag[given], minlength=self.codes)
            self.lacking += np.bincount(lacking - 1, minlength=len(self.lacking))
        known = np.flatnonzero(tag < self.known)
        return (pairs >> self.code_bits)[known], tag[known], given[known]

    def _once(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Returns each pair of post and tag once, whether it was given, and what explains those that were not.

        The latter are the entries, plus 1, that lead to a pair, alone or with others.
        """
        keys.sort()
        pairs = keys >> self.how_bits
        is_first = np.ones(len(keys), dtype=bool)
        np.not_equal(pairs[1:], pairs[:-1], out=is_first[1:])
        how = keys & ((1 << self.how_bits) - 1)
        place = np.flatnonzero(is_first & (how > 0))
        lacking = [how[place]]
        while len(place := place[place + 1 < len(how)] + 1):
            place = place[~is_first[place]]
            lacking.append(how[place[keys[place] != keys[place - 1]]])  # two spellings of one tag count once
        once = np.flatnonzero(is_first)
        return pairs[once], how[once] == 0, np.concatenate(lacking)

    def _judge_by_tags(
        self, reason: NDArray[np.uint8], count: NDArray[np.int32], row: NDArray[np.int64], tag: NDArray[np.int64]
    ) -> None:
        """Sets the reasons that lie in the tags, where no other was found."""
        open_to = reason == CANDIDATE
        reason[open_to & (count < self.params.min_tags)] = REASONS.index(Dropped.TOO_FEW_TAGS.value)
        reason[row[self.excluded[tag]]] = REASONS.index(Dropped.EXCLUDED_TAG.value)

    def _artists(
        self, rows: NDArray[np.int64], final: NDArray[np.int64], names: NDArray[Any], posts: int
    ) -> NDArray[np.int8]:
        shared = np.full(posts, NO_ARTIST, dtype=np.int8)
        if self.artist_split is None:
            return shared
        by_code = np.full(self.codes, NO_ARTIST, dtype=np.int8)
        by_code[: len(self.artist_split)] = self.artist_split
        split = by_code[final][names]
        named = np.flatnonzero(split != NO_ARTIST)
        least, most = np.full(posts, 127, dtype=np.int8), shared.copy()
        np.minimum.at(least, rows[named], split[named])
        np.maximum.at(most, rows[named], split[named])
        return np.where(most == NO_ARTIST, NO_ARTIST, np.where(least == most, most, TORN)).astype(np.int8)

    def _joined(self, parts: list[_Part]) -> Posts:
        def column(name: str, kind: type[np.generic]) -> NDArray[Any]:
            return np.concatenate([np.empty(0, kind), *(getattr(part, name) for part in parts)], dtype=kind)

        return Posts(
            post_id=column("post_id", np.int64),
            created=column("created", np.int64),
            parent_id=column("parent_id", np.int64),
            reason=column("reason", np.uint8),
            candidate_tags=column("candidate_tags", np.int32),
            artist_split=column("artist_split", np.int8),
            starts=np.concatenate([[0], np.cumsum(column("lengths", np.int64))]),
            tags=column("tags", np.int32),
            given=column("given", np.bool_),
            spelled=self.spelled,
            carried=self.carried,
            lacking=self.lacking,
        )

    def _table(self, kind: type[np.generic]) -> NDArray[Any]:
        return np.zeros(self.codes, dtype=kind)


def _names(lists: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[Any], list[str]]:
    """Returns the row and the place in a dictionary of every name in a column of lists, and the dictionary."""
    if lists.num_chunks != 1:  # a row group is read as one, unless its text passes 2 GiB
        lists = pa.chunked_array([lists.combine_chunks()])
    array = lists.chunk(0)
    values = array.flatten()
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lengths)), lengths), values.indices.to_numpy(), values.dictionary.to_pylist()


def _any_bits(rows: NDArray[np.int64], bits: NDArray[Any], posts: int) -> NDArray[np.uint8]:
    """Returns for each post the bits that any of its names has."""
    every = np.zeros(posts, dtype=np.uint8)
    there = np.flatnonzero(bits)
    np.bitwise_or.at(every, rows[there], bits[there])
    return every


def _refuse_disorder(path: Path, post_id: NDArray[np.int64]) -> None:
    wrong = np.flatnonzero(np.diff(post_id) <= 0)
    if len(wrong):
        raise CorruptFile(
            f"{path} is not ordered by post_id: {post_id[wrong[0] + 1]} follows {post_id[wrong[0]]}, and "
            f"{len(wrong) - 1:,} more. Delete it and run dvc repro again: harvest puts it in order."
        )
