"""The metrics of each tag on the test split: per_tag.parquet."""

import numpy as np
import polars as pl

from pipeline.evaluate.case import Case
from pipeline.evaluate.evaluators import confusion
from pipeline.evaluate.evaluators.ranking import RankedTags
from pipeline.metrics.calibration import Reliability

_Column = np.ndarray | pl.Series


def table(
    vocabulary: pl.DataFrame,
    train_positives: np.ndarray,
    case: Case,
    ranked: RankedTags,
    reliability: Reliability,
) -> pl.DataFrame:
    """Returns schemas.PER_TAG. vocabulary: ordered by label id."""
    images = case.split.scores.images
    positives = case.split.scores.positives
    share = positives / images
    is_rankable = (positives > 0) & (positives < images)
    columns = {
        "train_positives": train_positives,
        "test_positives": positives,
        "prevalence": share,
        "threshold": case.thresholds.per_tag,
        "auc": ranked.auc,
        "average_precision": ranked.average_precision,
        "baseline_average_precision": np.where(is_rankable, share, np.nan),
        **_thresholded(case, share),
        "calibration_error": reliability.error,
        "mean_uncertainty": _mean_uncertainty(case),
        "confused_with": _confused_names(case, vocabulary["name"]),
    }
    return vocabulary.select("label_id", "name", "category").with_columns(
        [_series(name, values) for name, values in columns.items()]
    )


def _series(name: str, values: _Column) -> pl.Series:
    if isinstance(values, pl.Series):
        return values.alias(name)
    return pl.Series(name, values, nan_to_null=True)


def _thresholded(case: Case, share: np.ndarray) -> dict[str, _Column]:
    """Returns the columns of what is predicted, NaN where there is nothing to find."""
    hits, true, predicted = case.own.per_tag()
    wrong = true + predicted - 2 * hits
    recall = np.where(true > 0, hits / np.maximum(true, 1), np.nan)
    precision = np.where(predicted > 0, hits / np.maximum(predicted, 1), np.nan)
    always = np.where(true > 0, 2 * share / (1 + share), np.nan)
    return {
        "f1": case.own.f1,
        "baseline_f1": always,
        "precision": precision,
        "recall": recall,
        "accuracy": 1 - wrong / case.split.scores.images,
        "baseline_accuracy": np.maximum(share, 1 - share),
    }


def _mean_uncertainty(case: Case) -> np.ndarray:
    """Returns the mean over the images, NaN of a model without label noise."""
    means = np.full(case.split.scores.tags, np.nan)
    uncertainty = case.split.uncertainty
    if uncertainty is not None:
        for tag, values in enumerate(uncertainty):
            means[tag] = values.mean(dtype=np.float64)
    return means


def _confused_names(case: Case, names: pl.Series) -> pl.Series:
    lists = confusion.confused_tags(case.own)
    named = [[names[tag] for tag in tags] for tags in lists]
    return pl.Series(named, dtype=pl.List(pl.String))
