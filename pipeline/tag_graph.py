"""From tag names to codes: aliases resolved, implications closed to any depth.

A code is the row of a tag in `TagGraph.tags`; names that only relations know have the
codes after the last row. All work on the forty tags of each of millions of posts is
done on codes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.params.sample import CATEGORIES
from pipeline.policy import EFFECTIVE


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

    # tag_id, name, category (name); one row per name: the oldest where the snapshot has
    # more.
    tags: pl.DataFrame
    # Code of every name: of tags, of aliases, and of those only implied.
    code: Mapping[str, int]
    # Antecedent -> what it finally stands for.
    canonical: Mapping[str, str]
    # Canonical name -> what it implies in one step.
    direct: Mapping[str, frozenset[str]]
    # Canonical name -> all it implies, without itself.
    implied: Mapping[str, frozenset[str]]

    @classmethod
    def read(
        cls, tags: pl.DataFrame, aliases: pl.DataFrame, implications: pl.DataFrame
    ) -> "TagGraph":
        """Builds the graph from the snapshot's tables, of the relations in force."""
        canonical = canonical_names(pairs_in_force(aliases))
        direct = implied_directly(pairs_in_force(implications), canonical)
        implied = _closure(direct)
        named = _oldest_per_name(tags)
        code = {name: number for number, name in enumerate(named["name"].to_list())}
        related = {*canonical, *canonical.values(), *implied}
        related.update(chain.from_iterable(implied.values()))
        for name in sorted(related):
            code.setdefault(name, len(code))
        return cls(named, code, canonical, direct, implied)

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
        lengths = [len(codes) for codes in lists]
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        codes = np.array(list(chain.from_iterable(lists)), dtype=np.int64)
        return ImplicationIndex(starts, codes)


def pairs_in_force(relations: pl.DataFrame) -> list[tuple[str, str]]:
    """Returns antecedent and consequent of the relations in force.

    relations: schemas.RELATIONS; the order is by relation_id.
    """
    in_force = relations.filter(pl.col("status").is_in(sorted(EFFECTIVE)))
    return list(zip(in_force["antecedent"], in_force["consequent"], strict=True))


def _oldest_per_name(tags: pl.DataFrame) -> pl.DataFrame:
    """Returns TagGraph.tags."""
    oldest = tags.sort("tag_id").unique("name", keep="first", maintain_order=True)
    category = pl.col("category").replace_strict(
        dict(enumerate(CATEGORIES)), default="invalid", return_dtype=pl.String
    )
    return oldest.select("tag_id", "name", category=category)


def canonical_names(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Follows alias chains to their end.

    A chain that turns back on itself ends where it closes. A name that ends at itself
    is no alias: it stays a tag.
    """
    step = dict(pairs)
    final = {}
    for name in step:
        seen = {name}
        reached = step[name]
        while reached in step and reached not in seen:
            seen.add(reached)
            reached = step[reached]
        if reached != name:
            final[name] = reached
    return final


def implied_directly(
    pairs: list[tuple[str, str]], canonical: Mapping[str, str]
) -> dict[str, frozenset[str]]:
    """Returns what each canonical name implies in one step."""
    direct: dict[str, set[str]] = {}
    for antecedent, consequent in pairs:
        implying = canonical.get(antecedent, antecedent)
        implied = canonical.get(consequent, consequent)
        direct.setdefault(implying, set()).add(implied)
    return {name: frozenset(consequents) for name, consequents in direct.items()}


def _closure(direct: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Returns for each antecedent all names reachable from it; cycles are harmless."""
    closed = {}
    for name, consequents in direct.items():
        reached: set[str] = set()
        frontier = set(consequents)
        while frontier:
            reached |= frontier
            next_step = chain.from_iterable(direct.get(one, ()) for one in frontier)
            frontier = set(next_step) - reached
        closed[name] = frozenset(reached - {name})
    return closed
