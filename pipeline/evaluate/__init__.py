"""How good the tagger is, beside an image-blind model on the same images.

Reads       data/model/                            model.keras and training.json
            data/shards/index.parquet              schemas.SHARDS
            data/shards/*.tfrecord                 of validation, test and fresh
            data/sample/vocabulary.parquet         schemas.VOCABULARY
Writes      data/evaluation/metrics.json           split -> metric -> value, baseline,
                                                   low, high
            data/evaluation/per_tag.parquet        schemas.PER_TAG, of the test split
            data/evaluation/curves.parquet         schemas.CURVES, of the test split
            data/evaluation/predictions.parquet    schemas.PREDICTIONS
            data/evaluation/thresholds.json        tag name -> threshold
Guarantees  thresholds are chosen on validation alone; tags without positives in a split
            are left out of its means, and their number is stated. The folder appears
            whole, by a rename, and holds no clock.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline import files, parquet, progress
from pipeline.data import shards
from pipeline.metrics.catalogue import HEADLINE, Metric
from pipeline.model import backend, saved
from pipeline.params import Evaluate
from pipeline.paths import Paths
from pipeline.schemas.evaluation import CURVES, PER_TAG, PREDICTIONS

EVALUATED_SPLITS = ("validation", "test", "fresh")
_DECIMALS = 6  # of metrics.json


@dataclass(frozen=True, slots=True)
class Predictions:
    """A split as the network sees it.

    labels: uint8 [records, tags]; scores: float32 of the same shape, 0 to 1.
    """

    post_ids: np.ndarray  # int64 [records]
    md5s: list[str]
    labels: np.ndarray
    scores: np.ndarray


def run(params: Evaluate, paths: Paths) -> None:
    """Predicts, chooses thresholds on validation, evaluates every split, publishes."""
    from pipeline.evaluate.evaluators import curves

    vocabulary = parquet.read(paths.sample / "vocabulary.parquet").sort("label_id")
    splits = shards.read_splits(paths)
    train, *_ = shards.require(splits, "train", "validation", "test")
    predictions = _predict(paths, splits)
    test = predictions["test"]
    thresholds = _choose_thresholds(predictions["validation"])
    shares = train.positives / train.records
    metrics = _evaluate_all(predictions, thresholds, shares, params)
    per_tag = _per_tag(vocabulary, train, test, thresholds)
    points = curves.rows(test.labels, test.scores, shares)
    with files.atomic_folder(paths.evaluation) as folder:
        files.write_json(folder / "metrics.json", _metrics_tree(metrics, predictions))
        _write_thresholds(folder, vocabulary, thresholds)
        parquet.write(folder / "per_tag.parquet", per_tag, PER_TAG)
        parquet.write(folder / "curves.parquet", points, CURVES)
        parquet.write(folder / "predictions.parquet", _table(predictions), PREDICTIONS)
    _log_headline(metrics["test"])


def _choose_thresholds(validation: Predictions) -> np.ndarray:
    """Returns the threshold of each tag with the best F1 on validation."""
    from pipeline.metrics import thresholded

    return thresholded.choose_thresholds(validation.labels, validation.scores)


def _write_thresholds(
    folder: Path, vocabulary: pl.DataFrame, thresholds: np.ndarray
) -> None:
    by_name = dict(zip(vocabulary["name"], thresholds.tolist(), strict=True))
    files.write_json(folder / "thresholds.json", by_name)


def _predict(
    paths: Paths, splits: Mapping[str, shards.Split]
) -> dict[str, Predictions]:
    """Returns the predictions of every split that is evaluated."""
    evaluated = [splits[name] for name in EVALUATED_SPLITS if name in splits]
    shards.verify(*evaluated)
    model = saved.read(paths, evaluated[0].tags)
    backend.start(model.backend)
    from pipeline.model.predict import predict

    network = model.network()
    predictions = {}
    for split in progress.track(evaluated, "evaluate", unit="splits"):
        found = predict(network, split, model.size)
        probabilities = 1 / (1 + np.exp(-found.logits.astype(np.float64)))
        scores = probabilities.astype(np.float32)
        predictions[split.name] = Predictions(
            found.post_ids, found.md5s, found.labels, scores
        )
    return predictions


def _evaluate_all(
    predictions: dict[str, Predictions],
    thresholds: np.ndarray,
    shares: np.ndarray,
    params: Evaluate,
) -> dict[str, dict[str, Metric]]:
    """Returns the metrics by split and name."""
    metrics = {}
    for name, split in predictions.items():
        metrics[name] = _evaluate(split, thresholds, shares, params)
    return metrics


def _evaluate(
    split: Predictions, thresholds: np.ndarray, shares: np.ndarray, params: Evaluate
) -> dict[str, Metric]:
    """Returns the metrics of a split by name. shares: of each tag in training."""
    from pipeline.evaluate.evaluators import ranking, thresholded
    from pipeline.metrics import bootstrap

    predicted = split.scores >= thresholds
    metrics = dict(ranking.evaluate(split.labels, split.scores, shares))
    metrics.update(thresholded.evaluate(split.labels, predicted, shares))
    if params.bootstrap:
        bounds = bootstrap.intervals(
            split.labels, split.scores, resamplings=params.bootstrap, seed=params.seed
        )
        for name, (low, high) in bounds.items():
            metrics[name] = replace(metrics[name], low=low, high=high)
    return metrics


def _metrics_tree(
    metrics: dict[str, dict[str, Metric]], predictions: dict[str, Predictions]
) -> dict[str, Any]:
    """Returns the content of metrics.json."""
    tree: dict[str, Any] = {}
    records = {}
    tags = {"vocabulary": predictions["test"].labels.shape[1]}
    for name, split in predictions.items():
        tree[name] = {key: _rounded(metric) for key, metric in metrics[name].items()}
        records[name] = len(split.labels)
        missing = ~split.labels.any(axis=0)
        tags[f"without_positives_in_{name}"] = int(missing.sum())
    return tree | {"records": records, "tags": tags}


def _rounded(metric: Metric) -> dict[str, float]:
    """Returns the numbers that the metric has."""
    values = asdict(metric).items()
    return {key: round(value, _DECIMALS) for key, value in values if value is not None}


def _per_tag(
    vocabulary: pl.DataFrame,
    train: shards.Split,
    test: Predictions,
    thresholds: np.ndarray,
) -> pl.DataFrame:
    """Returns schemas.PER_TAG of the test split."""
    from pipeline.evaluate.evaluators import ranking, thresholded

    predicted = test.scores >= thresholds
    columns = {
        "train_positives": train.positives,
        "test_positives": test.labels.sum(axis=0, dtype=np.int64),
        "prevalence": test.labels.mean(axis=0),
        "threshold": thresholds,
        **ranking.per_tag(test.labels, test.scores),
        **thresholded.per_tag(test.labels, predicted),
    }
    identity = vocabulary.select("label_id", "name", "category")
    for name, values in columns.items():
        identity = identity.with_columns(pl.Series(name, values, nan_to_null=True))
    return identity


def _table(predictions: dict[str, Predictions]) -> pa.Table:
    """Returns schemas.PREDICTIONS, by split, then by post id."""
    by_name = sorted(predictions.items())
    return pa.concat_tables([_split_table(name, split) for name, split in by_name])


def _split_table(name: str, split: Predictions) -> pa.Table:
    order = np.argsort(split.post_ids, kind="stable")
    scores = split.scores[order]
    labels = [np.flatnonzero(row) for row in split.labels[order]]
    starts = np.arange(len(scores) + 1, dtype=np.int32) * scores.shape[1]
    score_type = PREDICTIONS.field("scores").type
    columns = {
        "post_id": split.post_ids[order],
        "md5": [split.md5s[row] for row in order],
        "split": [name] * len(order),
        "label_ids": pa.array(labels, PREDICTIONS.field("label_ids").type),
        "scores": pa.ListArray.from_arrays(starts, scores.ravel(), type=score_type),
    }
    return pa.table(columns)


def _log_headline(metrics: dict[str, Metric]) -> None:
    for name in HEADLINE:
        metric = metrics[name]
        if metric.value is not None:
            progress.log(
                f"evaluate: test {name} {metric.value:.4f}, image-blind "
                f"{metric.baseline:.4f}"
            )
