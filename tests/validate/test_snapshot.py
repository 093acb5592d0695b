"""The rules of data/snapshot: each way to break it fails the rule meant for it."""

import polars as pl
import pytest

from pipeline.paths import Paths
from pipeline.schemas.snapshot import POSTS
from tests.validate.edits import (
    Edit,
    all_withheld,
    change_rows,
    rejected_records,
    snapshot_post,
    snapshot_tag,
    unknown_tags,
)
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS

BROKEN = [
    pytest.param(
        "posts.parquet", "md5", snapshot_post(3, md5="XYZ"), id="malformed md5"
    ),
    pytest.param(
        "posts.parquet", "rating", snapshot_post(3, rating="g"), id="unknown rating"
    ),
    pytest.param(
        "posts.parquet",
        "tags:blank",
        snapshot_post(3, tags=["two words"]),
        id="tag with a space",
    ),
    pytest.param(
        "tags.parquet", "category", snapshot_tag(2, category=9), id="tenth category"
    ),
    pytest.param(
        "findings", "tag_name_twice", snapshot_tag(2, name="fox"), id="tag given twice"
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
