"""A number per image, such as a quality score, from what a tagger knows of images.

No stage: `e6tag regression scores.csv --model data/model --out data/quality`.

Reads       the CSV file, its columns: post_id or md5, and value
            a folder with model.keras and training.json
            data/shards/index.parquet     schemas.SHARDS
            data/shards/*.tfrecord        of train and test
            data/sample/vocabulary.parquet
Writes      OUT/model.keras       float32: images of 0 to 255 in, float32 [n, 1] out
            OUT/metrics.json      errors on test beside those of a constant, what was
                                  fitted, and which rows and images were left out
Guarantees  the strength of the regularisation is chosen on train alone. OUT appears
            whole, by a rename, holds no clock, and is never written over.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import files, progress
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.model import backend, saved
from pipeline.paths import Paths
from pipeline.regression import values
from pipeline.regression.metrics import compute_metrics
from pipeline.regression.ridge import Ridge, fit
from pipeline.regression.values import MatchedValues

if TYPE_CHECKING:
    import keras

FITTED_ON, EVALUATED_ON = "train", "test"
_DECIMALS = 6  # of metrics.json


def run(table: Path, model_folder: Path, out: Path, paths: Paths) -> None:
    """Fits the values of a CSV file on the embeddings of the images in the shards."""
    if out.exists():
        raise BadInput(f"{out} is there already. Delete it, or name another --out.")
    given = values.read(table)
    model = saved.read_released(model_folder)
    splits = shards.require(shards.read_splits(paths), FITTED_ON, EVALUATED_ON)
    shards.verify(*splits)
    backend.start(model.backend)
    from pipeline.regression import network

    tagger = model.network()
    found = network.embed(tagger, splits, model.size)
    matched = values.match(given, found)
    values.log_left_out(matched, table)
    values.require_enough(matched, table)
    fitted = fit(matched.features[0], matched.targets[0])
    facts = _facts(matched, fitted, model)
    facts["test"] = _evaluate(matched, fitted)
    _publish(out, network.with_value(tagger, fitted), facts)


def _evaluate(matched: MatchedValues, fitted: Ridge) -> dict[str, dict[str, float]]:
    """Returns the metrics of the test images, and logs them."""
    train, truth = matched.targets
    predicted = fitted.predict(matched.features[1])
    found = {}
    for name, metric in compute_metrics(train, truth, predicted).items():
        progress.log(f"regression: {EVALUATED_ON} {name} {metric.text()}")
        found[name] = asdict(metric)
    return found


def _facts(
    matched: MatchedValues, fitted: Ridge, model: saved.SavedModel
) -> dict[str, Any]:
    """Returns metrics.json, the metrics aside."""
    return {
        "images": {
            FITTED_ON: len(matched.targets[0]),
            EVALUATED_ON: len(matched.targets[1]),
        },
        "input": model.facts["input"],
        "left_out": {
            "images_without_row": matched.images_without_row,
            "rows_without_image": matched.rows_without_image,
        },
        "model": model.facts["fingerprint"],
        "regularisation": fitted.strength,
    }


def _publish(out: Path, network: "keras.Model", facts: dict[str, Any]) -> None:
    with files.atomic_folder(out) as folder:
        folder.mkdir(parents=True)
        network_file = folder / "model.keras"
        network.save(network_file)
        files.write_bytes(
            network_file, saved.strip_timestamps(network_file.read_bytes())
        )
        files.write_json(folder / "metrics.json", _rounded(facts))


def _rounded(tree: Any) -> Any:
    if isinstance(tree, float):
        return round(tree, _DECIMALS)
    if isinstance(tree, dict):
        return {name: _rounded(value) for name, value in tree.items()}
    return tree
