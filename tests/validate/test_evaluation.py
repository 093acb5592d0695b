"""The rules of data/evaluation: each way to break it fails the rule meant for it."""

import pytest

from pipeline.paths import Paths
from tests.validate.edits import Edit, metric, per_tag, prediction, slice_of
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS

BROKEN = [
    pytest.param(
        "headline", "value", metric(value=0.48), id="AUC below the image-blind baseline"
    ),
    pytest.param(
        "findings",
        "metric_undefined",
        metric(value=None),
        id="metric that is no number",
    ),
    pytest.param(
        "figures",
        "macro_auc_gap",
        metric(value=0.9),
        id="macro AUC that is not the mean",
    ),
    pytest.param(
        "findings",
        "auc_differs",
        per_tag(1, auc=0.7),
        id="AUC that the predictions do not give",
    ),
    pytest.param("findings", "tag_missing", per_tag(1, name="wolf"), id="tag renamed"),
    pytest.param(
        "predictions.parquet",
        "split",
        prediction(
            30,
            split="train",
        ),
        id="prediction of a training image",
    ),
    pytest.param(
        "predictions.parquet",
        "scores:undefined",
        prediction(
            30,
            scores=[0.5, float("nan"), 0.5],
        ),
        id="score that is no number",
    ),
    pytest.param(
        "predictions.parquet",
        "uncertainty:length",
        prediction(30, uncertainty=[0.5, 0.5]),
        id="tag without uncertainty",
    ),
    pytest.param(
        "findings",
        "uncertainty_missing",
        prediction(30, uncertainty=[0.5, 0.5, 0.5]),
        id="uncertainty of one prediction alone",
    ),
    pytest.param(
        "findings",
        "outside_interval",
        metric("micro_auc", low=0.2, high=0.4),
        id="interval beside its value",
    ),
    pytest.param(
        "findings",
        "slice_unexplained",
        slice_of("lore", absent=None),
        id="slice without a number or a reason",
    ),
    pytest.param(
        "findings",
        "slice_twice",
        slice_of("lore", value="general"),
        id="slice listed twice",
    ),
]


@pytest.mark.parametrize(("table", "column", "edit"), BROKEN)
def test_each_broken_evaluation_fails_the_rule_meant_for_it(
    paths: Paths,
    table: str,
    column: str,
    edit: Edit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_gate_fails(paths, "evaluation", edit, (table, column), capsys)
