"""The rules of data/evaluation, which is compared with data/sample."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import parquet
from pipeline.params import Params
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.evaluation import PER_TAG
from pipeline.validate import columns, dataset_files, roc_auc
from pipeline.validate.checks import (
    Check,
    MeasuredTable,
    RowChecks,
    between,
    findings_table,
    greater_than,
    matches,
    no_violations,
    one_of,
)
from pipeline.validate.columns import MD5, ONE
from pipeline.validate.violations import duplicates, violations

AUC_TOLERANCE = 1e-4  # the AUC of float32 scores summed in another order

MAX_GAP = 1e-6  # between the macro AUC reported and the mean over the tags
UNKNOWN_GAP = 1.0  # no AUC differs by more: it fails the check

HEADLINE = ("macro_auc", "macro_map", "macro_f1")
"""Metrics on test that must beat the image-blind baseline. Accuracy is not among them:
it shows too little (design section 1)."""

METRIC_TYPES = {
    "split": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "baseline": pl.Float64,
}


def row_checks(_params: Params, labels: int, /) -> RowChecks:
    """Returns the checks of single rows."""
    return {
        "per_tag": list(_per_tag(labels)),
        "predictions": list(_predictions(labels)),
        "curves": list(_curves()),
    }


def _per_tag(labels: int) -> Iterator[Check]:
    yield columns.label_id(labels)
    first = PER_TAG.names.index("prevalence")
    for name in PER_TAG.names[first:]:
        if name != "threshold":
            yield between(name, f"{name} is a share", low=0, high=ONE)
    # Accuracy is not compared: at the threshold of the best F1 it is often below that
    # of a model which never predicts a rare tag.
    description = "the tag is ranked better than by chance"
    yield between("auc", description, low=0.5, severity="warning")
    description = "the tag's F1 beats saying it always"
    yield greater_than("f1", "baseline_f1", description, severity="warning")


def _predictions(labels: int) -> Iterator[Check]:
    yield matches("md5", MD5, "md5 is 32 lower-case hex digits")
    yield one_of("split", SPLITS[1:], "predictions are of held-out splits only")
    yield from columns.label_ids(labels)
    description = "there is a score per tag of the vocabulary"
    yield between("scores:length", description, low=labels, high=labels)
    yield between("scores:min", "scores are not below 0", low=0)
    yield between("scores:max", "scores are not above 1", high=1)
    yield between("scores:undefined", "every score is a number", high=0)


def _curves() -> Iterator[Check]:
    yield between("x", "x is a share", low=0, high=1)
    yield between("y", "y is a share", low=0, high=1)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The evaluation, and the vocabulary of the sample."""

    vocabulary: pl.DataFrame  # label_id, name
    per_tag: pl.DataFrame
    test: pl.DataFrame  # label_ids, scores of the test images
    metrics: pl.DataFrame  # split, metric, value, baseline

    @classmethod
    def read(cls, paths: Paths) -> "_Evaluation":
        vocabulary = parquet.read(
            paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
        )
        predictions = pl.scan_parquet(paths.evaluation / "predictions.parquet")
        test = predictions.filter(pl.col("split") == "test")
        scores = test.select("label_ids", "scores")
        return cls(
            vocabulary=vocabulary,
            per_tag=parquet.read(paths.evaluation / "per_tag.parquet"),
            test=scores.collect(engine="streaming"),
            metrics=read_metrics(paths.evaluation / "metrics.json"),
        )


def read_metrics(path: Path) -> pl.DataFrame:
    """Returns split, metric, value and baseline of every metric in metrics.json.

    A value that is missing or not a finite number is null.
    """
    tree = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(tree, dict):
        tree = {}
    rows = []
    for split, metrics in sorted(tree.items()):
        if split not in SPLITS or not isinstance(metrics, dict):
            continue
        for name, metric in sorted(metrics.items()):
            value = _number(metric, "value")
            rows.append((split, name, value, _number(metric, "baseline")))
    return pl.DataFrame(rows, schema=METRIC_TYPES, orient="row")


def _number(metric: Any, key: str) -> float | None:
    if not isinstance(metric, dict):
        return None
    value = metric.get(key)
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def measure(_params: Params, paths: Paths, /) -> list[MeasuredTable]:
    """Measures the evaluation against the sample."""
    evaluation = _Evaluation.read(paths)
    metrics = evaluation.metrics
    is_headline = _is_headline()
    findings = [
        *_unlisted_tags(evaluation),
        *_predicted_posts(paths),
        *_worked_out_metrics(evaluation),
    ]
    return [
        findings_table(findings),
        _figures(evaluation),
        MeasuredTable("metrics", metrics, list(_metric_checks())),
        MeasuredTable("headline", metrics.filter(is_headline), [_beats_baseline()]),
        MeasuredTable("others", metrics.filter(~is_headline), [_beats_as_warning()]),
    ]


