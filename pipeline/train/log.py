"""The metrics of each epoch, as people follow them while training runs."""

import csv
import io
import shutil
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.train_params import Train


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One epoch, counted from 1.

    Losses are means over images and tags. Of validation they are binary cross-entropy
    in nats. `train_loss` is the objective: comparable to validation where train.loss is
    summed_binary_cross_entropy, neither robust nor weighted. A baseline is what the
    training shares of the tags reach as a score, the image unseen. All of validation is
    None where that split is empty.
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
        """Returns the epoch as a person reads it. epochs: of the whole training."""
        text = f"epoch {self.epoch} of {epochs}, loss {self.train_loss:.4f}"
        if self.validation_loss is not None:
            text += f"; validation loss {self.validation_loss:.4f}"
            text += f" (image-blind {self.validation_loss_baseline:.4f})"
        if self.macro_auc is not None:
            text += f", macro AUC {self.macro_auc:.4f} ({self.macro_auc_baseline:.4f})"
        if self.macro_map is not None:
            text += f", macro mAP {self.macro_map:.4f} ({self.macro_map_baseline:.4f})"
        return text


def best_epoch(epochs: list[EpochMetrics]) -> EpochMetrics:
    """Returns the epoch with the highest validation macro mAP, the later of equals."""
    return max(epochs, key=lambda epoch: (epoch.macro_map or 0.0, epoch.epoch))


def stopped_early(epochs: list[EpochMetrics], params: Train) -> bool:
    """Returns whether `train.early_stop` epochs have passed without a better one.

    False where the last epoch is reached too: nothing was left to stop.
    """
    if params.early_stop is None or not 0 < len(epochs) < params.epochs:
        return False
    # Unlike best_epoch, the first of equals: the same again is no better.
    best = max(epochs, key=lambda epoch: epoch.macro_map or 0.0)
    return epochs[-1].epoch - best.epoch >= params.early_stop


def to_csv(epochs: list[EpochMetrics]) -> str:
    """Returns one line per epoch, numbers with six decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(EpochMetrics)])
    for epoch in epochs:
        writer.writerow([_cell(value) for value in astuple(epoch)])
    return text.getvalue()


def _cell(value: float | None) -> str | int | None:
    return f"{value:.6f}" if isinstance(value, float) else value


class TrainingLog:
    """Every epoch so far, in memory and as DVCLive's files; folder None: no files.

    A resumed run writes the finished epochs again: DVC removes the folder before it
    runs the stage, so DVCLive's own resuming would find nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.epochs: list[EpochMetrics] = []
        self._live: Any = None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            self._live = _open_live(folder)

    def __iter__(self) -> Iterator[EpochMetrics]:
        return iter(self.epochs)

    def write(self, epoch: EpochMetrics) -> None:
        """Adds an epoch."""
        self.epochs.append(epoch)
        if self._live is None:
            return
        for name, value in asdict(epoch).items():
            if name != "epoch" and value is not None:
                self._live.log_metric(_plot_name(name), value)
        self._live.next_step()

    def close(self) -> None:
        """Writes what DVCLive still holds."""
        if self._live is not None:
            self._live.end()


def _plot_name(column: str) -> str:
    """Returns DVCLive's name of a column: its folders become groups of plots."""
    if column in ("learning_rate", "train_loss"):
        return column.replace("_loss", "/loss")
    return f"validation/{column.removeprefix('validation_')}"


def _open_live(folder: Path) -> Any:
    from dvclive import Live

    class _WithoutGit(Live):
        """Live reads the last commit and fails where there is none.

        Nothing here needs it.
        """

        def _init_dvc(self) -> None:
            """Leaves the experiment without a name and a commit."""

    return _WithoutGit(
        dir=str(folder),
        save_dvc_exp=False,
        dvcyaml=None,
        report=None,
        monitor_system=False,
    )
