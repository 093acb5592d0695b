"""What tags lead to, worked out anew from the snapshot: joins repeated until nothing is added.

Deliberately not the code of `pipeline/sample` and `pipeline/policy.py`: the gates re-check what those decided.
"""

import polars as pl

IN_FORCE = ("active", "processing", "queued")
"""Statuses of an alias or implication in force (contract section 6)."""


def leading_to(
    names: frozenset[str], aliases: pl.DataFrame, implications: pl.DataFrame
) -> pl.DataFrame:
    """Returns `name`: those given, and every name that aliases or implications in force lead from to one of them."""
    edges = _in_force(pl.concat([aliases, implications])).unique()
    found = frontier = pl.DataFrame({"name": sorted(names)}, schema={"name": pl.String})
    while frontier.height:
        reached = (
            edges.join(frontier, left_on="consequent", right_on="name")
            .select(name="antecedent")
            .unique()
        )
        frontier = reached.join(found, on="name", how="anti")
        found = pl.concat([found, frontier])
    return found.sort("name")


def canonical(aliases: pl.DataFrame) -> pl.DataFrame:
    """Returns name and `final`: what each aliased name finally stands for. Chains that close a circle have no end."""
    steps = _in_force(aliases).unique("antecedent", keep="last", maintain_order=True)
    final = steps.rename({"antecedent": "name", "consequent": "final"})
    for _ in range(32):  # chains have two steps on the real site (contract section 6)
        further = final.join(steps, left_on="final", right_on="antecedent", how="left")
        if further["consequent"].null_count() == further.height:
            break
        final = further.select("name", final=pl.coalesce("consequent", "final"))
    return final


def meanings(
    vocabulary: pl.DataFrame, aliases: pl.DataFrame, implications: pl.DataFrame
) -> pl.DataFrame:
    """Returns name, label_id, given: every tag name that yields a label, whether by itself (or an alias) or implied.

    vocabulary: label_id, name.
    """
    final = canonical(aliases)
    edges = _in_force(implications)
    for end in ("antecedent", "consequent"):
        edges = (
            edges.join(final.rename({"name": end}), on=end, how="left")
            .with_columns(pl.coalesce("final", end).alias(end))
            .drop("final")
        )
    found = frontier = vocabulary.select("name", "label_id", given=pl.lit(value=True))
    while frontier.height:
        reached = (
            edges.join(frontier, left_on="consequent", right_on="name")
            .select("label_id", name="antecedent")
            .unique()
        )
        frontier = reached.join(found, on=["name", "label_id"], how="anti").select(
            "name", "label_id", given=pl.lit(value=False)
        )
        found = pl.concat([found, frontier])
    # An aliased name yields what its final name yields, and nothing by itself: sites resolve aliases before all else.
    aliased = (
        final.rename({"name": "alias"})
        .join(found, left_on="final", right_on="name")
        .select("label_id", "given", name="alias")
    )
    own = found.join(final, on="name", how="anti")
    return (
        pl.concat([own, aliased.select(own.columns)]).unique().sort("name", "label_id")
    )


def in_circles(implications: pl.DataFrame) -> pl.DataFrame:
    """Returns the implications in force that lie on a circle or between two: those left when ends are taken off."""
    edges = _in_force(implications)
    while True:
        kept = edges.join(
            edges.select(consequent="antecedent").unique(), on="consequent", how="semi"
        ).join(
            edges.select(antecedent="consequent").unique(), on="antecedent", how="semi"
        )
        if kept.height == edges.height:
            return kept
        edges = kept


def _in_force(relations: pl.DataFrame) -> pl.DataFrame:
    return relations.filter(pl.col("status").is_in(IN_FORCE)).select(
        "antecedent", "consequent"
    )