def _is_headline() -> pl.Expr:
    return (pl.col("split") == "test") & pl.col("metric").is_in(HEADLINE)


def _unlisted_tags(evaluation: _Evaluation) -> Iterator[Check]:
    """Checks that every tag of the vocabulary is in the row of its label id."""
    vocabulary = evaluation.vocabulary
    numbered = evaluation.per_tag.with_row_index("row")
    in_place = numbered.filter(pl.col("row") == pl.col("label_id"))
    missing = vocabulary.join(in_place, on=["label_id", "name"], how="anti")
    found = violations(missing, vocabulary.height)
    description = "per_tag has one row per tag of the vocabulary, by label id and name"
    yield no_violations("tag_missing", description, found)


def _predicted_posts(paths: Paths) -> Iterator[Check]:
    """Checks the identity of every prediction against the sample."""
    predictions = pl.scan_parquet(paths.evaluation / "predictions.parquet")
    rows = dataset_files.rows_by_stem("evaluation", paths)["predictions"]
    found = duplicates(predictions, "post_id", "split", rows)
    yield no_violations("prediction_twice", "a post is predicted once", found)

    same = ["post_id", "md5", "split", "label_ids"]
    posts = pl.scan_parquet(paths.sample / "posts.parquet").select(same)
    unknown = predictions.select(same).join(posts, on=same, how="anti")
    found = violations(unknown, rows)
    description = (
        "predicted posts are of the sample, in the same split, with the same labels"
    )
    yield no_violations("not_in_sample", description, found)


def _worked_out_metrics(evaluation: _Evaluation) -> Iterator[Check]:
    """Checks that metrics are defined, and computes AUC again from the scores."""
    metrics = evaluation.metrics
    is_missing = pl.col("value").is_null() | pl.col("baseline").is_null()
    undefined = metrics.filter((pl.col("split") == "test") & is_missing)
    found = violations(undefined, metrics.height)
    description = "every metric on test and its baseline are numbers"
    yield no_violations("metric_undefined", description, found)

    found = violations(_differing_aucs(evaluation), evaluation.per_tag.height)
    description = "the AUC of each tag is what the predictions give, worked out anew"
    yield no_violations("auc_differs", description, found)


def _differing_aucs(evaluation: _Evaluation) -> pl.DataFrame:
    """Returns tags whose AUC is not what the predictions give."""
    tags = evaluation.vocabulary.height
    computed = {
        "label_id": range(tags),
        "worked_out": roc_auc.per_tag(evaluation.test, tags),
    }
    types = {"label_id": pl.Int32, "worked_out": pl.Float64}
    aucs = pl.DataFrame(computed, schema_overrides=types)
    reported = evaluation.per_tag.select("label_id", "name", "auc")
    beside = reported.join(aucs, on="label_id")
    difference = (pl.col("auc") - pl.col("worked_out")).abs()
    return beside.filter(difference > AUC_TOLERANCE)


def _figures(evaluation: _Evaluation) -> MeasuredTable:
    """Measures totals, and how far the macro AUC is from the mean over the tags."""
    headline = evaluation.metrics.filter(_is_headline())
    figures = {
        "test_records": evaluation.test.height,
        "headline_metrics": headline.height,
        "macro_auc_gap": _macro_auc_gap(headline, evaluation.per_tag),
    }
    return MeasuredTable("figures", pl.DataFrame([figures]), list(_figure_checks()))


def _macro_auc_gap(headline: pl.DataFrame, per_tag: pl.DataFrame) -> float:
    macro_auc = headline.filter(pl.col("metric") == "macro_auc")
    reported = macro_auc["value"].drop_nulls()
    mean = per_tag["auc"].mean()
    if reported.is_empty() or not isinstance(mean, float):
        return UNKNOWN_GAP
    return abs(float(reported[0]) - mean)


def _figure_checks() -> Iterator[Check]:
    yield between("test_records", "there are test predictions", low=1)
    description = "macro AUC, mAP and F1 on test are there, each with its baseline"
    total = len(HEADLINE)
    yield between("headline_metrics", description, low=total, high=total)
    description = "the macro AUC reported is the mean over the tags"
    yield between("macro_auc_gap", description, high=MAX_GAP)


def _metric_checks() -> Iterator[Check]:
    yield between("value", "metrics are shares", low=0, high=ONE)
    yield between("baseline", "baselines are shares", low=0, high=ONE)


def _beats_baseline() -> Check:
    description = "the macro metrics on test beat the image-blind baseline"
    return greater_than("value", "baseline", description)


def _beats_as_warning() -> Check:
    description = "all other metrics beat the image-blind baseline"
    return greater_than("value", "baseline", description, severity="warning")
