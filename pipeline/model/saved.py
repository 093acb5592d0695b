"""The trained network as `train` leaves it and the stages after it find it."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import os_errors
from pipeline.errors import BadInput, CorruptFile
from pipeline.paths import Paths

if TYPE_CHECKING:
    import keras

_NEEDED: dict[tuple[str, ...], type] = {
    ("backend",): str,
    ("best_epoch",): int,
    ("epochs",): int,
    ("fingerprint",): str,
    ("input", "size"): int,
    ("keras",): str,
    ("parameters",): int,
    ("params",): dict,
    ("records", "train"): int,
    ("tags",): int,
}
"""What evaluate and export read of training.json, by its keys."""

# A clock, and an address that only layers shared by several networks need.
_VOLATILE_KEYS = ("date_saved", "shared_object_id")
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can express

_MADE_ANEW = "Delete it and run dvc repro again: train makes it anew."
_TRAINED_ANEW = (
    # Without --force, DVC takes the same file from its cache again.
    "To train again: dvc repro --single-item --force train, then dvc repro."
)
_COPIED_ANEW = "Copy the whole folder of the model there again, or name another one."


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A folder as data/model: `facts` is training.json, `file` the network.

    remedy: what to do where the network cannot be read.
    """

    file: Path
    facts: dict[str, Any]
    remedy: str = _MADE_ANEW

    @property
    def size(self) -> int:
        """Pixels: the side of the square that the network looks at."""
        return int(self.facts["input"]["size"])

    @property
    def tag_names(self) -> tuple[str, ...]:
        """Names of the tags in the order of the outputs; of a released model only."""
        return tuple(self.facts["tag_names"])

    @property
    def backend(self) -> str:
        """What it was trained with; both backends read the file."""
        return str(self.facts["backend"])

    def network(self) -> "keras.Model":
        """Loads the network; only after `backend.start`.

        Raises CorruptFile where it cannot be read.
        """
        import keras

        # Registers the layers of label noise, which the network may have.
        from pipeline.model import noise  # noqa: F401

        try:
            return keras.models.load_model(self.file, compile=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            os_errors.raise_for_machine(error, self.file)
            why = " ".join(str(error).split())[:200]
            raise CorruptFile(
                f"{self.file} cannot be read: {why}. {self.remedy}"
            ) from error


def read(paths: Paths, tags: int) -> SavedModel:
    """Returns the model of `paths`.

    Raises BadInput where it knows other tags than the `tags` of the vocabulary, or
    where training.json lacks what later stages read.
    """
    facts = _read_facts(
        paths.model / "training.json",
        unreadable="Run dvc repro again: train makes it anew.",
        of_another_version=_TRAINED_ANEW,
    )
    if facts["tags"] != tags:
        raise BadInput(
            f"{paths.model} was trained on {facts['tags']:,} tags and "
            f"data/sample/vocabulary.parquet has {tags:,}. "
            "Run dvc repro, which trains again."
        )
    return SavedModel(paths.model / "model.keras", facts)


def read_released(folder: Path) -> SavedModel:
    """Returns a model with its tags' names from a folder that a person named.

    Raises CorruptFile or BadInput where it is not a whole copy of a data/model.
    """
    facts = _read_facts(
        folder / "training.json",
        unreadable=_COPIED_ANEW,
        of_another_version=_COPIED_ANEW,
        needed={**_NEEDED, ("tag_names",): list},
    )
    if len(facts["tag_names"]) != facts["tags"]:
        raise BadInput(
            f"{folder}/training.json names {len(facts['tag_names']):,} tags and counts "
            f"{facts['tags']:,}. {_COPIED_ANEW}"
        )
    network_file = folder / "model.keras"
    if not network_file.is_file():
        raise BadInput(f"{network_file} is not there. {_COPIED_ANEW}")
    return SavedModel(network_file, facts, _COPIED_ANEW)


def _read_facts(
    path: Path,
    *,
    unreadable: str,
    of_another_version: str,
    needed: dict[tuple[str, ...], type] = _NEEDED,
) -> dict[str, Any]:
    """Returns training.json; raises CorruptFile or BadInput.

    unreadable, of_another_version: what to do in these two cases. needed: type by keys.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        os_errors.raise_for_machine(error, path)
        raise CorruptFile(f"{path} cannot be read: {error}. {unreadable}") from error
    for keys, kind in needed.items():
        if not _holds(facts, keys, kind):
            raise BadInput(
                f"{path} has no valid {'.'.join(keys)}: another version of e6tag wrote "
                f"it. {of_another_version}"
            )
    return dict(facts)


def _holds(tree: Any, keys: tuple[str, ...], kind: type) -> bool:
    """Returns whether a tree has a value of this type under nested keys."""
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return isinstance(tree, kind) and not isinstance(tree, bool)


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
