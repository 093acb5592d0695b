"""The point to resume from, after each epoch."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import progress
from pipeline.train.log import EpochMetrics, best_epoch

if TYPE_CHECKING:
    import keras

_LAST = "last.weights.h5"
_BEST = "best.weights.h5"
_HISTORY = "history.json"


class Checkpoints:
    """The last finished epoch, in a folder that one rename puts in place of the last.

    Not Keras's BackupAndRestore: that overwrites the only copy, and a kill while it
    writes leaves nothing to load.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        work.mkdir(parents=True, exist_ok=True)

    @property
    def best(self) -> Path:
        """Weights of the best epoch so far."""
        return self._finished()[-1] / _BEST

    def save(self, network: "keras.Model", epochs: list[EpochMetrics]) -> None:
        """Writes weights and optimizer, the best weights so far, and the history."""
        temporary = self._work / ".epoch.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        previous = self._finished()
        # Of a compiled network: with the optimizer's variables.
        network.save_weights(temporary / _LAST)
        is_best = best_epoch(epochs) is epochs[-1]
        best = temporary / _LAST if is_best else self.best
        os.link(best, temporary / _BEST)
        history = [asdict(epoch) for epoch in epochs]
        (temporary / _HISTORY).write_text(json.dumps(history, indent=1))
        temporary.replace(self._work / f"epoch-{len(epochs):05}")
        for folder in previous:
            shutil.rmtree(folder)

    def restore(self, network: "keras.Model") -> list[EpochMetrics]:
        """Loads the last finished epoch into a compiled network.

        Returns the history up to it; empty where no epoch is finished.
        """
        finished = self._finished()
        if not finished:
            return []
        folder = finished[-1]
        history = json.loads((folder / _HISTORY).read_text())
        epochs = [EpochMetrics(**epoch) for epoch in history]
        network.optimizer.build(network.trainable_variables)
        network.load_weights(folder / _LAST)
        progress.log(
            f"train: resumes after epoch {len(epochs)}, which an earlier run finished"
        )
        return epochs

    def _finished(self) -> list[Path]:
        return sorted(self._work.glob("epoch-*"))
