"""What export reads of the earlier stages."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import os_errors, parquet
from pipeline.data import shards
from pipeline.errors import BadInput, CorruptFile
from pipeline.export import relations
from pipeline.export.data_facts import DataFacts
from pipeline.export.failures import Failures
from pipeline.export.measured import MeasuredImages
from pipeline.metrics.calibration import Calibration
from pipeline.model import saved
from pipeline.params.export import Export
from pipeline.params.shard import Shard
from pipeline.paths import Paths


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the earlier stages left, read and checked."""

    vocabulary: pl.DataFrame
    train: shards.Split
    test: shards.Split
    model: saved.SavedModel
    thresholds: dict[str, float]
    calibration: Calibration
    metrics: dict[str, Any]
    measured: MeasuredImages
    implications: relations.Rows
    renamed: relations.Rows
    data: DataFacts
    failures: Failures


def read_inputs(params: Export, paths: Paths, shard: Shard) -> Inputs:
    """Reads all inputs; raises BadInput, CorruptFile. shard: how images were fitted."""
    vocabulary = parquet.read(paths.sample / "vocabulary.parquet").sort("label_id")
    train, test = shards.require(shards.read_splits(paths), "train", "test")
    shards.verify(train, test)
    thresholds = _read_json(paths.evaluation / "thresholds.json")
    if set(vocabulary["name"]) != set(thresholds):
        raise BadInput(
            "data/evaluation/thresholds.json has other tags than the vocabulary. Run "
            "dvc repro again."
        )
    metrics = _read_json(paths.evaluation / "metrics.json")
    canonical = relations.canonical_names(paths)
    names = vocabulary["name"].to_list()
    measured = MeasuredImages.read(
        paths,
        limit=max(metrics["originals"]["records"], params.compared),
        tags=vocabulary.height,
        fit=shard.fit,
    )
    return Inputs(
        vocabulary=vocabulary,
        train=train,
        test=test,
        model=saved.read(paths, vocabulary.height),
        thresholds=thresholds,
        calibration=_read_calibration(paths),
        metrics=metrics,
        measured=measured,
        implications=relations.implications(paths, names, canonical),
        renamed=relations.renamed(paths, params.previous, canonical),
        data=DataFacts.read(paths),
        failures=Failures.read(paths),
    )


def _read_calibration(paths: Paths) -> Calibration:
    path = paths.evaluation / "calibration.json"
    try:
        return Calibration.from_json(_read_json(path)["calibration"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(
            f"{path} holds no calibration: {error!r}. Run dvc repro again: evaluate "
            "makes it anew."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        os_errors.raise_for_machine(error, path)
        raise CorruptFile(
            f"{path} cannot be read: {error}. Run dvc repro again: evaluate makes it "
            "anew."
        ) from error
