"""What tags imply, computed by the gates."""

import polars as pl
import pytest

from pipeline.schemas.snapshot import RELATIONS
from pipeline.validate import tag_closure

SCHEMA = pl.Schema(
    {"antecedent": pl.String, "consequent": pl.String, "status": pl.String}
)


def relations(*edges: str, status: str = "active") -> pl.DataFrame:
    """Returns relations: each edge is "antecedent consequent"."""
    rows = [(*edge.split(), status) for edge in edges]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def vocabulary(*names: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"label_id": range(len(names)), "name": names},
        schema={"label_id": pl.Int32, "name": pl.String},
    )


def test_relations_have_the_columns_that_are_read() -> None:
    assert set(SCHEMA.names()) <= set(RELATIONS.names)


def test_tags_implying_are_followed_through_aliases_and_implications() -> None:
    aliases = relations("kit cub")
    implications = relations("cub young", "fox canine")
    found = tag_closure.tags_implying(frozenset({"young"}), aliases, implications)

    assert found["name"].to_list() == ["cub", "kit", "young"]


def test_a_circle_of_implications_ends() -> None:
    circle = relations("a b", "b c", "c a")
    found = tag_closure.tags_implying(frozenset({"a"}), relations(), circle)

    assert found["name"].to_list() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("status", "names"),
    [
        pytest.param("active", ["cub", "young"], id="active"),
        pytest.param("processing", ["cub", "young"], id="processing"),
        pytest.param("queued", ["cub", "young"], id="queued"),
        pytest.param("pending", ["young"], id="pending"),
        pytest.param("retired", ["young"], id="retired"),
    ],
)
def test_only_relations_in_force_count(status: str, names: list[str]) -> None:
    implications = relations("cub young", status=status)
    found = tag_closure.tags_implying(frozenset({"young"}), relations(), implications)

    assert found["name"].to_list() == names


def test_a_chain_of_aliases_is_resolved_to_its_end() -> None:
    found = tag_closure.canonical(relations("a b", "b c", "c d"))

    assert dict(found.iter_rows()) == {"a": "d", "b": "d", "c": "d"}


def test_a_circle_of_aliases_has_no_error() -> None:
    found = tag_closure.canonical(relations("a b", "b a"))

    assert set(found["name"]) == {"a", "b"}


def test_names_of_labels_tell_given_from_implied() -> None:
    found = tag_closure.names_of_labels(
        vocabulary("canine", "fox"),
        relations("vulpine fox"),
        relations("red_fox fox", "fox canine"),
    )

    assert found.rows() == [
        ("canine", 0, True),
        ("fox", 0, False),
        ("fox", 1, True),
        ("red_fox", 0, False),
        ("red_fox", 1, False),
        ("vulpine", 0, False),
        ("vulpine", 1, True),
    ]


def test_an_aliased_name_yields_only_what_its_final_name_yields() -> None:
    found = tag_closure.names_of_labels(
        vocabulary("canine"),
        relations("dog hound"),
        relations("dog canine"),
    )

    # The implication counts for `hound`, of which `dog` is an alias.
    assert found.rows() == [
        ("canine", 0, True),
        ("dog", 0, False),
        ("hound", 0, False),
    ]


def test_a_vocabulary_tag_that_is_aliased_yields_nothing() -> None:
    found = tag_closure.names_of_labels(
        vocabulary("dog"), relations("dog hound"), relations()
    )

    assert found.is_empty()


def test_implications_on_a_circle_are_found_and_others_are_not() -> None:
    found = tag_closure.in_circles(relations("x a", "a b", "b a", "b y", "p q"))

    assert sorted(found.iter_rows()) == [("a", "b"), ("b", "a")]
