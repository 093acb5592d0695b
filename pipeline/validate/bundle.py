"""The rules of data/bundle, which is compared with data/sample."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import files, parquet
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.validate import dataset_files, embedded_images
from pipeline.validate.checks import (
    Check,
    MeasuredTable,
    RowChecks,
    findings_table,
    no_violations,
)
from pipeline.validate.violations import Violations, listed

LINEAGE = ("pin", "policy_version", "parameters", "model")
"""Keys of lineage.json without which nobody knows what a model was trained on."""


def row_checks(_params: Params, _labels: int, /) -> RowChecks:
    """Returns no checks: a bundle has no Parquet files."""
    return {}


@dataclass(frozen=True, slots=True)
class _Bundle:
    """The folder of the bundle, and the vocabulary of the sample."""

    folder: Path
    names: list[str]  # of all files, relative to the folder
    vocabulary: list[str]  # names of the tags, by label id
    lineage: dict[str, Any]

    @classmethod
    def read(cls, paths: Paths) -> "_Bundle":
        folder = paths.bundle
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        vocabulary = parquet.read(paths.sample / "vocabulary.parquet", columns=["name"])
        lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
        return cls(
            folder=folder,
            names=[str(path.relative_to(folder)) for path in found],
            vocabulary=vocabulary["name"].to_list(),
            lineage=lineage if isinstance(lineage, dict) else {},
        )


def measure(_params: Params, paths: Paths, /) -> list[MeasuredTable]:
    """Measures the bundle against the sample."""
    bundle = _Bundle.read(paths)
    findings = [*_files(bundle), *_tables(bundle), *_origin(bundle)]
    return [findings_table(findings)]


def _files(bundle: _Bundle) -> Iterator[Check]:
    """Checks that the bundle holds its files and no images."""
    images = []
    for path, kind in embedded_images.find_images(bundle.folder):
        file = str(path.relative_to(bundle.folder))
        images.append({"file": file, "picture": kind})
    found = listed(images, len(bundle.names))
    description = "no file is a picture or holds one (policy rule 8)"
    yield no_violations("picture", description, found)

    expected = dataset_files.OTHERS["bundle"]
    extra = [{"file": name} for name in bundle.names if name not in expected]
    found = listed(extra, len(bundle.names))
    description = "there are no files that a bundle does not need"
    yield no_violations("unexpected_file", description, found)


def _tables(bundle: _Bundle) -> Iterator[Check]:
    """Checks that tags and thresholds are those of the vocabulary, in its order."""
    found = _differing_tags(bundle)
    description = "selected_tags.csv is the vocabulary, in its order"
    yield no_violations("tag_differs", description, found)

    found = _missing_thresholds(bundle)
    description = (
        "thresholds.csv has a threshold from 0 to 1 per tag, in the same order"
    )
    yield no_violations("threshold_missing", description, found)


def _differing_tags(bundle: _Bundle) -> Violations:
    table = _read_csv(bundle.folder / "selected_tags.csv")
    names = table["name"].to_list() if "name" in table.columns else []
    return _compare(names, bundle.vocabulary)


def _missing_thresholds(bundle: _Bundle) -> Violations:
    path = bundle.folder / "thresholds.csv"
    table = _read_csv(path)
    if not {"name", "threshold"} <= set(table.columns):
        row = {"file": path.name, "columns": ", ".join(table.columns)}
        return listed([row], len(bundle.vocabulary))
    threshold = pl.col("threshold").cast(pl.Float64, strict=False)
    valid = table.filter(threshold.is_between(0, 1))
    return _compare(valid["name"].to_list(), bundle.vocabulary)


def _read_csv(path: Path) -> pl.DataFrame:
    """Returns all columns as text."""
    return pl.read_csv(path, infer_schema=False, truncate_ragged_lines=True)


def _compare(names: list[str], vocabulary: list[str]) -> Violations:
    """Counts the rows whose name is not that of the vocabulary."""
    wrong = []
    for row, (name, expected) in enumerate(zip_longest(names, vocabulary)):
        if name != expected:
            wrong.append({"row": row, "name": name, "vocabulary": expected})
    return listed(wrong, len(vocabulary))


def _origin(bundle: _Bundle) -> Iterator[Check]:
    """Checks that the bundle names what its model was made from."""
    lacking = [{"key": key} for key in LINEAGE if not bundle.lineage.get(key)]
    found = listed(lacking, len(LINEAGE))
    description = "lineage.json names pin, policy version, parameters and model"
    yield no_violations("lineage_missing", description, found)

    found = listed(_other_model(bundle), 1)
    description = "model.onnx is the file whose checksum lineage.json gives"
    yield no_violations("model_differs", description, found)


def _other_model(bundle: _Bundle) -> list[dict[str, Any]]:
    """Returns both checksums of the model where they differ."""
    model = bundle.lineage.get("model")
    expected = model.get("onnx_sha256") if isinstance(model, dict) else None
    found = files.sha256(bundle.folder / "model.onnx")
    if found == expected:
        return []
    return [{"file": "model.onnx", "lineage.json": expected, "sha256": found}]
