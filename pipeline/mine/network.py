"""What the network makes of every record, kept on disk while the stage runs.

Import only after `backend.start`.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline import progress
from pipeline.data import loader
from pipeline.data.shards import Split
from pipeline.errors import BadInput
from pipeline.model import embeddings

BATCH_SIZE = 256  # images; bounds memory only


@dataclass(frozen=True, slots=True)
class NetworkOutputs:
    """Arrays on disk, a row per record, in the order of the shards.

    features: float32 [records, channels], the backbone's average over positions;
    logits: float16 [records, tags]; uncertainty: the same, None of a network without
    label noise.
    """

    post_ids: NDArray[np.int64]
    features: NDArray[np.float32]
    logits: NDArray[np.float16]
    uncertainty: NDArray[np.float16] | None


def compute(
    network: keras.Model, splits: list[Split], size: int, folder: Path
) -> NetworkOutputs:
    """Predicts every record of the splits without augmentation; writes into a folder.

    size: pixels a side of the network's input. Raises BadInput where an output is not a
    finite number.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    records = sum(split.records for split in splits)
    pooled = embeddings.pooled(network)
    part = keras.Model(network.inputs, [*pooled.outputs, *network.outputs])
    post_ids = np.empty(records, np.int64)
    stored = _arrays(part, records, folder)
    start = 0
    with progress.meter("mine", unit="images", total=records) as meter:
        for batch in _batches(splits, size):
            rows = slice(start, start + len(batch.post_ids))
            post_ids[rows] = batch.post_ids
            _store(stored, rows, part.predict_on_batch(batch.images))
            start = rows.stop
            meter.advance(len(batch.post_ids))
    features, logits, *others = stored
    return NetworkOutputs(post_ids, features, logits, others[0] if others else None)


def _batches(splits: list[Split], size: int) -> Iterator[loader.Batch]:
    for split in splits:
        yield from loader.batches(split, size, BATCH_SIZE)


def _arrays(part: keras.Model, records: int, folder: Path) -> list[np.ndarray]:
    """Creates an array on disk for each output; the first, the features, is float32."""
    arrays: list[np.ndarray] = []
    for number, output in enumerate(part.outputs):
        kind = np.float16 if number else np.float32
        path = folder / f"output-{number}.npy"
        shape = (records, output.shape[-1])
        arrays.append(np.lib.format.open_memmap(path, "w+", kind, shape))
    return arrays


def _store(
    arrays: list[np.ndarray], rows: slice, outputs: list["keras.KerasTensor"]
) -> None:
    for array, values in zip(arrays, outputs, strict=True):
        # On several devices there are more: see model.predict.
        array[rows] = _finite(values)[: rows.stop - rows.start]


def _finite(outputs: "keras.KerasTensor") -> NDArray[np.float32]:
    values = np.asarray(outputs, np.float32)
    if not np.isfinite(values).all():
        raise BadInput(
            "data/model/model.keras gives outputs that are not finite numbers. Lower "
            "the learning rate of train.schedule and train again."
        )
    return values
