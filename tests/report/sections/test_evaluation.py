"""Section: evaluation."""

import json

from pipeline import parquet
from pipeline.paths import Paths
from pipeline.report.formats import NONE
from pipeline.report.sections import evaluation
from pipeline.schemas.evaluation import CURVES
from tests.builders.report_inputs import (
    FIGURES,
    section_of,
    text_of,
    write_metrics,
)
from tests.builders.tables import write_json

FIGURES_OF_MODES = {name: figure["value"] for name, figure in FIGURES.items()}


def test_a_metric_without_its_baseline_is_not_shown(project: Paths) -> None:
    bare = FIGURES | {"macro_f1": {"value": 0.1234}}
    splits = {"test": FIGURES, "validation": bare}
    write_metrics(project, splits)
    text = text_of(section_of(evaluation, project))
    # Validation, then test.
    assert "macro AUC 0.914 0.500 0.914 0.500" in text
    assert "macro F1 absent: it has no baseline 0.772 0.452" in text
    assert "0.123" not in text


def test_images_read_from_their_files_stand_beside_those_of_the_shards(
    html: str,
) -> None:
    assert "8 images of the test split have a macro mAP of 0.812; from" in text_of(html)
    assert "the same images have 0.812." in text_of(html)


def test_a_metric_that_cannot_be_computed_is_absent_with_the_reason(
    project: Paths,
) -> None:
    reason = "no tag has positives"
    without = FIGURES | {"micro_f1": {"absent": reason}}
    write_metrics(project, {"test": FIGURES, "validation": without})
    text = text_of(section_of(evaluation, project))
    assert "micro F1 absent: no tag has positives 0.701 0.401" in text
    assert "macro mAP 0.812 0.791 to 0.832 0.341 0.812 0.791 to 0.832 0.341" in text


def test_the_informed_baseline_stands_beside_the_blind_one(project: Paths) -> None:
    assert "informed" not in text_of(section_of(evaluation, project)).lower()
    informed = FIGURES["macro_auc"] | {"informed_baseline": 0.6152}
    write_metrics(project, {"test": FIGURES | {"macro_auc": informed}})
    text = text_of(section_of(evaluation, project))
    assert "macro AUC 0.914 0.500 0.615" in text
    assert f"macro F1 0.772 0.452 {NONE}" in text


def test_what_implications_change_is_shown_by_mode(project: Paths) -> None:
    assert "Absent: the evaluation did not measure it" in text_of(
        section_of(evaluation, project)
    )
    path = project.evaluation / "metrics.json"
    raised = {"macro_map": 0.8213, "macro_auc": 0.9248, "inconsistent": 0.0}
    off = FIGURES_OF_MODES | {"inconsistent": 0.0393}
    metrics = json.loads(path.read_text())
    metrics["implications"] = {"off": off, "raise_parents": raised}
    write_json(path, metrics)
    text = text_of(section_of(evaluation, project))
    assert "as the model says 0.812 0.914 0.772 0.701 3.9 %" in text
    assert "predicted with it 0.821 0.925 absent absent 0.0 %" in text
    assert "cap children" not in text


def test_reliability_is_drawn_before_calibration_too(project: Paths) -> None:
    assert "Before calibration: absent" in section_of(evaluation, project)
    curves = []
    for curve in ("calibration", "calibration_before"):
        curves += [{"curve": curve, "x": x, "y": x**2} for x in (0.1, 0.5, 0.9)]
    parquet.write(project.evaluation / "curves.parquet", curves, CURVES)
    html = section_of(evaluation, project)
    assert "Before calibration: absent" not in html
    assert "before calibration</text>" in html
