"""Evidence of label noise.

Counted, on some of the row groups, by which names posts say what they say.

To tell which implication was not followed takes more than to follow them all: a pair of
post and tag that lacks may be explained by several tags. So it is counted on about a
million posts; of smaller boards, on all.
"""

import threading
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.tag_graph import ImplicationIndex

_POSTS = (
    2_048  # looked at at once, so that the arrays in between fit the processor's cache
)


class LabelNoiseCounts:
    """Counts over posts that neither the policy nor their own columns drop.

    Threads may add at the same time.
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
        self.lacking = np.zeros(len(closure.codes), dtype=np.int64)
        """By entry of Implied: posts that were given the antecedent and not the consequent."""
        last = closure.starts[-1]
        self._starts = np.concatenate(
            [closure.starts, np.full(codes + 1 - len(closure.starts), last)]
        )
        # A pair is one number: post, tag, and how it is known: 0 for given, else the
        # entry of Implied plus 1.
        self._how_bits, self._code_bits = (
            (len(closure.codes) + 1).bit_length(),
            codes.bit_length(),
        )
        self._implied = (closure.codes << self._how_bits) | np.arange(
            1, len(closure.codes) + 1
        )
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
        nothing = np.empty(0, np.int64)
        found = [(nothing, nothing)]
        for first, last in pairwise(
            [*range(0, len(starts) - 1, _POSTS), len(starts) - 1]
        ):
            here = slice(starts[first], starts[last])
            post = np.repeat(np.arange(last - first), np.diff(starts[first : last + 1]))
            found.append(
                self._explained(
                    post << (self._code_bits + self._how_bits), final[names[here]]
                )
            )
        carried, lacking = (
            np.concatenate(column) for column in zip(*found, strict=True)
        )
        with self._lock:
            self.posts += len(starts) - 1
            np.add.at(self.spelled, code, np.bincount(names, minlength=len(code)))
            self.carried += np.bincount(carried, minlength=len(self.carried))
            self.lacking += np.bincount(lacking - 1, minlength=len(self.lacking))

    def _explained(
        self, place: NDArray[np.int64], tag: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the tags given, each once per post.

        And the entries, plus 1, that lead to a tag not given.

        place, tag: a row per name on a post.
        """
        lengths = self._starts[tag + 1] - self._starts[tag]
        entry = np.repeat(
            self._starts[tag] - (np.cumsum(lengths) - lengths), lengths
        ) + np.arange(lengths.sum())
        keys = np.concatenate(
            [
                place | (tag << self._how_bits),
                np.repeat(place, lengths) | self._implied[entry],
            ]
        )
        keys.sort()
        keys = keys[
            np.diff(keys, prepend=-1) != 0
        ]  # two spellings of one tag count once
        pairs, how = keys >> self._how_bits, keys & ((1 << self._how_bits) - 1)
        is_first = np.diff(pairs, prepend=-1) != 0
        is_given = (how == 0)[np.flatnonzero(is_first)]
        lacks = ~is_given[np.cumsum(is_first) - 1] if len(keys) else is_first
        return pairs[how == 0] & ((1 << self._code_bits) - 1), how[lacks]
