"""The tagger: a compact SiLU ResNet that learns tags from the shards.

Reads       data/shards/index.parquet                  schemas.SHARDS
            data/shards/{train,validation}-*.tfrecord  as the index lists them, each
            held to its sha256
            data/sample/vocabulary.parquet             schemas.VOCABULARY
Writes      data/model/model.keras                     float32, without optimizer: pictures 0 to 255 in, logits out
            data/model/training.json                   parameters, sizes, the best epoch and its numbers, fingerprint
            data/model/history.csv                     one line per epoch, validation beside its image-blind baseline
            data/training/                             DVCLive's files, for people; nothing depends on them
Guarantees  data/model appears whole, by a rename, and holds no clock. A killed run goes
on after its last finished
            epoch, never from one of other shards, parameters, Keras or source code.
            Orders and augmentations are pure functions of (seed, epoch, position); sums
            of floats are not, so weights differ in their last digits.
"""

import hashlib
import io
import json
import shutil
import zipfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import files
from pipeline.data import shards
from pipeline.data.shards import Split
from pipeline.model import backend
from pipeline.params import Train
from pipeline.paths import Paths
from pipeline.train.checkpoints import EpochMetrics, TrainingLog, best_epoch, to_csv

if TYPE_CHECKING:
    import keras

_TRACES = ("date_saved", "shared_object_id")
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file can say


def run(params: Train, paths: Paths) -> None:
    """Trains from the last finished epoch of the same work, publishes the best epoch.

    Then forgets the work.
    """
    splits = shards.read_splits(paths)
    (train,) = shards.require(splits, "train")
    validation = splits.get("validation")
    shards.verify(*filter(None, (train, validation)))
    mark = fingerprint(params, train, validation)
    backend.start(params.backend)
    from pipeline.train import loop

    diary = TrainingLog(paths.training)
    network = loop.train_model(
        params, train, validation, paths.work("train") / mark, diary
    )
    diary.close()
    facts = _facts(
        params, mark, train, validation, diary.epochs, network.count_params()
    )
    _publish(paths.model, network, facts, diary.epochs)
    for folder in paths.work(
        "train"
    ).iterdir():  # also what an abandoned run with other parameters left
        if folder.is_dir():
            shutil.rmtree(folder)


def fingerprint(params: Train, train: Split, validation: Split | None) -> str:
    """Returns 16 hex digits that differ where the same work would not be done.

    Shards, parameters, Keras, this code.
    """
    code = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(__file__).parent.glob("*.py"))
    ]
    work = {
        "params": params.model_dump(mode="json"),
        "train": train.sums,
        "validation": validation.sums if validation else (),
        "keras": version("keras"),
        "code": code,
    }
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:16]


def _facts(
    params: Train,
    mark: str,
    train: Split,
    validation: Split | None,
    epochs: list[EpochMetrics],
    size: int,
) -> dict[str, object]:
    return {
        "backend": params.backend,
        "best_epoch": best_epoch(epochs).epoch,
        "epochs": len(epochs),
        "fingerprint": mark,
        "input": {"channels": "RGB", "range": [0, 255], "size": params.size},
        "keras": version("keras"),
        "metrics": asdict(best_epoch(epochs)),
        "output": "logits",
        "parameters": size,
        "params": params.model_dump(mode="json"),
        "records": {
            "train": train.records,
            "validation": validation.records if validation else 0,
        },
        "tags": train.tags,
    }


def _publish(
    target: Path,
    network: "keras.Model",
    facts: dict[str, object],
    epochs: list[EpochMetrics],
) -> None:
    folder = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    network.save(folder / "model.keras")
    files.write_bytes(
        folder / "model.keras", strip_timestamps((folder / "model.keras").read_bytes())
    )
    files.write_text(
        folder / "training.json", json.dumps(facts, indent=2, sort_keys=True) + "\n"
    )
    files.write_text(folder / "history.csv", to_csv(epochs))
    files.publish_folder(folder, target)


def strip_timestamps(archive: bytes) -> bytes:
    """Returns a .keras archive without times and memory addresses, which Keras puts in.

    Same network, same bytes.
    """
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(written, "w") as target,
    ):
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name.endswith(".json"):
                content = json.dumps(
                    _without_traces(json.loads(content)), sort_keys=True
                ).encode()
            target.writestr(zipfile.ZipInfo(name, _NO_TIME), content)
    return written.getvalue()


def _without_traces(tree: Any) -> Any:
    """Keys `date_saved` (a clock) and `shared_object_id` (an address, which only layers shared by networks need)."""
    if isinstance(tree, dict):
        return {
            key: _without_traces(value)
            for key, value in tree.items()
            if key not in _TRACES
        }
    return (
        [_without_traces(value) for value in tree] if isinstance(tree, list) else tree
    )
