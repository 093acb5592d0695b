"""The shards as later stages find them, and whether they are still what was written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipeline import files, parquet
from pipeline.errors import BadInput, CorruptFile
from pipeline.paths import Paths


@dataclass(frozen=True, slots=True)
class Split:
    """The shards of one split, ordered by name.

    `sums` holds the SHA-256 that each file must have.
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
    vocabulary = parquet.read(paths.sample / "vocabulary.parquet", columns=["label_id"])
    tags = vocabulary.height
    if (index["label_counts"].list.len() != tags).any():
        raise BadInput(
            f"{paths.shards}/index.parquet counts other tags than the {tags:,} of "
            f"{paths.sample}/vocabulary.parquet. "
            "Run dvc repro, which makes them anew together."
        )
    filled = index.filter(pl.col("records") > 0)
    names = filled["split"].unique().sort()
    return {name: _split(name, filled.filter(split=name), paths) for name in names}


def _split(name: str, rows: pl.DataFrame, paths: Paths) -> Split:
    label_counts = np.array(rows["label_counts"].to_list(), dtype=np.int64)
    return Split(
        name=name,
        files=tuple(paths.shards / shard for shard in rows["shard"]),
        sums=tuple(rows["sha256"]),
        records=int(rows["records"].sum()),
        positives=label_counts.sum(axis=0),
    )


def require(splits: dict[str, Split], *names: str) -> list[Split]:
    """Returns the named splits; raises BadInput for the first that has no record."""
    for name in names:
        if name not in splits:
            raise BadInput(
                f"the {name} split has no record in data/shards. Raise "
                "sample.min_eval_positives or sample.size, and give the split a share "
                "in sample.split."
            )
    return [splits[name] for name in names]


def verify(*splits: Split) -> None:
    """Compares every file with its SHA-256 in the index.

    Raises CorruptFile naming the first that differs.
    """
    for split in splits:
        for path, expected in zip(split.files, split.sums, strict=True):
            _verify_file(path, expected)


def _verify_file(path: Path, expected: str) -> None:
    try:
        found = files.sha256(path)
    except FileNotFoundError:
        problem = "is missing"
    else:
        if found == expected:
            return
        problem = "is not what index.parquet lists: its SHA-256 differs"
    raise CorruptFile(
        f"shard {path} {problem}. Delete it and run dvc repro again: the shard stage "
        "makes it anew."
    )
