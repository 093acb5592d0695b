"""How good the tagger is, beside what a model that never looks at the picture reaches on the same pictures.

Reads       data/model/                                     model.keras and training.json
            data/shards/{validation,test,fresh}-*.tfrecord  as index.parquet (schemas.SHARDS) lists them
            data/sample/vocabulary.parquet                  schemas.VOCABULARY
Writes      data/evaluation/metrics.json                    split -> metric -> value, baseline, low, high
            data/evaluation/per_tag.parquet                 schemas.PER_TAG, of the test split
            data/evaluation/curves.parquet                  schemas.CURVES, of the test split
            data/evaluation/predictions.parquet             schemas.PREDICTIONS
            data/evaluation/thresholds.json                 tag name -> score from which it is said
Guarantees  thresholds are chosen on validation alone; tags without positives in a split are left out of its means, and
            their number is stated. The folder appears whole, by a rename, and holds no clock.
"""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline import files, parquet, progress
from pipeline.data import shards
from pipeline.model import backend, saved
from pipeline.params import Evaluate
from pipeline.paths import Paths
from pipeline.schemas.evaluation import CURVES, PER_TAG, PREDICTIONS

if TYPE_CHECKING:
    from pipeline.evaluate.metrics import Metric

JUDGED = ("validation", "test", "fresh")
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
    """Predicts, chooses thresholds on validation, judges every split, publishes."""
    from pipeline.evaluate import curves, metrics

    vocabulary = parquet.read(paths.sample / "vocabulary.parquet").sort("label_id")
    splits = shards.read_splits(paths)
    train, *_ = shards.require(splits, "train", "validation", "test")
    predictions = _predict(paths, [splits[name] for name in JUDGED if name in splits])
    validation, test = predictions["validation"], predictions["test"]
    thresholds = metrics.thresholds(validation.labels, validation.scores)
    shares = train.positives / train.records
    found = {
        name: _judge(split, thresholds, shares, params)
        for name, split in predictions.items()
    }
    folder = paths.evaluation.with_name(f".{paths.evaluation.name}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    _write_json(folder / "metrics.json", _metrics(found, predictions))
    _write_json(
        folder / "thresholds.json",
        dict(zip(vocabulary["name"], thresholds.tolist(), strict=True)),
    )
    per_tag = _per_tag(vocabulary, train, test, thresholds)
    parquet.write(folder / "per_tag.parquet", per_tag, PER_TAG, order_by="label_id")
    points = curves.rows(test.labels, test.scores, shares)
    parquet.write(folder / "curves.parquet", points, CURVES)
    parquet.write(folder / "predictions.parquet", _table(predictions), PREDICTIONS)
    files.publish_folder(folder, paths.evaluation)
    _say(found["test"])


def _predict(paths: Paths, splits: list[shards.Split]) -> dict[str, Predictions]:
    shards.verify(*splits)
    model = saved.read(paths, splits[0].tags)
    backend.start(model.backend)
    from pipeline.train import loop

    network = model.network()
    predictions = {}
    for split in progress.track(splits, "evaluate", unit="splits"):
        logits, post_ids, md5s, labels = loop.predict(network, split, model.size)
        scores = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
        predictions[split.name] = Predictions(post_ids, md5s, labels, scores)
    return predictions


def _judge(
    split: Predictions, thresholds: np.ndarray, shares: np.ndarray, params: Evaluate
) -> "dict[str, Metric]":
    from pipeline.evaluate import metrics
    from pipeline.metrics import bootstrap

    figures = metrics.compute_metrics(
        split.labels, split.scores, split.scores >= thresholds, shares
    )
    if params.bootstrap:
        bounds = bootstrap.intervals(
            split.labels, split.scores, resamplings=params.bootstrap, seed=params.seed
        )
        for name, (low, high) in bounds.items():
            figures[name] = replace(figures[name], low=low, high=high)
    return figures


def _metrics(
    found: "dict[str, dict[str, Metric]]", predictions: dict[str, Predictions]
) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        split: {
            name: {
                key: round(value, _DECIMALS)
                for key, value in asdict(figure).items()
                if value is not None
            }
            for name, figure in figures.items()
        }
        for split, figures in found.items()
    }
    metrics["records"] = {
        name: len(split.labels) for name, split in predictions.items()
    }
    metrics["tags"] = {"vocabulary": predictions["test"].labels.shape[1]} | {
        f"without_positives_in_{name}": int((~split.labels.any(axis=0)).sum())
        for name, split in predictions.items()
    }
    return metrics


def _per_tag(
    vocabulary: pl.DataFrame,
    train: shards.Split,
    test: Predictions,
    thresholds: np.ndarray,
) -> pl.DataFrame:
    from sklearn.metrics import precision_recall_fscore_support

    from pipeline.evaluate import metrics
    from pipeline.metrics import ranking

    said = test.scores >= thresholds
    precision, recall, f1, _ = precision_recall_fscore_support(
        test.labels,
        said.astype(np.uint8),
        average=None,
        zero_division=0,
        labels=range(len(thresholds)),
    )
    figures = {
        "train_positives": train.positives,
        "test_positives": test.labels.sum(axis=0, dtype=np.int64),
        "prevalence": test.labels.mean(axis=0),
        "auc": ranking.roc_auc_per_tag(test.labels, test.scores),
        "average_precision": ranking.average_precision_per_tag(
            test.labels, test.scores
        ),
        "baseline_average_precision": ranking.prevalence_per_tag(test.labels),
        "threshold": thresholds,
        "f1": f1,
        "baseline_f1": metrics.constant_f1(test.labels),
        "precision": precision,
        "recall": recall,
        "accuracy": (said == test.labels).mean(axis=0),
        "baseline_accuracy": metrics.constant_accuracy(test.labels),
    }
    columns = [
        pl.Series(name, values, nan_to_null=True) for name, values in figures.items()
    ]
    return vocabulary.select("label_id", "name", "category").with_columns(columns)


def _table(predictions: dict[str, Predictions]) -> pa.Table:
    tables = []
    for name, split in sorted(predictions.items()):
        order = np.argsort(split.post_ids, kind="stable")
        scores = split.scores[order]
        labels = [np.flatnonzero(row) for row in split.labels[order]]
        tables.append(pa.table({
            "post_id": split.post_ids[order],
            "md5": [split.md5s[row] for row in order],
            "split": [name] * len(order),
            "label_ids": pa.array(labels, PREDICTIONS.field("label_ids").type),
            "scores": pa.ListArray.from_arrays(
                np.arange(len(scores) + 1, dtype=np.int32) * scores.shape[1],
                scores.ravel(),
                type=PREDICTIONS.field("scores").type,
            ),
        }))  # fmt: skip
    return pa.concat_tables(tables)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    files.write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _say(figures: "dict[str, Metric]") -> None:
    for name in ("macro_auc", "macro_map", "macro_f1"):
        figure = figures[name]
        if figure.value is not None:
            progress.log(
                f"evaluate: test {name} {figure.value:.4f}, image-blind "
                f"{figure.baseline:.4f}"
            )
