"""The tagger: a network that learns tags from the shards.

Reads       data/shards/index.parquet     schemas.SHARDS
            data/shards/*.tfrecord        of train and validation, each held to its
                                          SHA-256 in the index
            data/sample/vocabulary.parquet
            init/                         the model that train.init names
Writes      data/model/model.keras        float32, without optimizer: images of 0 to 255
                                          in, logits out; where train.noise is not
                                          none, each tag's uncertainty too
            data/model/training.json      parameters, sizes, how many epochs ran and
                                          why no more, the best one and its metrics,
                                          fingerprint, names of the tags
            data/model/history.csv        one line per epoch, validation beside its
                                          image-blind baseline
            data/training/                DVCLive's files; nothing depends on them
Guarantees  data/model appears whole, by a rename, and holds no clock. A killed run
            resumes after its last checkpoint, never from one of other shards,
            parameters, Keras or source code. Orders and augmentations are pure
            functions of (seed, epoch, position). Sums of floats are only where
            train.deterministic is true: then the weights are the same bit for bit on
            one machine, killed or not, and else differ in their last digits.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data import shards
from pipeline.data.shards import Split
from pipeline.errors import BadInput, BadParameter
from pipeline.model import backend
from pipeline.paths import Paths
from pipeline.train import batch_size, code, hosts, initial, publish
from pipeline.train.hosts import Host
from pipeline.train.initial import Initial
from pipeline.train.log import EpochMetrics, TrainingLog, best_epoch, stopped_early
from pipeline.train_params import Train

if TYPE_CHECKING:
    from pipeline.train.loop import TrainingRun


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a training reads. work_id: the fingerprint of all of it."""

    train: Split
    validation: Split | None
    tag_names: tuple[str, ...]
    start: Initial | None
    work_id: str


def run(params: Train, paths: Paths) -> None:
    """Trains from the last checkpoint of the same work, publishes the best epoch."""
    host = hosts.this_host()
    inputs = _read_inputs(params, paths)
    work = paths.work("train")
    hosts.connect(host, params)
    # Before the backend starts, which takes memory itself.
    images = batch_size.resolve(params, inputs.train, work / inputs.work_id)
    backend.start(params.backend, params.device, deterministic=params.deterministic)
    # Imported here: it loads Keras.
    from pipeline.train import loop

    log = TrainingLog(paths.training if host.writes else None)
    training = _training_run(params, inputs, work / inputs.work_id, log, images, host)
    with batch_size.explained(params, inputs.train):
        network = loop.train_model(training)
    log.close()
    if network is None:
        return
    facts = _facts(params, inputs, log.epochs)
    facts["batch_size"] = training.batch_size
    facts["parameters"] = network.count_params()
    publish.publish(paths.model, network, facts, log.epochs)
    publish.forget_work(work)


def _read_inputs(params: Train, paths: Paths) -> _Inputs:
    train, validation = _verified_splits(params, paths)
    tag_names = initial.read_tag_names(paths)
    _require_positives(train, tag_names)
    start = initial.read(params, tag_names, paths)
    work_id = fingerprint(params, train, validation, start)
    return _Inputs(train, validation, tag_names, start, work_id)


def _training_run(
    params: Train,
    inputs: _Inputs,
    work: Path,
    log: TrainingLog,
    images: int,
    host: Host,
) -> "TrainingRun":
    """Returns what is trained. images: per step over all devices, if there are any."""
    # Imported here: they load Keras.
    from pipeline.train import devices, loop
    from pipeline.train.checkpoints import Checkpoints

    return loop.TrainingRun(
        params=params,
        train=inputs.train,
        validation=inputs.validation,
        start=inputs.start,
        checkpoints=Checkpoints(work, writes=host.writes),
        log=log,
        batch_size=devices.shared_batch(images, inputs.train.records),
        host=host,
    )


def _require_positives(train: Split, tag_names: Sequence[str]) -> None:
    """Raises BadInput for tags that no training image has."""
    pairs = zip(tag_names, train.positives, strict=True)
    absent = [name for name, positives in pairs if positives == 0]
    if absent:
        raise BadInput(
            f"no training image has {absent[0]}, one of {len(absent):,} such tags of "
            f"{len(tag_names):,}: nothing can be learnt of it. Give train a larger "
            "share in sample.split, raise sample.min_positives, or take such tags out "
            "of sample.tags_file; then run dvc repro."
        )


def _verified_splits(params: Train, paths: Paths) -> tuple[Split, Split | None]:
    """Returns the shards to train and to validate on, once they are what was written.

    Without validation where no record is of it; raises BadParameter where the
    parameters need it.
    """
    splits = shards.read_splits(paths)
    (train,) = shards.require(splits, "train")
    validation = splits.get("validation")
    if params.early_stop is not None and validation is None:
        raise BadParameter(
            "train.early_stop waits for a better macro mAP on validation, and "
            "data/shards has no validation split. Set train.early_stop: null, or give "
            "validation a share in sample.split."
        )
    used = [train] if validation is None else [train, validation]
    shards.verify(*used)
    return train, validation


def fingerprint(
    params: Train,
    train: Split,
    validation: Split | None,
    start: Initial | None = None,
) -> str:
    """Returns 16 hex digits that differ where the work would not be the same.

    They depend on shards, parameters, the model at the start, Keras's version and the
    code used. How often a checkpoint is saved changes no weight.
    """
    work = {
        "params": params.model_dump(mode="json", exclude={"checkpoint_steps"}),
        "train": train.sums,
        "validation": validation.sums if validation else (),
        "keras": version("keras"),
        "code": code.digests(params),
        "start": start.identity() if start else None,
    }
    text = json.dumps(work, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _facts(
    params: Train, inputs: _Inputs, epochs: list[EpochMetrics]
) -> dict[str, object]:
    """Returns training.json, batch size and number of parameters aside."""
    best = best_epoch(epochs)
    validation_records = inputs.validation.records if inputs.validation else 0
    return {
        "backend": params.backend,
        "best_epoch": best.epoch,
        "epochs": len(epochs),
        "fingerprint": inputs.work_id,
        "input": {"channels": "RGB", "range": [0, 255], "size": params.size},
        "keras": version("keras"),
        "metrics": asdict(best),
        "output": "logits",
        "params": params.model_dump(mode="json"),
        "records": {"train": inputs.train.records, "validation": validation_records},
        "stopped_by": "early_stop" if stopped_early(epochs, params) else "epochs",
        "tag_names": inputs.tag_names,
        "tags": inputs.train.tags,
    }
