"""The rules of data/shards: each way to break it fails the rule meant for it."""

import pytest

from pipeline.paths import Paths
from tests.validate.edits import (
    SHARD,
    Edit,
    appended,
    file,
    indexed_shard,
    removed,
    without_record,
)
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS

BROKEN = [
    pytest.param(
        "shards",
        "sha256",
        indexed_shard(SHARD, sha256="0" * 64),
        id="checksum of another file",
    ),
    pytest.param(
        "shards", "bytes", appended(f"shards/{SHARD}", b"more"), id="shard with a tail"
    ),
    pytest.param(
        "shards", "records", indexed_shard(SHARD, records=9), id="records miscounted"
    ),
    pytest.param("shards", "sha256", removed(f"shards/{SHARD}"), id="shard gone"),
    pytest.param(
        "findings",
        "unlisted_shard",
        file("shards/old-00000-of-00001.tfrecord", b""),
        id="stray shard",
    ),
    pytest.param(
        "tags",
        "train",
        indexed_shard(SHARD, label_counts=[9, 3, 0]),
        id="labels miscounted",
    ),
    pytest.param(
        "index.parquet",
        "label_counts:length",
        indexed_shard(SHARD, label_counts=[3, 3]),
        id="count of a tag missing",
    ),
    pytest.param(
        "findings",
        "not_in_manifest",
        without_record("train", 2),
        id="record of a post that was taken down",
    ),
]


@pytest.mark.parametrize(("table", "column", "edit"), BROKEN)
def test_each_broken_shards_fails_the_rule_meant_for_it(
    paths: Paths,
    table: str,
    column: str,
    edit: Edit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_gate_fails(paths, "shards", edit, (table, column), capsys)
