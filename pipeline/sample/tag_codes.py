"""What the names on posts mean to `sample`, by code.

Codes are those of a TagGraph, and further ones for names that only the policy knows.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline import policy
from pipeline.params.sample import Sample
from pipeline.sample.splits import PSEUDO_ARTISTS
from pipeline.tag_graph import TagGraph

# Bits: what a name on a post means to the policy.
YOUNG, OPT_OUT, ANIMATED = 1, 2, 4


class TagCodes:
    """The codes of all names that a post may have, with tables by code."""

    def __init__(
        self,
        params: Sample,
        relations: TagGraph,
        names: policy.PolicyTags,
        listed: Iterable[str],
    ) -> None:
        """Takes what to look for. listed: wanted whatever their category."""
        self.known = relations.tags.height  # codes from here on are not in tags.parquet
        # Names that only the policy knows get codes too. The code after them all is
        # that of every other name.
        self.policed = names.young | names.opt_out | policy.ANIMATED_TAGS
        self.code = dict(relations.code)
        for name in sorted(self.policed | PSEUDO_ARTISTS):
            self.code.setdefault(name, len(self.code))
        self.count = len(self.code) + 1
        self._by_name = _code_table(self.code)
        self.final = self._final_codes(relations)
        self.meaning = self._policy_bits(names)
        self.wanted = self._wanted_codes(params, relations, listed)
        self.excluded = self._excluded_codes(params, relations)

    def look_up(self, dictionary: pl.Series) -> NDArray[np.int64]:
        """Returns the code of each name.

        A join: twice as fast as a dict, and other threads go on.
        """
        names = dictionary.to_frame("name")
        found = names.join(self._by_name, on="name", how="left", maintain_order="left")
        return found["code"].fill_null(self.count - 1).to_numpy()

    def _final_codes(self, relations: TagGraph) -> NDArray[np.int64]:
        """Returns, by code, the code of what the name finally stands for."""
        final = np.arange(self.count)
        final[: len(relations.code)] = relations.canonical_codes()
        return final

    def _policy_bits(self, names: policy.PolicyTags) -> NDArray[np.uint8]:
        """Returns, by code, what the name means to the policy."""
        meaning = np.zeros(self.count, dtype=np.uint8)
        for bit, named in (
            (YOUNG, names.young),
            (OPT_OUT, names.opt_out),
            (ANIMATED, policy.ANIMATED_TAGS),
        ):
            codes = [self.code[name] for name in named]
            meaning[codes] |= bit
        return meaning

    def _wanted_codes(
        self, params: Sample, relations: TagGraph, listed: Iterable[str]
    ) -> NDArray[np.bool_]:
        """Returns, by code, whether the tag may be in the vocabulary."""
        wanted = np.zeros(self.count, dtype=np.bool_)
        is_in_category = relations.tags["category"].is_in(params.categories)
        wanted[: self.known] = is_in_category.to_numpy()
        for name in relations.resolve(listed):
            code = self.code.get(name, self.known)
            if code < self.known:
                wanted[code] = True
        return wanted

    def _excluded_codes(self, params: Sample, relations: TagGraph) -> NDArray[np.bool_]:
        """Returns, by code, whether a post with the tag is excluded."""
        excluded = np.zeros(self.count, dtype=np.bool_)
        for name in relations.resolve(params.exclude_tags):
            if name in self.code:
                excluded[self.code[name]] = True
        return excluded


def _code_table(code: Mapping[str, int]) -> pl.DataFrame:
    """Returns names and codes as a table, to be joined with."""
    return pl.DataFrame({"name": list(code), "code": list(code.values())})
