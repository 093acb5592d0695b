"""The shards as later stages find them: which files a split has.

And whether they are still what was written.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipeline import parquet
from pipeline.errors import BadInput, CorruptFile
from pipeline.paths import Paths


@dataclass(frozen=True, slots=True)
class Split:
    """The shards of one split, ordered by name.

    `sums` holds the sha256 that each file must have.
    """

    name: str
    files: tuple[Path, ...]
    sums: tuple[str, ...]
    records: int
    positives: np.ndarray  # int64 [tags]: records with each tag

    @property
    def tags(self) -> int:
        """Number of tags in the vocabulary."""
        return len(self.positives)


def read_splits(paths: Paths) -> dict[str, Split]:
    """Returns the splits that hold a record, by name.

    Raises BadInput where index and vocabulary disagree.
    """
    index = parquet.read(paths.shards / "index.parquet").sort("shard")
    tags = parquet.read(
        paths.sample / "vocabulary.parquet", columns=["label_id"]
    ).height
    if any(length != tags for length in index["label_counts"].list.len()):
        raise BadInput(
            f"{paths.shards}/index.parquet counts other tags than the {tags:,} of "
            f"{paths.sample}/vocabulary.parquet. "
            "Run dvc repro, which makes them anew together."
        )
    filled = index.filter(pl.col("records") > 0)
    return {
        name: _split(name, filled.filter(split=name), paths.shards)
        for name in filled["split"].unique().sort()
    }


def _split(name: str, rows: pl.DataFrame, folder: Path) -> Split:
    return Split(
        name=name,
        files=tuple(folder / shard for shard in rows["shard"]),
        sums=tuple(rows["sha256"]),
        records=int(rows["records"].sum()),
        positives=np.array(rows["label_counts"].to_list(), dtype=np.int64).sum(axis=0),
    )


def require(splits: dict[str, Split], *names: str) -> list[Split]:
    """Returns the named splits; raises BadInput for the first that has no record."""
    for name in names:
        if name not in splits:
            raise BadInput(
                f"the {name} split has no record in data/shards. Give it a share in "
                "manifest.split, or sample more."
            )
    return [splits[name] for name in names]


def verify(*splits: Split) -> None:
    """Compares every file with its sha256 in the index.

    Raises CorruptFile naming the first that differs.
    """
    for split in splits:
        for path, expected in zip(split.files, split.sums, strict=True):
            if (found := _sha256(path)) != expected:
                what = (
                    "is missing"
                    if found is None
                    else "is not what index.parquet says: its sha256 differs"
                )
                raise CorruptFile(
                    f"shard {path} {what}. Delete it and run dvc repro again: the "
                    "shard stage makes it anew."
                )


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
