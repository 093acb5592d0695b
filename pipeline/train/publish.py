"""Writes data/model whole: the same network gives the same bytes."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import files
from pipeline.train.log import EpochMetrics, to_csv

if TYPE_CHECKING:
    import keras

# A clock, and an address that only layers shared by several networks need.
_VOLATILE_KEYS = ("date_saved", "shared_object_id")
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can express


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


def strip_timestamps(archive: bytes) -> bytes:
    """Returns a .keras archive without the times and addresses that Keras puts in."""
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(written, "w") as target,
    ):
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name.endswith(".json"):
                tree = _without_volatile_keys(json.loads(content))
                content = json.dumps(tree, sort_keys=True).encode()
            target.writestr(zipfile.ZipInfo(name, _NO_TIME), content)
    return written.getvalue()


def _without_volatile_keys(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_without_volatile_keys(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    kept = {}
    for key, value in tree.items():
        if key not in _VOLATILE_KEYS:
            kept[key] = _without_volatile_keys(value)
    return kept
