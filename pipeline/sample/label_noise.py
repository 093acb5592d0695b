"""How noisy the labels of a board are.

Implied tags that are missing, and aliased names in use.
"""

import threading
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.tag_graph import ImplicationIndex, TagGraph

# Posts counted at once, so that intermediate arrays fit the processor's cache.
_BLOCK = 2_048


class LabelNoiseCounts:
    """Counts over posts that neither the policy nor their own columns exclude.

    Finding which implications were not applied costs more than applying them: a missing
    pair of post and tag may be explained by several tags. So it is counted on about a
    million posts; of smaller boards, on all. Threads may add at the same time.
    """

    def __init__(self, closure: ImplicationIndex, codes: int) -> None:
        """Starts with nothing counted.

        codes: how many there are, those of other names included.
        """
        self.posts = 0
        self.spelled = np.zeros(codes, dtype=np.int64)
        """By code: posts that carry this very name, aliases not resolved."""
        self.carried = np.zeros(codes, dtype=np.int64)
        """By code: posts that were given the tag, in any spelling."""
        entries = len(closure.codes)
        self.lacking = np.zeros(entries, dtype=np.int64)
        """By entry of the index: posts with the antecedent, without the consequent."""
        others = np.full(codes + 1 - len(closure.starts), closure.starts[-1])
        self._starts = np.concatenate([closure.starts, others])
        # A pair is one number: post, tag, and its source: 0 for given, else the entry
        # of the index plus 1.
        self._source_bits = (entries + 1).bit_length()
        self._code_bits = codes.bit_length()
        sources = np.arange(1, entries + 1)
        self._implied = (closure.codes << self._source_bits) | sources
        self._lock = threading.Lock()

    def add(
        self,
        starts: NDArray[np.int64],
        names: NDArray[np.int64],
        code: NDArray[np.int64],
        final: NDArray[np.int64],
    ) -> None:
        """Counts posts.

        Post n has names[starts[n] : starts[n + 1]]; code, final: of names, as written
        and resolved.
        """
        carried = [np.empty(0, np.int64)]
        lacking = [np.empty(0, np.int64)]
        for first, last in _blocks(len(starts) - 1):
            lengths = np.diff(starts[first : last + 1])
            post = np.repeat(np.arange(last - first), lengths)
            tags = final[names[starts[first] : starts[last]]]
            given, missing = self._count_block(post, tags)
            carried.append(given)
            lacking.append(missing)
        spelled = np.bincount(names, minlength=len(code))
        with self._lock:
            self.posts += len(starts) - 1
            np.add.at(self.spelled, code, spelled)
            self.carried += _bincount(carried, len(self.carried))
            self.lacking += _bincount(lacking, len(self.lacking))

    def _count_block(
        self, post: NDArray[np.int64], tag: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the tags given, each once per post, and the entries not followed.

        post, tag: a row per name on a post.
        """
        place = post << (self._code_bits + self._source_bits)
        given = place | (tag << self._source_bits)
        lengths = self._starts[tag + 1] - self._starts[tag]
        ends = np.cumsum(lengths)
        offsets = self._starts[tag] - (ends - lengths)
        entry = np.repeat(offsets, lengths) + np.arange(lengths.sum())
        implied = np.repeat(place, lengths) | self._implied[entry]
        keys = np.concatenate([given, implied])
        keys.sort()
        # Two spellings of one tag count once.
        keys = keys[np.diff(keys, prepend=-1) != 0]
        return self._split_sources(keys)

    def _split_sources(
        self, keys: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns given tags and entries that lead to a tag not given. keys: sorted."""
        pairs = keys >> self._source_bits
        source = keys & ((1 << self._source_bits) - 1)
        if not len(keys):
            return pairs, source
        is_first = np.diff(pairs, prepend=-1) != 0
        # The source 0 sorts first: a pair is given if its first source is.
        is_given = (source == 0)[np.flatnonzero(is_first)]
        pair_number = np.cumsum(is_first) - 1
        is_missing = ~is_given[pair_number]
        tags = pairs & ((1 << self._code_bits) - 1)
        return tags[source == 0], source[is_missing] - 1


def _blocks(posts: int) -> Iterable[tuple[int, int]]:
    """Returns first and last + 1 of each block of posts."""
    bounds = [*range(0, posts, _BLOCK), posts]
    return pairwise(bounds)


def _bincount(parts: list[NDArray[np.int64]], length: int) -> NDArray[np.int64]:
    return np.bincount(np.concatenate(parts), minlength=length)


def missing_implications(
    relations: TagGraph, evidence: LabelNoiseCounts
) -> pl.DataFrame:
    """Returns schemas.MISSING_IMPLICATIONS: implications in force, one step each."""
    rows = []
    for antecedent, consequent, entry in _single_steps(relations):
        posts = int(evidence.carried[relations.code[antecedent]])
        lacking = int(evidence.lacking[entry])
        if posts:
            rows.append((antecedent, consequent, posts, lacking))
    schema = {
        "antecedent": pl.String,
        "consequent": pl.String,
        "posts": pl.Int64,
        "lacking": pl.Int64,
    }
    table = pl.DataFrame(rows, schema=schema, orient="row")
    table = table.with_columns(share=pl.col("lacking") / pl.col("posts"))
    by = ["lacking", "antecedent", "consequent"]
    return table.sort(by, descending=[True, False, False])


def _single_steps(relations: TagGraph) -> Iterable[tuple[str, str, int]]:
    """Yields antecedent, consequent and entry of the index, of one step each.

    Consequents that tags.parquet does not know are passed over.
    """
    closure = relations.closure()
    names = list(relations.code)
    for antecedent, direct in relations.direct.items():
        code = relations.code[antecedent]
        for entry in range(closure.starts[code], closure.starts[code + 1]):
            consequent = int(closure.codes[entry])
            is_known = consequent < relations.tags.height
            if is_known and names[consequent] in direct:
                yield antecedent, names[consequent], entry


def aliases_in_use(relations: TagGraph, evidence: LabelNoiseCounts) -> pl.DataFrame:
    """Returns schemas.ALIASES_IN_USE: names in use that are aliases of others."""
    rows = []
    for name, final in relations.canonical.items():
        posts = int(evidence.spelled[relations.code[name]])
        is_known = relations.code[final] < relations.tags.height
        if posts:
            rows.append((name, final, posts, is_known))
    schema = {
        "name": pl.String,
        "stands_for": pl.String,
        "posts": pl.Int64,
        "is_known": pl.Boolean,
    }
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return table.sort(["posts", "name"], descending=[True, False])
