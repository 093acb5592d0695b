"""The point to resume from, after each epoch and every so many steps within one.

Import only after `backend.start`.
"""

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from pipeline import progress
from pipeline.train.ema import AveragedWeights, assign
from pipeline.train.log import EpochMetrics, best_epoch

_LAST = "last.weights.h5"
_BEST = "best.weights.h5"
_HISTORY = "history.json"
_STATE = "state.npz"


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a training goes on.

    epochs: those that are finished; step: of the next epoch, so many are done;
    metrics: the values of the network's metric variables at that step, in their order.
    """

    epochs: list[EpochMetrics]
    step: int
    metrics: list[np.ndarray]


class Checkpoints:
    """The last checkpoint, in a folder that one rename puts in place of the last.

    writes: whether this process saves; of several hosts that train together, one does.

    Not Keras's BackupAndRestore: that overwrites the only copy, and a kill while it
    writes leaves nothing to load; nor does it keep the states of random generators,
    without which a resumed run draws the dropout of the first steps again.
    """

    def __init__(self, work: Path, *, writes: bool = True) -> None:
        self._work = work
        self._writes = writes
        work.mkdir(parents=True, exist_ok=True)

    @property
    def best(self) -> Path:
        """Weights of the best epoch so far."""
        return self._finished()[-1] / _BEST

    def save(
        self,
        network: keras.Model,
        epochs: list[EpochMetrics],
        step: int = 0,
        *,
        averaged: AveragedWeights | None = None,
    ) -> None:
        """Writes the network's state, the best weights so far, and the history.

        epochs: those that are finished. step: so many of the next epoch are done; at 0
        the last of `epochs` has just ended and may be the best. averaged: lends the
        network those that may be the best; None where they are the trained ones.
        """
        is_best = step == 0 and best_epoch(epochs) is epochs[-1]
        if not self._writes:
            _save_nowhere(network, averaged, is_best=is_best)
            return
        temporary = self._work / ".checkpoint.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        previous = self._finished()
        _save_weights(network, temporary, averaged, is_best=is_best)
        _save_state(network, temporary / _STATE)
        if epochs and not is_best:
            os.link(self.best, temporary / _BEST)
        history = [asdict(epoch) for epoch in epochs]
        position = {"step": step, "epochs": history}
        (temporary / _HISTORY).write_text(json.dumps(position, indent=1))
        # Sorted by name, folders are in the order of training.
        temporary.replace(self._work / f"epoch-{len(epochs):05}-step-{step:09}")
        for folder in previous:
            shutil.rmtree(folder)

    def restore(self, network: keras.Model) -> Restored:
        """Loads the last checkpoint into a compiled network.

        The metric variables are only returned: `fit` resets them.
        """
        finished = self._finished()
        if not finished:
            return Restored([], 0, [])
        folder = finished[-1]
        position = json.loads((folder / _HISTORY).read_text())
        epochs = [EpochMetrics(**epoch) for epoch in position["epochs"]]
        step = position["step"]
        network.optimizer.build(network.trainable_variables)
        network.load_weights(folder / _LAST)
        metrics = _load_state(network, folder / _STATE)
        where = f"step {step} of epoch {len(epochs) + 1}"
        if step == 0:
            where = f"epoch {len(epochs)}"
        progress.log(f"train: resumes after {where}, which an earlier run finished")
        return Restored(epochs, step, metrics)

    def _finished(self) -> list[Path]:
        return sorted(self._work.glob("epoch-*"))


def _save_weights(
    network: keras.Model,
    folder: Path,
    averaged: AveragedWeights | None,
    *,
    is_best: bool,
) -> None:
    """Writes the weights that train on and, if they are the best, those to evaluate."""
    # Of a compiled network: with the optimizer's variables.
    network.save_weights(folder / _LAST)
    if not is_best:
        return
    if averaged is None:
        os.link(folder / _LAST, folder / _BEST)
        return
    with averaged.lent(network):
        network.save_weights(folder / _BEST)


def _save_nowhere(
    network: keras.Model, averaged: AveragedWeights | None, *, is_best: bool
) -> None:
    """Takes part in saving and keeps nothing.

    On JAX, Keras reads the learning rate while it saves: a computation on variables
    that all hosts hold, which waits until each of them does it.
    """
    with tempfile.TemporaryDirectory() as folder:
        _save_weights(network, Path(folder), averaged, is_best=is_best)


def _random_states(network: keras.Model) -> list[keras.Variable]:
    """Returns the states of the network's random generators.

    Keras counts them among the variables and not among the weights, so that weights
    files lack them.
    """
    weights = {id(weight) for weight in network.weights}
    return [variable for variable in network.variables if id(variable) not in weights]


def _save_state(network: keras.Model, file: Path) -> None:
    """Writes what weights files lack: states of random generators, and metrics."""
    arrays = {}
    for number, variable in enumerate(_random_states(network)):
        arrays[f"random/{number}"] = keras.ops.convert_to_numpy(variable)
    for number, variable in enumerate(network.metrics_variables):
        arrays[f"metrics/{number}"] = keras.ops.convert_to_numpy(variable)
    np.savez(file, **arrays)


def _load_state(network: keras.Model, file: Path) -> list[np.ndarray]:
    """Restores the random generators; returns the values of the metrics."""
    with np.load(file) as arrays:
        random = _numbered(arrays, "random")
        metrics = _numbered(arrays, "metrics")
    assign(_random_states(network), random)
    return metrics


def _numbered(arrays: "np.lib.npyio.NpzFile", group: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{group}/") for name in arrays)
    return [arrays[f"{group}/{number}"] for number in range(count)]
