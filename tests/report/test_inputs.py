"""Files that are missing, damaged or incomplete are named."""

import csv
import re

import pytest

from pipeline import parquet, report
from pipeline.errors import BadInput, CorruptFile
from pipeline.paths import DATASETS, Paths
from pipeline.schemas.evaluation import PREDICTIONS
from tests.builders.report_inputs import (
    EXPLANATIONS,
    FIGURES,
    text_of,
    write_metrics,
    written,
)
from tests.builders.tables import PACK, PARAMS, set_value

READ = [
    "data/snapshot/unknown_tags.parquet",
    "data/sample/vocabulary.parquet",
    "data/sample/excluded_tags.parquet",
    "data/sample/posts.parquet",
    "data/sample/excluded_posts.parquet",
    *(f"data/sample/{name}.parquet" for name in EXPLANATIONS),
    "data/images/outcomes.parquet",
    "data/images/takedowns.parquet",
    f"data/images/{PACK}",
    *(
        f"data/manifest/{name}.parquet"
        for name in ("train", "validation", "test", "fresh", "rejected", "leakage")
    ),
    "data/shards/index.parquet",
    "data/shards/rejected.parquet",
    "data/model/training.json",
    "data/model/history.csv",
    "data/evaluation/metrics.json",
    "data/evaluation/per_tag.parquet",
    "data/evaluation/curves.parquet",
    "data/evaluation/predictions.parquet",
    "data/bundle/lineage.json",
    *(f"data/gates/{name}/verdict.json" for name in DATASETS),
]


def test_a_damaged_politeness_file_is_named(project: Paths) -> None:
    project.politeness.write_text("{")
    with pytest.raises(CorruptFile, match=r"politeness\.json cannot be read"):
        report.run(PARAMS, project)


def test_an_empty_validation_split_is_accepted(project: Paths) -> None:
    write_metrics(project, {"test": FIGURES})
    history = list(csv.reader((project.model / "history.csv").read_text().splitlines()))
    rows = [history[0], *([*row[:3], *[""] * 6] for row in history[1:])]
    (project.model / "history.csv").write_text(
        "\n".join(",".join(row) for row in rows) + "\n"
    )
    assert "macro mAP 0.812 0.791 to 0.832 0.341" in text_of(written(project))


@pytest.mark.parametrize("missing", READ)
def test_a_missing_file_is_named(project: Paths, missing: str) -> None:
    (project.root / missing).unlink()
    with pytest.raises(CorruptFile, match=re.escape(missing)) as caught:
        report.run(PARAMS, project)
    assert "\n" not in str(caught.value)
    assert not (project.reports / "index.html").exists()


@pytest.mark.parametrize(
    "name",
    ["evaluation/metrics.json", "model/history.csv", "evaluation/predictions.parquet"],
)
def test_a_damaged_file_is_named(project: Paths, name: str) -> None:
    path = project.data / name
    path.write_bytes(b'{"test": \xff' + path.read_bytes()[:40])
    with pytest.raises(CorruptFile, match=re.escape(name)):
        report.run(PARAMS, project)


def test_a_metric_without_its_baseline_is_rejected(project: Paths) -> None:
    bare = FIGURES | {"macro_f1": {"value": 0.9}}
    write_metrics(project, {"test": bare})
    with pytest.raises(
        BadInput,
        match=r"metrics\.json does not give test\.macro_f1 .* image-blind baseline",
    ):
        report.run(PARAMS, project)


def test_a_missing_column_is_named(project: Paths) -> None:
    path = project.evaluation / "per_tag.parquet"
    parquet.read(path).drop("threshold").write_parquet(path)
    with pytest.raises(
        CorruptFile,
        match=r"per_tag\.parquet cannot be read: it has no column threshold",
    ):
        report.run(PARAMS, project)


def test_predictions_of_another_vocabulary_are_rejected(project: Paths) -> None:
    path = project.evaluation / "predictions.parquet"
    set_value(path, PREDICTIONS, "post_id", 28, scores=[0.5])
    with pytest.raises(
        BadInput,
        match=r"predictions\.parquet gives 1 scores for image \w+, but there are 3",
    ):
        report.run(PARAMS, project)
