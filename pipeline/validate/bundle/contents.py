"""What the rules read: the files of the bundle, and the vocabulary of the sample."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from e6tag import bundle as bundle_format
from pipeline import parquet
from pipeline.paths import Paths
from pipeline.validate.bundle import onnx_files
from pipeline.validate.bundle.csv_files import Tables
from pipeline.validate.bundle.json_files import JsonFiles
from pipeline.validate.bundle.onnx_files import OnnxFile


@dataclass(frozen=True, slots=True)
class BundleContents:
    """The files of the bundle that can be read, and the vocabulary of the sample."""

    folder: Path
    names: list[str]  # of all files, relative to the folder
    tables: Tables
    models: dict[str, OnnxFile]  # those that can be read, by name
    unreadable: list[dict[str, Any]]
    vocabulary: pl.DataFrame  # in the order of the rows
    json_files: JsonFiles

    @classmethod
    def read(cls, paths: Paths) -> "BundleContents":
        """Reads the bundle and the vocabulary, whose files must be as declared."""
        folder = paths.bundle
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        names = [path.relative_to(folder).as_posix() for path in found]
        vocabulary = parquet.read(paths.sample / "vocabulary.parquet")
        models, unreadable = onnx_files.read_all(folder)
        return cls(
            folder=folder,
            names=names,
            tables=Tables.read(folder),
            models=models,
            unreadable=unreadable,
            vocabulary=_vocabulary_in_rows(vocabulary),
            json_files=JsonFiles.read(folder),
        )

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Content of preprocessing.json."""
        return self.json_files[bundle_format.PREPROCESSING]

    @property
    def lineage(self) -> dict[str, Any]:
        """Content of lineage.json."""
        return self.json_files[bundle_format.LINEAGE]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of selected_tags.csv."""
        return self.tables[bundle_format.ROWS]

    def text(self, name: str) -> str:
        """Returns a file's text; bytes that are not UTF-8 become signs of that."""
        return (self.folder / name).read_text(encoding="utf-8", errors="replace")


def _vocabulary_in_rows(vocabulary: pl.DataFrame) -> pl.DataFrame:
    """Returns the tags in the order of their rows: characters last.

    vocabulary: label_id, tag_id, name, category.
    """
    is_character = pl.col("category") == "character"
    return vocabulary.sort(is_character, "label_id", maintain_order=True)
