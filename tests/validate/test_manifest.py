"""The rules of data/manifest: each way to break it fails the rule meant for it."""

import pytest

from pipeline.paths import Paths
from pipeline.schemas.manifest import LEAKAGE, MANIFEST
from tests.builders.tables import md5
from tests.validate.edits import (
    Edit,
    change_rows,
    distance,
    overlaid,
    record,
    removed,
    snapshot_post,
    taken_down,
    without_lineage,
    without_record,
)
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS

BROKEN = [
    pytest.param(
        "distances",
        "nearest",
        distance(4, nearest=1),
        id="test image without a nearest one",
    ),
    pytest.param(
        "distances",
        "distances",
        change_rows("manifest", "leakage", LEAKAGE, lambda rows: rows.head(64)),
        id="a distance is missing",
    ),
    pytest.param(
        "leakage.parquet",
        "distance",
        distance(4, distance=66),
        id="more bits than a hash has",
    ),
    pytest.param(
        "findings",
        "md5_in_two_splits",
        record("test", 30, md5=md5(3)),
        id="md5 in two splits",
    ),
    pytest.param(
        "findings",
        "group_in_two_splits",
        record("test", 30, group_id=3),
        id="family spans splits",
    ),
    pytest.param(
        "findings",
        "not_in_sample",
        record("test", 30, post_id=99),
        id="record not sampled",
    ),
    pytest.param(
        "findings",
        "labels_differ",
        record("test", 30, label_ids=[0]),
        id="labels changed",
    ),
    pytest.param(
        "findings",
        "labels_differ",
        overlaid(3, 2, "remove"),
        id="a removal that is listed as applied and was not",
    ),
    pytest.param(
        "findings",
        "explicit_labels_differ",
        record("test", 25, explicit_label_ids=[1]),
        id="labels as given changed",
    ),
    pytest.param(
        "overlay.parquet",
        "outcome",
        overlaid(3, 2, "remove", outcome="done"),
        id="unknown outcome of a correction",
    ),
    pytest.param(
        "findings",
        "differs_from_sample",
        record("test", 30, change_seq=1),
        id="another version of the post",
    ),
    pytest.param(
        "test.parquet", "rating", record("test", 30, rating="q"), id="rating changed"
    ),
    pytest.param(
        "test.parquet",
        "split",
        record("test", 30, split="train"),
        id="split of another file",
    ),
    pytest.param(
        "findings",
        "lost_post",
        without_record("test", 30),
        id="post lost without a reason",
    ),
    pytest.param(
        "tags",
        "train_positives",
        change_rows("manifest", "train", MANIFEST, lambda rows: rows.head(6)),
        id="too few positives after rejects",
    ),
    pytest.param("lineage", "lineage", without_lineage, id="no lineage"),
    pytest.param(
        "findings", "taken_down", taken_down(3), id="record of an image taken down"
    ),
    pytest.param(
        "findings",
        "pack_taken_down",
        taken_down(3),
        id="image taken down, in its pack",
    ),
    pytest.param(
        "findings",
        "pack_forbidden",
        snapshot_post(8, is_deleted=True),
        id="pack of a deleted post",
    ),
    pytest.param(
        "findings",
        "pack_forbidden",
        snapshot_post(8, is_withheld=True),
        id="pack of withheld post",
    ),
    pytest.param(
        "findings",
        "pack_forbidden",
        snapshot_post(8, md5=md5(99)),
        id="pack of a replaced file",
    ),
    pytest.param(
        "findings",
        "pack_forbidden",
        snapshot_post(8, rating="e", tags=["fawn"]),
        id="pack of a post that became young",
    ),
    pytest.param(
        "findings",
        "pack_forbidden",
        snapshot_post(8, locked_tags=["conditional_dnp"]),
        id="pack of an opt-out",
    ),
    pytest.param(
        "findings",
        "pack_forbidden",
        snapshot_post(8, tags=["animated"]),
        id="pack of an animation",
    ),
    pytest.param(
        "files", "state", removed("images/takedowns.parquet"), id="takedowns missing"
    ),
]


@pytest.mark.parametrize(("table", "column", "edit"), BROKEN)
def test_each_broken_manifest_fails_the_rule_meant_for_it(
    paths: Paths,
    table: str,
    column: str,
    edit: Edit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_gate_fails(paths, "manifest", edit, (table, column), capsys)
