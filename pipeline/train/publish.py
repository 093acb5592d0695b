"""Writes data/model whole: the same network gives the same bytes."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import files
from pipeline.model.saved import strip_timestamps
from pipeline.train.log import EpochMetrics, to_csv

if TYPE_CHECKING:
    import keras


def publish(
    target: Path,
    network: "keras.Model",
    facts: dict[str, object],
    epochs: list[EpochMetrics],
) -> None:
    """Writes model.keras, training.json and history.csv, then puts them in place."""
    with files.atomic_folder(target) as folder:
        folder.mkdir(parents=True)
        network_file = folder / "model.keras"
        network.save(network_file)
        files.write_bytes(network_file, strip_timestamps(network_file.read_bytes()))
        files.write_json(folder / "training.json", facts)
        files.write_text(folder / "history.csv", to_csv(epochs))


def forget_work(work: Path) -> None:
    """Removes the checkpoints, also those of abandoned runs with other parameters."""
    for folder in work.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
