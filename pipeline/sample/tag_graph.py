"""From tag names to codes: aliases resolved, implications closed to any depth.

A code is the row of a tag in `Relations.tags`; names that only relations know have the
codes after the last row. All that is done to forty tags on each of millions of posts is
done on codes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.policy import EFFECTIVE

CATEGORIES = (
    "general",
    "artist",
    "contributor",
    "copyright",
    "character",
    "species",
    "invalid",
    "meta",
    "lore",
)
"""Category names by the site's id (contract section 6)."""


@dataclass(frozen=True, slots=True)
class ImplicationIndex:
    """What codes imply, to any depth: `codes[starts[c] : starts[c + 1]]` for code c.

    An entry is a place in `codes`.
    """

    starts: NDArray[np.int64]
    codes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TagGraph:
    """The tags of a snapshot with the relations in force between them."""

    # tag_id, name, category (name), one row per name: the oldest where the snapshot has
    # more
    tags: pl.DataFrame
    code: Mapping[str, int]  # every name in force anywhere
    canonical: Mapping[str, str]  # antecedent -> what it finally stands for
    direct: Mapping[
        str, frozenset[str]
    ]  # canonical name -> what it implies in one step
    implied: Mapping[
        str, frozenset[str]
    ]  # canonical name -> all it implies, itself left out

    @classmethod
    def read(
        cls, tags: pl.DataFrame, aliases: pl.DataFrame, implications: pl.DataFrame
    ) -> "TagGraph":
        """Builds the relations from the snapshot's tables.

        Those not in force are left aside.
        """
        canonical = _canonical(pairs_in_force(aliases))
        direct: dict[str, set[str]] = {}
        for antecedent, consequent in pairs_in_force(implications):
            direct.setdefault(canonical.get(antecedent, antecedent), set()).add(
                canonical.get(consequent, consequent)
            )
        implied = _closure(direct)
        named = (
            tags.sort("tag_id")
            .unique("name", keep="first", maintain_order=True)
            .select(
                "tag_id",
                "name",
                category=pl.col("category").replace_strict(
                    dict(enumerate(CATEGORIES)),
                    default="invalid",
                    return_dtype=pl.String,
                ),
            )
        )
        code = {name: number for number, name in enumerate(named["name"].to_list())}
        for name in sorted(
            {
                *canonical,
                *canonical.values(),
                *implied,
                *(n for one in implied.values() for n in one),
            }
        ):
            code.setdefault(name, len(code))
        return cls(
            named,
            code,
            canonical,
            {name: frozenset(to) for name, to in direct.items()},
            implied,
        )

    def resolve(self, names: Iterable[str]) -> list[str]:
        """Returns the names with aliases replaced by what they stand for, sorted."""
        return sorted({self.canonical.get(name, name) for name in names})

    def canonical_codes(self) -> NDArray[np.int64]:
        """Returns for each code the code of what it finally stands for."""
        final = np.arange(len(self.code))
        for name, reached in self.canonical.items():
            final[self.code[name]] = self.code[reached]
        return final

    def closure(self) -> ImplicationIndex:
        """Returns `implied` by code, the entries of each code ascending."""
        lists: list[list[int]] = [[] for _ in range(len(self.code))]
        for name, reached in self.implied.items():
            lists[self.code[name]] = sorted(self.code[one] for one in reached)
        starts = np.concatenate(
            [[0], np.cumsum([len(one) for one in lists], dtype=np.int64)]
        )
        return ImplicationIndex(
            starts, np.array([code for one in lists for code in one], dtype=np.int64)
        )


def pairs_in_force(relations: pl.DataFrame) -> list[tuple[str, str]]:
    """Returns antecedent and consequent of schemas.RELATIONS in force, ordered by relation_id."""
    in_force = relations.filter(pl.col("status").is_in(sorted(EFFECTIVE)))
    return list(zip(in_force["antecedent"], in_force["consequent"], strict=True))


def _canonical(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Follows alias chains to their end.

    A chain that turns back on itself ends where it closes.
    """
    step = dict(pairs)
    final = {}
    for name in step:
        seen, reached = {name}, step[name]
        while reached in step and reached not in seen:
            seen.add(reached)
            reached = step[reached]
        final[name] = reached
    return final


def _closure(direct: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    """Returns for each antecedent all names reachable from it; cycles are harmless."""
    closed = {}
    for name, consequents in direct.items():
        reached: set[str] = set()
        frontier = set(consequents)
        while frontier:
            reached |= frontier
            frontier = {
                further for one in frontier for further in direct.get(one, ())
            } - reached
        closed[name] = frozenset(reached - {name})
    return closed
