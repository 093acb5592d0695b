"""From tag names to labels: aliases resolved, implications closed to any depth."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from pipeline.policy import EFFECTIVE

CATEGORIES = ("general", "artist", "contributor", "copyright", "character", "species", "invalid", "meta", "lore")
"""Category names by the site's id (contract section 6)."""


@dataclass(frozen=True, slots=True)
class Relations:
    """The tags of a snapshot with the relations in force between them."""

    tags: pl.DataFrame  # tag_id, name, category (name)
    canonical: Mapping[str, str]  # antecedent -> what it finally stands for
    implied: Mapping[str, frozenset[str]]  # canonical name -> all it implies, itself left out

    @classmethod
    def read(cls, tags: pl.DataFrame, aliases: pl.DataFrame, implications: pl.DataFrame) -> "Relations":
        """Builds the relations from the snapshot's tables; those not in force are left aside."""
        canonical = _canonical(_pairs(aliases))
        implied = _closure((canonical.get(a, a), canonical.get(c, c)) for a, c in _pairs(implications))
        named = tags.select(
            "tag_id",
            "name",
            category=pl.col("category").replace_strict(
                dict(enumerate(CATEGORIES)), default="invalid", return_dtype=pl.String
            ),
        )
        return cls(named, canonical, implied)

    def resolve(self, names: Iterable[str]) -> list[str]:
        """Returns the names with aliases replaced by what they stand for, sorted."""
        return sorted({self.canonical.get(name, name) for name in names})

    def label(self, posts: pl.DataFrame) -> pl.DataFrame:
        """Returns one row per post and tag: post_id, name, given (false where only implied).

        posts: post_id, tags. Names that the tags table does not know are left out: it is another moment of the site.
        """
        given = posts.select("post_id", name=pl.col("tags")).explode("name").drop_nulls("name")
        aliases = pl.DataFrame(
            list(self.canonical.items()), schema={"name": pl.String, "canonical": pl.String}, orient="row"
        )
        given = (
            given.join(aliases, on="name", how="left").select("post_id", name=pl.coalesce("canonical", "name")).unique()
        )
        pairs = [(name, one) for name, all_implied in self.implied.items() for one in all_implied]
        implied = pl.DataFrame(pairs, schema={"name": pl.String, "implied": pl.String}, orient="row")
        added = given.join(implied, on="name", how="inner").select("post_id", name="implied").unique()
        both = pl.concat([given.with_columns(given=pl.lit(value=True)), added.with_columns(given=pl.lit(value=False))])
        closed = both.group_by("post_id", "name").agg(pl.col("given").any())
        return closed.join(self.tags.select("name"), on="name", how="semi")


def with_ids(assigned: pl.DataFrame, tagged: pl.DataFrame, vocabulary: pl.DataFrame) -> pl.DataFrame:
    """Returns post_id, group_id, split, label_ids, given_ids (ascending) and candidate_tags, ordered by post_id.

    assigned: post_id, group_id, split; tagged: as `Relations.label`, of all tags; vocabulary: label_id, name.
    """
    labelled = tagged.join(vocabulary.select("name", "label_id"), on="name", how="inner")
    ids = labelled.group_by("post_id").agg(
        label_ids=pl.col("label_id").sort(), given_ids=pl.col("label_id").filter(pl.col("given")).sort()
    )
    counts = tagged.group_by("post_id").agg(candidate_tags=pl.len().cast(pl.Int32))
    empty = pl.lit([], dtype=pl.List(pl.Int32))
    return (
        assigned.join(ids, on="post_id", how="left")
        .join(counts, on="post_id", how="left")
        .with_columns(pl.col("label_ids", "given_ids").fill_null(empty), pl.col("candidate_tags").fill_null(0))
        .sort("post_id")
    )


def _pairs(relations: pl.DataFrame) -> list[tuple[str, str]]:
    in_force = relations.filter(pl.col("status").is_in(sorted(EFFECTIVE)))
    return list(zip(in_force["antecedent"], in_force["consequent"], strict=True))


def _canonical(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Follows alias chains to their end; a chain that turns back on itself ends where it closes."""
    step = dict(pairs)
    final = {}
    for name in step:
        seen, reached = {name}, step[name]
        while reached in step and reached not in seen:
            seen.add(reached)
            reached = step[reached]
        final[name] = reached
    return final


def _closure(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Returns for each antecedent all names reachable from it; cycles are harmless."""
    direct: dict[str, set[str]] = {}
    for antecedent, consequent in pairs:
        direct.setdefault(antecedent, set()).add(consequent)
    closed = {}
    for name, frontier in direct.items():
        reached: set[str] = set()
        while frontier:
            reached |= frontier
            frontier = {further for one in frontier for further in direct.get(one, ())} - reached
        closed[name] = frozenset(reached - {name})
    return closed
