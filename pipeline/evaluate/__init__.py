"""How good the tagger is, beside models that never look at the image.

Reads       data/model/                            model.keras and training.json
            data/shards/index.parquet              schemas.SHARDS
            data/shards/*.tfrecord                 of validation, test and fresh
            data/sample/vocabulary.parquet         schemas.VOCABULARY
            data/snapshot/                         aliases and implications
            data/manifest/*.parquet                schemas.MANIFEST
            data/images/pack-*.parquet             original files of test images
Writes      data/evaluation/metrics.json           splits -> split -> metric -> value,
                                                   baselines, low, high, or why it is
                                                   absent; counts of records and tags;
                                                   originals: macro mAP from the files
                                                   and the shards; implications: mode ->
                                                   metric -> value, on test
            data/evaluation/headline.json          the metrics of HEADLINE on test, for
                                                   dvc metrics show
            data/evaluation/per_tag.parquet        schemas.PER_TAG, of the test split
            data/evaluation/slices.parquet         schemas.SLICES, of test and fresh
            data/evaluation/curves.parquet         schemas.CURVES, of the test split
            data/evaluation/predictions.parquet    schemas.PREDICTIONS
            data/evaluation/calibration.json       the map of logits, its effect, and
                                                   how thresholds were chosen
            data/evaluation/thresholds.json        tag name -> threshold
Guarantees  calibration and thresholds are chosen on validation alone; all scores are
            calibrated ones. What cannot be computed is absent with its reason, never 0;
            tags without positives in a split are left out of its means, and their
            number is stated. Scores of a split are one matrix on disk, without a name.
            The folder appears whole, by a rename, and holds no clock.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from e6tag import images
from pipeline import files, parquet
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.evaluate.case import ScoredSplit
from pipeline.model import backend, saved
from pipeline.params.evaluate import Evaluate
from pipeline.params.shard import Shard
from pipeline.paths import Paths

if TYPE_CHECKING:
    import keras

    from pipeline.evaluate.evaluators.originals import PredictedFiles
    from pipeline.evaluate.results import Inputs

EVALUATED_SPLITS = ("validation", "test", "fresh")


def run(params: Evaluate, paths: Paths, *, shard: Shard) -> None:
    """Predicts, calibrates, chooses thresholds on validation, evaluates, publishes.

    shard: how images were fitted.
    """
    from pipeline.evaluate import results
    from pipeline.evaluate.evaluators import originals

    vocabulary = parquet.read(paths.sample / "vocabulary.parquet").sort("label_id")
    splits = shards.read_splits(paths)
    shards.require(splits, "train", "validation", "test")
    with files.atomic_folder(paths.evaluation) as folder:
        scored, from_files = _predict_all(
            params, paths, splits, shard, vocabulary, folder
        )
        inputs = _read(paths, splits["train"], vocabulary, scored, shard)
        calibrated = results.calibrate(params, scored)
        compared = originals.evaluate(
            from_files, scored["test"], calibrated.calibration
        )
        results.write(params, inputs, scored, calibrated, compared, folder)


def _read(
    paths: Paths,
    train: shards.Split,
    vocabulary: pl.DataFrame,
    scored: dict[str, ScoredSplit],
    shard: Shard,
) -> "Inputs":
    """Returns what is known beside the model's answers."""
    from pipeline.evaluate import image_facts
    from pipeline.evaluate.evaluators import implications
    from pipeline.evaluate.informed import Informed
    from pipeline.evaluate.results import Inputs

    facts = {}
    for name, split in scored.items():
        facts[name] = image_facts.read(paths, name, split.post_ids)
    manifest = paths.manifest / "train.parquet"
    records = parquet.read(manifest, columns=["rating", "label_ids"])
    _check_labels(records, vocabulary.height)
    return Inputs(
        vocabulary=vocabulary,
        positives=train.positives,
        records=train.records,
        facts=facts,
        informed=Informed.learn(records, train.positives / train.records),
        implications=implications.read(paths, vocabulary["name"].to_list()),
        fit=shard.fit,
    )


def _predict_all(
    params: Evaluate,
    paths: Paths,
    splits: dict[str, shards.Split],
    shard: Shard,
    vocabulary: pl.DataFrame,
    folder: Path,
) -> tuple[dict[str, ScoredSplit], "PredictedFiles"]:
    """Returns every split, and test images from their files, with their logits."""
    evaluated = [splits[name] for name in EVALUATED_SPLITS if name in splits]
    shards.verify(*evaluated)
    model = saved.read(paths, vocabulary.height)
    _check_tags(model, vocabulary)
    backend.start(model.backend)
    from pipeline.evaluate import predicting

    network = model.network()
    scored = {}
    for split in evaluated:
        scored[split.name] = predicting.predict(network, split, model.size, folder)
    from_files = _predict_originals(
        params, paths, shard, model.size, network, scored["test"]
    )
    return scored, from_files


def _check_labels(records: pl.DataFrame, tags: int) -> None:
    """Raises BadInput where records have labels that the vocabulary has not."""
    largest = records["label_ids"].list.max().max()
    if isinstance(largest, int) and largest >= tags:
        raise BadInput(
            f"data/manifest/train.parquet has label {largest:,}, and the vocabulary of "
            f"data/sample only {tags:,} tags. Run dvc repro, which makes the manifest "
            "anew."
        )


def _check_tags(model: saved.SavedModel, vocabulary: pl.DataFrame) -> None:
    """Raises BadInput where the model has other tags than the vocabulary."""
    names = model.facts.get("tag_names")
    if names is None:
        return
    pairs = zip(names, vocabulary["name"].to_list(), strict=True)
    for label_id, (known, expected) in enumerate(pairs):
        if known != expected:
            raise BadInput(
                f"data/model is of another list of tags: its tag {label_id} is "
                f"{known}, and that of data/sample/vocabulary.parquet is {expected}. "
                "Run dvc repro, which trains again."
            )


def _predict_originals(
    params: Evaluate,
    paths: Paths,
    shard: Shard,
    size: int,
    network: "keras.Model",
    test: ScoredSplit,
) -> "PredictedFiles":
    """Predicts test images from their original files, as the bundle is used."""
    from pipeline.evaluate.evaluators import originals
    from pipeline.model.predict import predict_pixels

    def prepare(body: bytes) -> np.ndarray:
        return images.prepare(body, size=size, fit=shard.fit, fitted_size=shard.size)

    def logits(pixels: np.ndarray) -> np.ndarray:
        return predict_pixels(network, pixels)

    return originals.predict(logits, test, paths, prepare, params.originals)
