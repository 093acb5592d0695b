"""The trained network as the stages after `train` find it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import BadInput, CorruptFile
from pipeline.paths import Paths

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class SavedModel:
    """data/model: `facts` is training.json, `file` the network."""

    file: Path
    facts: dict[str, Any]

    @property
    def size(self) -> int:
        """Pixels: the side of the square that the network looks at."""
        return int(self.facts["input"]["size"])

    @property
    def backend(self) -> str:
        """What it was trained with; both backends read the file."""
        return str(self.facts["backend"])

    def network(self) -> "keras.Model":
        """Loads the network; only after `backend.start`.

        Raises CorruptFile where it cannot be read.
        """
        import keras

        try:
            return keras.models.load_model(self.file, compile=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = " ".join(str(error).split())[:200]
            raise CorruptFile(
                f"{self.file} cannot be read: {why}. Delete it and run dvc repro "
                "again: train makes it anew."
            ) from error


def read(paths: Paths, tags: int) -> SavedModel:
    """Returns the model of `paths`.

    Raises BadInput where it knows other tags than the `tags` of the vocabulary.
    """
    facts_file = paths.model / "training.json"
    try:
        facts = json.loads(facts_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFile(
            f"{facts_file} cannot be read: {error}. Run dvc repro again: train makes "
            "it anew."
        ) from error
    if facts["tags"] != tags:
        raise BadInput(
            f"{paths.model} was trained on {facts['tags']:,} tags and "
            f"data/sample/vocabulary.parquet has {tags:,}. "
            "Run dvc repro, which trains again."
        )
    return SavedModel(paths.model / "model.keras", facts)
