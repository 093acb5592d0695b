"""The rules of data/snapshot: each way to break it fails the rule meant for it."""

import polars as pl
import pytest

from pipeline import parquet, validate
from pipeline.paths import Paths
from pipeline.schemas.snapshot import POSTS, RELATIONS
from tests.builders.tables import PARAMS
from tests.validate.edits import (
    Edit,
    all_withheld,
    change_rows,
    rejected_records,
    snapshot_post,
    snapshot_tag,
    unknown_tags,
)
from tests.validate.gates import GX_WARNINGS, assert_gate_fails, failed

pytestmark = GX_WARNINGS


def alias(antecedent: str, consequent: str, status: str = "active") -> Edit:
    """Adds an alias."""
    row = {
        "relation_id": 99,
        "antecedent": antecedent,
        "consequent": consequent,
        "status": status,
    }
    added = parquet.frame([row], RELATIONS)
    return change_rows(
        "snapshot", "aliases", RELATIONS, lambda rows: pl.concat([rows, added])
    )


BROKEN = [
    pytest.param(
        "posts.parquet", "md5", snapshot_post(3, md5="XYZ"), id="malformed md5"
    ),
    pytest.param(
        "findings", "md5_missing", snapshot_post(3, md5=None), id="no md5 to fetch by"
    ),
    pytest.param(
        "posts.parquet",
        "tags:blank",
        snapshot_post(3, tags=["two words"]),
        id="tag with a space",
    ),
    pytest.param(
        "findings",
        "post_id_twice",
        change_rows(
            "snapshot",
            "posts",
            POSTS,
            lambda posts: pl.concat([posts, posts.tail(1)]),
        ),
        id="post given twice",
    ),
    pytest.param(
        "findings",
        "posts_out_of_order",
        change_rows("snapshot", "posts", POSTS, lambda posts: posts.reverse()),
        id="posts in another order",
    ),
    pytest.param(
        "findings",
        "unknown_tags_differ",
        unknown_tags({"name": "hat", "posts": 1}),
        id="known tag listed as unknown",
    ),
    pytest.param(
        "findings",
        "unknown_tags_differ",
        snapshot_post(3, tags=["new"]),
        id="unknown tag not listed",
    ),
    pytest.param("figures", "visible_posts", all_withheld, id="no post with a file"),
    pytest.param(
        "figures",
        "unreadable_share",
        rejected_records(1),
        id="more than 1 % unreadable",
    ),
]


@pytest.mark.parametrize(("table", "column", "edit"), BROKEN)
def test_each_broken_snapshot_fails_the_rule_meant_for_it(
    paths: Paths,
    table: str,
    column: str,
    edit: Edit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_gate_fails(paths, "snapshot", edit, (table, column), capsys)


NOTED = [
    pytest.param(
        "posts.parquet", "rating", snapshot_post(3, rating="g"), id="new rating"
    ),
    pytest.param(
        "posts.parquet", "ext", snapshot_post(3, ext="PIXEL_FORMAT"), id="new extension"
    ),
    pytest.param(
        "tags.parquet", "category", snapshot_tag(2, category=9), id="tenth category"
    ),
    pytest.param(
        "findings", "tag_name_twice", snapshot_tag(2, name="fox"), id="tag given twice"
    ),
    pytest.param(
        "findings", "alias_to_itself", alias("fox", "fox"), id="alias of itself"
    ),
    pytest.param(
        "aliases.parquet", "status", alias("vulpes", "fox", "new"), id="new status"
    ),
]


@pytest.mark.parametrize(("table", "column", "edit"), NOTED)
def test_what_the_site_has_and_the_pipeline_copes_with_is_only_noted(
    paths: Paths, table: str, column: str, edit: Edit
) -> None:
    edit(paths)
    validate.run("snapshot", PARAMS, paths)
    assert (table, column) in failed(paths, "snapshot", severity="warning")


def test_posts_that_are_never_fetched_need_no_md5(paths: Paths) -> None:
    snapshot_post(33, md5=None)(paths)  # deleted
    snapshot_post(34, md5=None, is_deleted=True)(paths)
    snapshot_post(35, md5=None, is_withheld=True)(paths)
    validate.run("snapshot", PARAMS, paths)
    assert not failed(paths, "snapshot"), "three without an md5 are no duplicates"


def test_names_of_old_rows_are_names(paths: Paths) -> None:
    alias("wide\u3000space\n", "fox")(paths)
    validate.run("snapshot", PARAMS, paths)
    assert not failed(paths, "snapshot")
