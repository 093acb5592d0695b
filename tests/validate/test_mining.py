"""The rules of data/mining: each way to break it fails the rule meant for it."""

import pytest

from pipeline.paths import Paths
from pipeline.schemas.mining import LABEL_NOISE
from tests.builders.tables import md5
from tests.validate.edits import (
    Edit,
    change_rows,
    label_noise,
    proposal,
    removed,
)
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS

BROKEN = [
    pytest.param(
        "proposals.parquet",
        "probability",
        proposal(2, probability=1.2),
        id="more than certain",
    ),
    pytest.param(
        "proposals.parquet", "kind", proposal(2, kind="new"), id="unknown kind"
    ),
    pytest.param(
        "findings",
        "no_record",
        proposal(2, post_id=34, md5=md5(34)),
        id="post that the policy excludes",
    ),
    pytest.param(
        "findings",
        "kind_differs",
        proposal(25, tag="fox", label_id=1, kind="missing"),
        id="missing label that is there",
    ),
    pytest.param(
        "findings", "unknown_tag", proposal(25, tag="none"), id="tag of no snapshot"
    ),
    pytest.param(
        "findings", "label_differs", proposal(2, label_id=2), id="label of another tag"
    ),
    pytest.param(
        "findings", "policy_tag", proposal(25, tag="fawn"), id="tag that implies young"
    ),
    pytest.param(
        "findings", "out_of_order", proposal(2, probability=0.1), id="not ordered"
    ),
    pytest.param(
        "findings",
        "proposed_twice",
        proposal(4, post_id=2, md5=md5(2)),
        id="proposed twice",
    ),
    pytest.param(
        "findings",
        "noise_of_other_tags",
        change_rows("mining", "label_noise", LABEL_NOISE, lambda rows: rows.head(2)),
        id="tag without an estimate",
    ),
    pytest.param(
        "findings",
        "unexplained",
        label_noise(1, missing_share=None),
        id="no estimate and no reason",
    ),
    pytest.param(
        "label_noise.parquet",
        "missing_share",
        label_noise(1, missing_share=-0.1),
        id="negative share",
    ),
    pytest.param("files", "state", removed("mining/proposals.csv"), id="no CSV"),
]


@pytest.mark.parametrize(("table", "column", "edit"), BROKEN)
def test_each_broken_mining_fails_the_rule_meant_for_it(
    paths: Paths,
    table: str,
    column: str,
    edit: Edit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_gate_fails(paths, "mining", edit, (table, column), capsys)
