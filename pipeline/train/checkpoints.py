"""What is known after each epoch: the point to resume from.

And the diary that people read while it runs.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import progress

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One epoch, counted from 1.

    Losses are binary cross-entropy in nats, mean over pictures and tags.

    What has `baseline` in its name is what the training shares of the tags reach as a
    score, the picture unseen. All of validation is None where that split is empty.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float | None = None
    validation_loss_baseline: float | None = None
    macro_auc: float | None = None
    macro_auc_baseline: float | None = None
    macro_map: float | None = None
    macro_map_baseline: float | None = None

    def line(self, epochs: int) -> str:
        """Returns the epoch as a person reads it."""
        text = f"epoch {self.epoch} of {epochs}, loss {self.train_loss:.4f}"
        if self.validation_loss is not None:
            text += f"; validation loss {self.validation_loss:.4f} (image-blind {self.validation_loss_baseline:.4f})"
        if self.macro_auc is not None:
            text += f", macro AUC {self.macro_auc:.4f} (0.5000)"
        if self.macro_map is not None:
            text += f", macro mAP {self.macro_map:.4f} ({self.macro_map_baseline:.4f})"
        return text


def best_epoch(epochs: list[EpochMetrics]) -> EpochMetrics:
    """Returns the epoch with the highest validation macro mAP, the later of equals."""
    return max(epochs, key=lambda epoch: (epoch.macro_map or 0.0, epoch.epoch))


def to_csv(epochs: list[EpochMetrics]) -> str:
    """Returns one line per epoch, numbers with six decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(EpochMetrics)]
    writer.writerow(names)
    for epoch in epochs:
        values = (getattr(epoch, name) for name in names)
        writer.writerow(
            [f"{value:.6f}" if isinstance(value, float) else value for value in values]
        )
    return text.getvalue()


class Checkpoints:
    """The last finished epoch in a folder of its own, which appears whole by one rename and replaces the one before.

    Not Keras's BackupAndRestore: that writes over the only copy, and a kill while it writes leaves nothing to load.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        work.mkdir(parents=True, exist_ok=True)

    @property
    def best(self) -> Path:
        """Weights of the best epoch so far."""
        return self._finished()[-1] / "best.weights.h5"

    def save(self, network: "keras.Model", epochs: list[EpochMetrics]) -> None:
        """Writes weights and optimizer, the best weights so far, and the history."""
        temporary = self._work / ".epoch.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        before = self._finished()
        network.save_weights(
            temporary / "last.weights.h5"
        )  # of a compiled network: with the optimizer's variables
        is_best = best_epoch(epochs) is epochs[-1]
        os.link(
            temporary / "last.weights.h5" if is_best else self.best,
            temporary / "best.weights.h5",
        )
        (temporary / "history.json").write_text(
            json.dumps([asdict(epoch) for epoch in epochs], indent=1)
        )
        temporary.replace(self._work / f"epoch-{len(epochs):05}")
        for folder in before:
            shutil.rmtree(folder)

    def restore(self, network: "keras.Model") -> list[EpochMetrics]:
        """Loads the last finished epoch into a compiled network.

        Returns the history up to it, perhaps empty.
        """
        for folder in reversed(self._finished()):
            epochs = [
                EpochMetrics(**epoch)
                for epoch in json.loads((folder / "history.json").read_text())
            ]
            network.optimizer.build(network.trainable_variables)
            network.load_weights(folder / "last.weights.h5")
            progress.log(
                f"train: goes on after epoch {len(epochs)}, which an earlier run "
                "finished"
            )
            return epochs
        return []

    def _finished(self) -> list[Path]:
        return sorted(self._work.glob("epoch-*"))


class TrainingLog:
    """Every epoch so far, in memory and as DVCLive's files.

    A resumed run writes the finished epochs again.
    """

    def __init__(self, folder: Path) -> None:
        # DVC removes the folder before it runs the stage, so DVCLive's own resuming
        # would find nothing.
        shutil.rmtree(folder, ignore_errors=True)
        self.epochs: list[EpochMetrics] = []
        self._live = _live(folder)

    def __iter__(self) -> Iterator[EpochMetrics]:
        return iter(self.epochs)

    def write(self, epoch: EpochMetrics) -> None:
        """Adds an epoch."""
        self.epochs.append(epoch)
        for name, value in asdict(epoch).items():
            if name != "epoch" and value is not None:
                self._live.log_metric(_plot(name), value)
        self._live.next_step()

    def close(self) -> None:
        """Writes what DVCLive still holds."""
        self._live.end()


def _plot(name: str) -> str:
    """Returns DVCLive's name of a column: its folders become groups of plots."""
    if name in ("learning_rate", "train_loss"):
        return name.replace("_loss", "/loss")
    return f"validation/{name.removeprefix('validation_')}"


def _live(folder: Path) -> Any:
    from dvclive import Live

    class _WithoutGit(Live):
        """Live asks git for the last commit and fails where there is none ('Empty git repo'); nothing here needs it."""

        def _init_dvc(self) -> None:
            """Leaves the experiment without a name and a commit."""

    return _WithoutGit(
        dir=str(folder),
        save_dvc_exp=False,
        dvcyaml=None,
        report=None,
        monitor_system=False,
    )
