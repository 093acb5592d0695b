"""The bundle: what users of other tools load. Its format is in e6tag/bundle.py.

Reads       data/model/                       model.keras and training.json
            data/evaluation/                  metrics.json and thresholds.json
            data/sample/vocabulary.parquet    schemas.VOCABULARY
            data/shards/test-*.tfrecord       images on which ONNX and Keras must agree
            data/manifest/train.parquet       its lineage, from the file's metadata
Writes      data/bundle/                      the files of e6tag.bundle.FILES
Guarantees  ONNX and Keras agree within export.tolerance, or nothing is published. No
            image and no address is in it (policy rule 8). Same inputs, same bytes. The
            folder appears whole, by a rename.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import polars as pl

from e6tag import bundle, images, tagger
from pipeline import files, lineage, parquet, policy, progress
from pipeline.data import shards
from pipeline.errors import BadInput, CorruptFile
from pipeline.export import model_card
from pipeline.model import backend, saved
from pipeline.params import CategoryName, Export, Shard
from pipeline.paths import Paths

if TYPE_CHECKING:
    import keras

_MODEL_FACTS = (
    "fingerprint",
    "best_epoch",
    "epochs",
    "keras",
    "parameters",
    "records",
)
"""What lineage.json repeats of training.json."""


def run(params: Export, paths: Paths, *, shard: Shard) -> None:
    """Converts, compares on test images, describes, publishes.

    shard: how images were fitted.
    """
    vocabulary = parquet.read(paths.sample / "vocabulary.parquet").sort("label_id")
    train, test = shards.require(shards.read_splits(paths), "train", "test")
    shards.verify(test)
    model = saved.read(paths, vocabulary.height)
    thresholds = _read_json(paths.evaluation / "thresholds.json")
    onnx_file = _convert(params, model, test)
    origin = _lineage(params, paths, shard, model)
    origin["model"]["onnx_sha256"] = hashlib.sha256(onnx_file).hexdigest()
    preprocessing = _preprocessing(shard, model.size)
    metrics = _read_json(paths.evaluation / "metrics.json")
    described = model_card.render_model_card(
        params.name, preprocessing, metrics, model.facts, origin
    )
    texts = {
        bundle.TAGS: _selected_tags(vocabulary, train.positives),
        bundle.THRESHOLDS: _thresholds(vocabulary, thresholds),
        bundle.PREPROCESSING: files.to_json(preprocessing),
        bundle.LINEAGE: files.to_json(origin),
        bundle.MODEL_CARD: described,
    }
    _publish(paths, onnx_file, texts)


def _publish(paths: Paths, onnx_file: bytes, texts: Mapping[str, str]) -> None:
    """Writes the bundle and puts it in place as a whole. texts: by file name."""
    folder = paths.bundle.with_name(f".{paths.bundle.name}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    files.write_bytes(folder / bundle.MODEL, onnx_file)
    for name, text in texts.items():
        files.write_text(folder / name, text)
    policy.check_no_images(folder)
    files.publish_folder(folder, paths.bundle)


def _convert(params: Export, model: saved.SavedModel, test: shards.Split) -> bytes:
    """Returns the ONNX file; raises BadInput where it disagrees with Keras."""
    backend.start("tensorflow")
    from pipeline.export import onnx

    network = model.network()
    onnx_file = onnx.to_onnx(network, model.size)
    _compare(params, network, onnx_file, test, model.size)
    return onnx_file


def _compare(
    params: Export,
    network: "keras.Model",
    onnx_file: bytes,
    test: shards.Split,
    size: int,
) -> None:
    """Raises BadInput where ONNX and Keras differ by more than the tolerance."""
    from pipeline.data import loader

    batch = next(loader.batches(test, size, min(params.compared, test.records)))
    logits = np.asarray(network.predict_on_batch(batch.images), np.float64)
    expected = 1 / (1 + np.exp(-logits))
    found = tagger.run_onnx(onnx_file, batch.images)
    difference = float(np.abs(found - expected).max())
    # Also where the difference is not a number.
    if not difference <= params.tolerance:
        raise BadInput(
            f"model.onnx differs from model.keras by {difference:.2g} on "
            f"{len(logits):,} test pictures, and "
            f"export.tolerance is {params.tolerance:g}. Nothing is published. Train "
            "again, or raise export.tolerance."
        )
    progress.log(
        f"export: ONNX and Keras differ by at most {difference:.1e} on {len(logits):,} "
        "test pictures"
    )


def _lineage(
    params: Export, paths: Paths, shard: Shard, model: saved.SavedModel
) -> dict[str, Any]:
    """Returns the lineage of the manifest and of the stages since."""
    origin = lineage.read(paths.manifest / "train.parquet")
    parameters = {
        **origin.get("parameters", {}),
        "shard": shard.model_dump(mode="json"),
        "train": model.facts["params"],
        "export": params.model_dump(),
    }
    facts = {name: model.facts[name] for name in _MODEL_FACTS}
    return {**origin, "parameters": parameters, "model": facts}


def _preprocessing(shard: Shard, size: int) -> dict[str, Any]:
    return bundle.preprocessing(
        size=size,
        fit=shard.fit,
        background=images.BACKGROUND,
        jpeg_size=shard.size,
        jpeg_quality=shard.quality,
    )


def _selected_tags(vocabulary: pl.DataFrame, positives: np.ndarray) -> str:
    numbers = {name: number for number, name in enumerate(get_args(CategoryName))}
    rows = vocabulary.select("tag_id", "name", "category").iter_rows()
    tags = []
    for (tag_id, name, category), count in zip(rows, positives.tolist(), strict=True):
        tags.append(bundle.Tag(tag_id, name, numbers[category], count))
    return bundle.tags_csv(tags)


def _thresholds(vocabulary: pl.DataFrame, thresholds: dict[str, float]) -> str:
    names = vocabulary["name"].to_list()
    if set(names) != set(thresholds):
        raise BadInput(
            "data/evaluation/thresholds.json has other tags than the vocabulary. Run "
            "dvc repro again."
        )
    return bundle.thresholds_csv((name, thresholds[name]) for name in names)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CorruptFile(
            f"{path} cannot be read: {error}. Run dvc repro again: evaluate makes it "
            "anew."
        ) from error
