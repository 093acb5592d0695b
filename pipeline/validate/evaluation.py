"""The rules of data/evaluation, which is compared with data/sample."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline import parquet
from pipeline.metrics.catalogue import HEADLINE, NO_CONTEST
from pipeline.params import Params
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.evaluation import PER_TAG
from pipeline.validate import columns, dataset_files, regression, roc_auc
from pipeline.validate.checks import (
    Check,
    MeasuredTable,
    RowChecks,
    Severity,
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
MAX_ORIGINALS_GAP = 0.005
"""Between the macro mAP of images read from their files and from the shards."""

FEW_ORIGINALS = 200
"""Images. Of fewer, that gap is a warning: one that changes its rank moves the mean of
average precisions by more."""

UNKNOWN_GAP = 1.0  # no AUC differs by more: it fails the check

METRIC_TYPES = {
    "split": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "baseline": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}

NO_SHARES = ("threshold", "mean_uncertainty", "confused_with")
"""Columns of per_tag behind the prevalence that are no shares."""

SLICES = (
    "aspect_ratio",
    "category",
    "near_black",
    "rating",
    "size",
    "tag_frequency",
    "year",
)


def row_checks(_params: Params, labels: int, /) -> RowChecks:
    """Returns the checks of single rows."""
    return {
        "per_tag": list(_per_tag(labels)),
        "predictions": list(_predictions(labels)),
        "curves": list(_curves()),
        "slices": list(_slices()),
    }


def _per_tag(labels: int) -> Iterator[Check]:
    yield columns.label_id(labels)
    first = PER_TAG.names.index("prevalence")
    for name in PER_TAG.names[first:]:
        if name not in NO_SHARES:
            yield between(name, f"{name} is a share", low=0, high=ONE)
    yield between("mean_uncertainty", "uncertainties are not below 0", low=0)
    # Accuracy is not compared: at the threshold of the best F1 it is often below that
    # of a model which never predicts a rare tag.
    description = "the tag is ranked better than by chance"
    yield between("auc", description, low=0.5, severity="warning")
    description = "the tag's F1 beats always predicting it"
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
    description = "where there are uncertainties, there is one per tag"
    yield between("uncertainty:length", description, low=labels, high=labels)
    yield between("uncertainty:min", "uncertainties are not below 0", low=0)
    description = "every uncertainty is a number"
    yield between("uncertainty:undefined", description, high=0)


def _curves() -> Iterator[Check]:
    yield between("x", "x is a share", low=0, high=1)
    yield between("y", "y is a share", low=0, high=1)


def _slices() -> Iterator[Check]:
    yield one_of("split", ("test", "fresh"), "slices are of test and fresh")
    yield one_of("slice", SLICES, "slices are of known kinds")
    for name in ("records", "tags", "positives"):
        yield between(name, f"{name} are counted", low=0)
    for name in ("macro_map", "macro_map_baseline", "macro_auc", "micro_f1"):
        yield between(name, f"{name} is a share", low=0, high=ONE)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The evaluation, and the vocabulary of the sample."""

    vocabulary: pl.DataFrame  # label_id, name
    per_tag: pl.DataFrame
    test: pl.DataFrame  # label_ids, scores of the test images
    slices: pl.DataFrame
    metrics: pl.DataFrame  # METRIC_TYPES
    originals: dict[str, Any]  # of metrics.json

    @classmethod
    def read(cls, paths: Paths) -> "_Evaluation":
        vocabulary = parquet.read(
            paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
        )
        predictions = pl.scan_parquet(paths.evaluation / "predictions.parquet")
        test = predictions.filter(pl.col("split") == "test")
        scores = test.select("label_ids", "scores")
        path = paths.evaluation / "metrics.json"
        tree = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            vocabulary=vocabulary,
            per_tag=parquet.read(paths.evaluation / "per_tag.parquet"),
            test=scores.collect(engine="streaming"),
            slices=parquet.read(paths.evaluation / "slices.parquet"),
            metrics=_metrics(_below(tree, "splits")),
            originals=_below(tree, "originals"),
        )


def _metrics(splits: dict[str, Any]) -> pl.DataFrame:
    """Returns METRIC_TYPES of every metric.

    What is missing or not a finite number is null.
    """
    rows = []
    for split, metrics in sorted(splits.items()):
        if split not in SPLITS or not isinstance(metrics, dict):
            continue
        for name, metric in sorted(metrics.items()):
            keys = list(METRIC_TYPES)[2:]
            rows.append((split, name, *(_number(metric, key) for key in keys)))
    return pl.DataFrame(rows, schema=METRIC_TYPES, orient="row")


def _below(tree: Any, key: str) -> dict[str, Any]:
    """Returns the tree below a key; empty where there is none."""
    below = tree.get(key) if isinstance(tree, dict) else None
    return below if isinstance(below, dict) else {}


