"""The bundle: what users of other tools load.

Reads       data/model/                         model.keras and training.json
            data/evaluation/                    metrics.json and thresholds.json
            data/sample/vocabulary.parquet      schemas.VOCABULARY
            data/shards/test-*.tfrecord         pictures on which ONNX and Keras must agree
            data/manifest/train.parquet         its lineage, from the file's metadata
Writes      data/bundle/model.onnx              `input` float32 [N, size, size, 3], RGB 0 to 255; `output` probabilities
            data/bundle/selected_tags.csv       tag_id, name, category, count: the form of the WD taggers
            data/bundle/thresholds.csv          name, threshold
            data/bundle/preprocessing.json, model_card.md, lineage.json
Guarantees  ONNX and Keras agree within export.tolerance, or nothing is published. No
picture and no address is in it
            (policy rule 8). Same inputs, same bytes. The folder appears whole, by a
            rename.
"""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import polars as pl

from pipeline import files, lineage, parquet, policy, progress
from pipeline.data import shards
from pipeline.errors import BadInput, CorruptFile
from pipeline.export import model_card
from pipeline.model import backend, saved
from pipeline.params import CategoryName, Export, Shard
from pipeline.paths import Paths

if TYPE_CHECKING:
    import keras


def run(params: Export, paths: Paths, *, shard: Shard) -> None:
    """Converts, compares on test pictures, describes, publishes.

    `shard` says how pictures were fitted.
    """
    vocabulary = parquet.read(paths.sample / "vocabulary.parquet").sort("label_id")
    train, test = shards.require(shards.read_splits(paths), "train", "test")
    shards.verify(test)
    model = saved.read(paths, vocabulary.height)
    metrics, thresholds = (
        _read_json(paths.evaluation / name)
        for name in ("metrics.json", "thresholds.json")
    )
    origin = _lineage(params, paths, shard, model)
    backend.start("tensorflow")
    from pipeline.export import onnx

    network = model.network()
    file = onnx.to_onnx(network, model.size)
    _compare(params, network, file, test, model.size)
    preprocessing = _preprocessing(shard, model.size)
    origin["model"]["onnx_sha256"] = hashlib.sha256(file).hexdigest()
    folder = paths.bundle.with_name(f".{paths.bundle.name}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    files.write_bytes(folder / "model.onnx", file)
    files.write_text(
        folder / "selected_tags.csv", _selected_tags(vocabulary, train.positives)
    )
    files.write_text(folder / "thresholds.csv", _thresholds(vocabulary, thresholds))
    _write_json(folder / "preprocessing.json", preprocessing)
    _write_json(folder / "lineage.json", origin)
    described = model_card.render_model_card(
        params.name, preprocessing, metrics, model.facts, origin
    )
    files.write_text(folder / "model_card.md", described)
    policy.check_no_images(folder)
    files.publish_folder(folder, paths.bundle)


def _compare(
    params: Export, network: "keras.Model", file: bytes, test: shards.Split, size: int
) -> None:
    """Raises BadInput where ONNX and Keras disagree on test pictures by more than the tolerance."""
    from pipeline.data import loader
    from pipeline.export import onnx

    batch = next(loader.batches(test, size, min(params.compared, test.records)))
    logits = np.asarray(network.predict_on_batch(batch.images), np.float64)
    difference = float(
        np.abs(onnx.run_onnx(file, batch.images) - 1 / (1 + np.exp(-logits))).max()
    )
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
    """The lineage of the manifest, and of what was done since."""
    origin = lineage.read(paths.manifest / "train.parquet")
    later = {
        "shard": shard.model_dump(mode="json"),
        "train": model.facts["params"],
        "export": params.model_dump(),
    }
    made = {
        key: model.facts[key]
        for key in (
            "fingerprint",
            "best_epoch",
            "epochs",
            "keras",
            "parameters",
            "records",
        )
    }
    return origin | {"parameters": origin.get("parameters", {}) | later, "model": made}


def _preprocessing(shard: Shard, size: int) -> dict[str, Any]:
    return {
        "channels": "RGB",
        "dtype": "float32",
        "fit": shard.fit,
        "input": "input",
        "layout": "NHWC",
        "output": "output",
        "pad_colour": [255, 255, 255] if shard.fit == "pad" else None,
        "range": [0, 255],
        "resize": "bilinear, antialiased",
        "size": size,
        "trained_on": {"jpeg_quality": shard.quality, "jpeg_size": shard.size},
        "transparency": "flattened on white",
    }


def _selected_tags(vocabulary: pl.DataFrame, positives: np.ndarray) -> str:
    numbers = {name: number for number, name in enumerate(get_args(CategoryName))}
    rows = zip(
        vocabulary["tag_id"],
        vocabulary["name"],
        vocabulary["category"],
        positives.tolist(),
        strict=True,
    )
    return _csv(
        ["tag_id", "name", "category", "count"],
        (
            [tag_id, name, numbers[category], count]
            for tag_id, name, category, count in rows
        ),
    )


def _thresholds(vocabulary: pl.DataFrame, thresholds: dict[str, float]) -> str:
    names = vocabulary["name"].to_list()
    if set(names) != set(thresholds):
        raise BadInput(
            "data/evaluation/thresholds.json has other tags than the vocabulary. Run "
            "dvc repro again."
        )
    return _csv(["name", "threshold"], ([name, thresholds[name]] for name in names))


def _csv(header: list[str], rows: Iterable[list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CorruptFile(
            f"{path} cannot be read: {error}. Run dvc repro again: evaluate makes it "
            "anew."
        ) from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    files.write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")
