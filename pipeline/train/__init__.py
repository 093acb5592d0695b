"""The tagger: a compact SiLU ResNet that learns tags from the shards.

Reads       data/shards/index.parquet     schemas.SHARDS
            data/shards/*.tfrecord        of train and validation, each held to its
                                          SHA-256 in the index
            data/sample/vocabulary.parquet
Writes      data/model/model.keras        float32, without optimizer: images of 0 to 255
                                          in, logits out
            data/model/training.json      parameters, sizes, the best epoch and its
                                          metrics, fingerprint
            data/model/history.csv        one line per epoch, validation beside its
                                          image-blind baseline
            data/training/                DVCLive's files; nothing depends on them
Guarantees  data/model appears whole, by a rename, and holds no clock. A killed run
            resumes after its last finished epoch, never from one of other shards,
            parameters, Keras or source code. Orders and augmentations are pure
            functions of (seed, epoch, position); sums of floats are not, so weights
            differ in their last digits.
"""

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version

from pipeline.data import shards
from pipeline.data.shards import Split
from pipeline.model import backend
from pipeline.params import Train
from pipeline.paths import Paths
from pipeline.train import code, publish
from pipeline.train.log import EpochMetrics, TrainingLog, best_epoch


def run(params: Train, paths: Paths) -> None:
    """Trains from the last finished epoch of the same work, publishes the best one."""
    splits = shards.read_splits(paths)
    (train,) = shards.require(splits, "train")
    validation = splits.get("validation")
    used = [train] if validation is None else [train, validation]
    shards.verify(*used)
    work_id = fingerprint(params, train, validation)
    work = paths.work("train")
    backend.start(params.backend)
    from pipeline.train import loop

    log = TrainingLog(paths.training)
    network = loop.train_model(params, train, validation, work / work_id, log)
    log.close()
    facts = _facts(params, train, validation, log.epochs)
    facts["fingerprint"] = work_id
    facts["parameters"] = network.count_params()
    publish.publish(paths.model, network, facts, log.epochs)
    publish.forget_work(work)


def fingerprint(params: Train, train: Split, validation: Split | None) -> str:
    """Returns 16 hex digits that differ where the work would not be the same.

    They depend on shards, parameters, Keras's version and the code used.
    """
    work = {
        "params": params.model_dump(mode="json"),
        "train": train.sums,
        "validation": validation.sums if validation else (),
        "keras": version("keras"),
        "code": code.digests(),
    }
    text = json.dumps(work, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _facts(
    params: Train,
    train: Split,
    validation: Split | None,
    epochs: list[EpochMetrics],
) -> dict[str, object]:
    """Returns training.json, its fingerprint and number of parameters aside."""
    best = best_epoch(epochs)
    validation_records = validation.records if validation else 0
    return {
        "backend": params.backend,
        "best_epoch": best.epoch,
        "epochs": len(epochs),
        "input": {"channels": "RGB", "range": [0, 255], "size": params.size},
        "keras": version("keras"),
        "metrics": asdict(best),
        "output": "logits",
        "params": params.model_dump(mode="json"),
        "records": {"train": train.records, "validation": validation_records},
        "tags": train.tags,
    }
