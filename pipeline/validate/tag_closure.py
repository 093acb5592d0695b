"""Computes what tags imply from the snapshot: joins repeated until nothing is added.

Deliberately not the code of `pipeline/sample` and `pipeline/policy.py`: the gates check
again what those decided.
"""

import polars as pl

IN_FORCE = ("active", "processing", "queued")
"""Statuses of an alias or implication in force (contract section 6)."""

MAX_ALIAS_STEPS = 32  # chains have two steps on the real site (contract section 6)


def tags_implying(
    names: frozenset[str], aliases: pl.DataFrame, implications: pl.DataFrame
) -> pl.DataFrame:
    """Returns `name`: these names, and every name that implies one, to any depth.

    Aliases and implications in force count alike. The result is sorted.
    """
    edges = _in_force(pl.concat([aliases, implications])).unique()
    found = pl.DataFrame({"name": sorted(names)}, schema={"name": pl.String})
    frontier = found
    while frontier.height:
        steps = edges.join(frontier, left_on="consequent", right_on="name")
        reached = steps.select(name="antecedent").unique()
        frontier = reached.join(found, on="name", how="anti")
        found = pl.concat([found, frontier])
    return found.sort("name")


def canonical(aliases: pl.DataFrame) -> pl.DataFrame:
    """Returns name and `final`: the name that each aliased name finally stands for.

    Chains of aliases that close a circle have no end: they are followed for
    MAX_ALIAS_STEPS.
    """
    in_force = _in_force(aliases)
    steps = in_force.unique("antecedent", keep="last", maintain_order=True)
    final = steps.rename({"antecedent": "name", "consequent": "final"})
    for _ in range(MAX_ALIAS_STEPS):
        further = final.join(steps, left_on="final", right_on="antecedent", how="left")
        if further["consequent"].null_count() == further.height:
            break
        final = further.select("name", final=pl.coalesce("consequent", "final"))
    return final


def names_of_labels(
    vocabulary: pl.DataFrame, aliases: pl.DataFrame, implications: pl.DataFrame
) -> pl.DataFrame:
    """Returns every tag name that yields a label: name, label_id, given.

    given: the name is the tag of the label, or an alias of it; otherwise it implies it.
    vocabulary: label_id, name.
    """
    final = canonical(aliases)
    found = _implying_labels(vocabulary, final, implications)
    # An aliased name yields what its final name yields, and nothing by itself: sites
    # resolve aliases before everything else.
    renamed = final.rename({"name": "alias"})
    aliased = renamed.join(found, left_on="final", right_on="name")
    from_aliases = aliased.select("alias", "label_id", "given")
    own = found.join(final, on="name", how="anti")
    own = own.select("name", "label_id", "given")
    names = pl.concat([own, from_aliases.rename({"alias": "name"})])
    return names.unique().sort("name", "label_id")


def _implying_labels(
    vocabulary: pl.DataFrame, final: pl.DataFrame, implications: pl.DataFrame
) -> pl.DataFrame:
    """Returns name, label_id, given of the vocabulary and of all that imply it."""
    edges = _in_force(implications)
    edges = _resolve(edges, "antecedent", final)
    edges = _resolve(edges, "consequent", final)
    found = vocabulary.select("name", "label_id", given=pl.lit(value=True))
    frontier = found
    while frontier.height:
        steps = edges.join(frontier, left_on="consequent", right_on="name")
        reached = steps.select("label_id", name="antecedent").unique()
        added = reached.join(found, on=["name", "label_id"], how="anti")
        frontier = added.select("name", "label_id", given=pl.lit(value=False))
        found = pl.concat([found, frontier])
    return found


def _resolve(edges: pl.DataFrame, end: str, final: pl.DataFrame) -> pl.DataFrame:
    """Replaces aliased names at one end of the edges by their final names."""
    joined = edges.join(final.rename({"name": end}), on=end, how="left")
    resolved = pl.coalesce("final", end).alias(end)
    return joined.with_columns(resolved).drop("final")


def in_circles(implications: pl.DataFrame) -> pl.DataFrame:
    """Returns the implications in force that are on a circle, or between two.

    These are the ones left when implications with a free end are removed repeatedly.
    """
    edges = _in_force(implications)
    while True:
        antecedents = edges.select(consequent="antecedent").unique()
        consequents = edges.select(antecedent="consequent").unique()
        inner = edges.join(antecedents, on="consequent", how="semi")
        inner = inner.join(consequents, on="antecedent", how="semi")
        if inner.height == edges.height:
            return inner
        edges = inner


def _in_force(relations: pl.DataFrame) -> pl.DataFrame:
    """Returns antecedent and consequent of the relations in force."""
    in_force = relations.filter(pl.col("status").is_in(IN_FORCE))
    return in_force.select("antecedent", "consequent")
