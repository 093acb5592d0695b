"""From names to codes: aliases followed to their end, implications to any depth."""

import polars as pl

from pipeline import parquet
from pipeline.schemas.snapshot import RELATIONS, TAGS
from pipeline.tag_graph import TagGraph


def relations(*pairs: tuple[str, str]) -> pl.DataFrame:
    """Returns relations in force."""
    rows = [
        {"relation_id": number, "antecedent": one, "consequent": other}
        for number, (one, other) in enumerate(pairs, start=1)
    ]
    return parquet.frame([row | {"status": "active"} for row in rows], RELATIONS)


def graph(
    names: str, aliases: pl.DataFrame, implications: pl.DataFrame | None = None
) -> TagGraph:
    tags = [
        {"tag_id": number, "name": name, "category": 0, "post_count": 1}
        for number, name in enumerate(names.split(), start=1)
    ]
    implied = relations() if implications is None else implications
    return TagGraph.read(parquet.frame(tags, TAGS), aliases, implied)


def test_an_alias_counts_for_the_end_of_its_chain() -> None:
    aliases = relations(("vulpes", "fox_"), ("fox_", "fox"))
    assert graph("fox", aliases).canonical == {"vulpes": "fox", "fox_": "fox"}


def test_an_alias_of_itself_stays_a_tag() -> None:
    found = graph("ears. fox", relations(("ears.", "ears.")))
    assert found.canonical == {}
    assert found.resolve(["ears."]) == ["ears."]


def test_aliases_in_a_circle_stay_tags_and_others_end_in_it() -> None:
    aliases = relations(("a", "b"), ("b", "a"), ("c", "a"))
    assert graph("a b", aliases).canonical == {"c": "a"}


def test_implications_are_followed_through_aliases_and_circles() -> None:
    aliases = relations(("vulpes", "fox"))
    implied = relations(
        ("vulpes", "canine"), ("canine", "mammal"), ("mammal", "canine")
    )
    found = graph("fox canine mammal", aliases, implied).implied
    assert found["fox"] == {"canine", "mammal"}
    assert found["canine"] == {"mammal"}
