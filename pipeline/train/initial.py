"""The released model that a training starts from, and the tags it has in common."""

from dataclasses import dataclass

from pipeline import files, parquet
from pipeline.model import saved
from pipeline.model.saved import SavedModel
from pipeline.paths import Paths
from pipeline.train_params import Train


@dataclass(frozen=True, slots=True)
class SharedTags:
    """The vocabularies of a released model and of a training.

    rows: the position of each tag in common there and here.
    """

    there: tuple[str, ...]
    here: tuple[str, ...]
    rows: tuple[tuple[int, int], ...]

    def line(self) -> str:
        """Returns how many tags are kept, new and gone, as a person reads it."""
        kept = len(self.rows)
        new, gone = len(self.here) - kept, len(self.there) - kept
        text = f"{kept:,} tags kept, {new:,} new, {gone:,} gone"
        return text if kept else f"{text}: no tag in common, all are learnt anew"


@dataclass(frozen=True, slots=True)
class Initial:
    """A released model as the start of a training."""

    model: SavedModel
    sha256: str  # of the network's file
    tags: SharedTags

    def identity(self) -> dict[str, object]:
        """Returns what the weights at the start depend on."""
        return {
            "network": self.sha256,
            "there": self.tags.there,
            "here": self.tags.here,
        }


def read(params: Train, tag_names: tuple[str, ...], paths: Paths) -> Initial | None:
    """Returns what `train.init` names; None where it is null.

    tag_names: the vocabulary of the training. Raises BadInput or CorruptFile where it
    is not a whole copy of a data/model.
    """
    if params.init is None:
        return None
    model = saved.read_released(paths.root / params.init)
    tags = shared_tags(model.tag_names, tag_names)
    return Initial(model, files.sha256(model.file), tags)


def read_tag_names(paths: Paths) -> tuple[str, ...]:
    """Returns the names of the vocabulary in the order of the network's outputs."""
    vocabulary = parquet.read(
        paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
    )
    return tuple(vocabulary.sort("label_id")["name"])


def shared_tags(there: tuple[str, ...], here: tuple[str, ...]) -> SharedTags:
    """Returns two vocabularies with the positions of the names that both have."""
    positions = {name: row for row, name in enumerate(there)}
    rows = []
    for row, name in enumerate(here):
        if name in positions:
            rows.append((positions[name], row))
    return SharedTags(there, here, tuple(rows))