def _number(metric: Any, key: str) -> float | None:
    if not isinstance(metric, dict):
        return None
    value = metric.get(key)
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def measure(params: Params, paths: Paths, /) -> list[MeasuredTable]:
    """Measures the evaluation against the sample."""
    evaluation = _Evaluation.read(paths)
    metrics = evaluation.metrics
    is_headline = _is_headline()
    is_contest = ~pl.col("metric").is_in(NO_CONTEST)
    others = metrics.filter(~is_headline & is_contest)
    findings = [
        *_unlisted_tags(evaluation),
        *_predicted_posts(paths),
        *_computed_again(evaluation),
        *_slices_and_intervals(evaluation),
        *regression.findings(params, paths),
    ]
    return [
        findings_table(findings),
        _figures(evaluation),
        MeasuredTable("metrics", metrics, list(_metric_checks())),
        MeasuredTable("headline", metrics.filter(is_headline), [_beats_baseline()]),
        MeasuredTable("others", others, [_beats_as_warning()]),
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

    is_missing = pl.col("uncertainty").is_null()
    partly = predictions.filter(is_missing.any() & is_missing.not_().any())
    without = partly.filter(is_missing).select("post_id", "md5", "split")
    found = violations(without, rows)
    description = "either all predictions have uncertainties or none has"
    yield no_violations("uncertainty_missing", description, found)

    same = ["post_id", "md5", "split", "label_ids"]
    posts = pl.scan_parquet(paths.sample / "posts.parquet").select(same)
    unknown = predictions.select(same).join(posts, on=same, how="anti")
    found = violations(unknown, rows)
    description = (
        "predicted posts are of the sample, in the same split, with the same labels"
    )
    yield no_violations("not_in_sample", description, found)


def _computed_again(evaluation: _Evaluation) -> Iterator[Check]:
    """Checks that metrics are defined, and computes AUC again from the scores."""
    metrics = evaluation.metrics
    is_missing = pl.col("value").is_null() | pl.col("baseline").is_null()
    remedy = (
        "else raise sample.min_eval_positives, since a tag without test images has no "
        "metric"
    )
    undefined = metrics.filter(_is_headline() & is_missing)
    found = violations(undefined, metrics.height)
    description = (
        f"macro AUC, mAP and F1 on test and their baselines are numbers; {remedy}"
    )
    yield no_violations("metric_undefined", description, found)
    absent = metrics.filter(~_is_headline() & is_missing)
    found = violations(absent, metrics.height)
    description = f"every other metric and its baseline are numbers; {remedy}"
    yield no_violations("metric_absent", description, found, severity="warning")

    found = violations(_differing_aucs(evaluation), evaluation.per_tag.height)
    description = "the AUC of each tag is what the predictions give, computed again"
    yield no_violations("auc_differs", description, found)


def _slices_and_intervals(evaluation: _Evaluation) -> Iterator[Check]:
    """Checks that intervals hold their values, and that slices are whole."""
    value = pl.col("value")
    is_outside = (value < pl.col("low")) | (value > pl.col("high"))
    outside = evaluation.metrics.filter(is_outside)
    found = violations(outside, evaluation.metrics.height)
    description = "the interval of every metric holds its value"
    yield no_violations("outside_interval", description, found)

    slices = evaluation.slices
    explained = pl.col("absent").is_not_null()
    unexplained = slices.filter(pl.col("macro_map").is_null() != explained)
    shown = unexplained.select("split", "slice", "value", "macro_map", "absent")
    found = violations(shown, slices.height)
    description = "a slice has either a macro mAP or the reason why it has none"
    yield no_violations("slice_unexplained", description, found)

    key = ["split", "slice", "value"]
    repeated = slices.filter(pl.struct(key).is_duplicated()).select(key)
    found = violations(repeated, slices.height)
    yield no_violations("slice_twice", "a slice is listed once", found)


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
        "originals": _number(evaluation.originals, "records") or 0,
        "originals_gap": _originals_gap(evaluation.originals),
    }
    checks = list(_figure_checks(evaluation.test.height))
    return MeasuredTable("figures", pl.DataFrame([figures]), checks)


def _originals_gap(originals: dict[str, Any]) -> float:
    """Returns how far images read from their files are from those of the shards."""
    from_files = _number(originals, "macro_map")
    from_shards = _number(originals, "macro_map_of_shards")
    if from_files is None or from_shards is None:
        return UNKNOWN_GAP
    return abs(from_files - from_shards)


def _macro_auc_gap(headline: pl.DataFrame, per_tag: pl.DataFrame) -> float:
    macro_auc = headline.filter(pl.col("metric") == "macro_auc")
    reported = macro_auc["value"].drop_nulls()
    mean = per_tag["auc"].mean()
    if reported.is_empty() or not isinstance(mean, float):
        return UNKNOWN_GAP
    return abs(float(reported[0]) - mean)


def _figure_checks(test_records: int) -> Iterator[Check]:
    yield between("test_records", "there are test predictions", low=1)
    description = "macro AUC, mAP and F1 on test are there, each with its baseline"
    total = len(HEADLINE)
    yield between("headline_metrics", description, low=total, high=total)
    description = "the macro AUC reported is the mean over the tags"
    yield between("macro_auc_gap", description, high=MAX_GAP)
    enough = min(FEW_ORIGINALS, test_records)
    description = f"{enough:,} test images were predicted from their original files"
    yield between("originals", description, low=enough)
    description = (
        f"the macro mAP from original files is within {MAX_ORIGINALS_GAP} of that from "
        "the shards"
    )
    severity: Severity = "critical" if test_records >= FEW_ORIGINALS else "warning"
    yield between(
        "originals_gap", description, high=MAX_ORIGINALS_GAP, severity=severity
    )


def _metric_checks() -> Iterator[Check]:
    yield between("value", "metrics are shares", low=0, high=ONE)
    yield between("baseline", "baselines are shares", low=0, high=ONE)


def _beats_baseline() -> Check:
    description = "the macro metrics on test beat the image-blind baseline"
    return greater_than("value", "baseline", description)


def _beats_as_warning() -> Check:
    description = "all other metrics beat the image-blind baseline"
    return greater_than("value", "baseline", description, severity="warning")
