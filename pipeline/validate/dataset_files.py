"""The files of every dataset: is each there, readable and of the declared form?

This is checked before anything is measured.
"""

import csv
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from e6tag import bundle
from pipeline import os_errors
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.evaluation import CURVES, PER_TAG, PREDICTIONS, SLICES
from pipeline.schemas.images import OUTCOMES, TAKEDOWNS
from pipeline.schemas.manifest import LEAKAGE, MANIFEST, OVERLAY, REJECTED
from pipeline.schemas.mining import LABEL_NOISE, PROPOSALS
from pipeline.schemas.sample import (
    ALIASES_IN_USE,
    ANOMALIES,
    CO_OCCURRENCE,
    EXCLUDED_POSTS,
    EXCLUDED_TAGS,
    MISSING_IMPLICATIONS,
    SAMPLED_POSTS,
    STRATEGIES,
    VOCABULARY,
)
from pipeline.schemas.shards import SHARDS
from pipeline.schemas.snapshot import (
    POSTS,
    RELATIONS,
    SNAPSHOT_REJECTED,
    TAGS,
    UNKNOWN_TAGS,
)

AS_DECLARED = "as declared"

PARQUET: dict[str, dict[str, pa.Schema]] = {
    "snapshot": {
        "posts": POSTS,
        "tags": TAGS,
        "aliases": RELATIONS,
        "implications": RELATIONS,
        "rejected": SNAPSHOT_REJECTED,
        "unknown_tags": UNKNOWN_TAGS,
    },
    "sample": {
        "vocabulary": VOCABULARY,
        "excluded_tags": EXCLUDED_TAGS,
        "posts": SAMPLED_POSTS,
        "excluded_posts": EXCLUDED_POSTS,
        "strategies": STRATEGIES,
        "missing_implications": MISSING_IMPLICATIONS,
        "aliases_in_use": ALIASES_IN_USE,
        "co_occurrence": CO_OCCURRENCE,
        "anomalies": ANOMALIES,
    },
    "images": {"outcomes": OUTCOMES, "takedowns": TAKEDOWNS},
    "manifest": {
        **dict.fromkeys(SPLITS, MANIFEST),
        "rejected": REJECTED,
        "overlay": OVERLAY,
        "leakage": LEAKAGE,
    },
    "shards": {"index": SHARDS, "rejected": REJECTED},
    "evaluation": {
        "per_tag": PER_TAG,
        "curves": CURVES,
        "predictions": PREDICTIONS,
        "slices": SLICES,
    },
    "mining": {"proposals": PROPOSALS, "label_noise": LABEL_NOISE},
    "bundle": {},
}
"""Parquet files of each dataset, by stem. The packs of images have no fixed number."""

OTHERS: dict[str, tuple[str, ...]] = {
    "evaluation": (
        "calibration.json",
        "headline.json",
        "metrics.json",
        "thresholds.json",
    ),
    "mining": ("proposals.csv",),
    "bundle": (
        *bundle.FILES,
        *(
            f"{folder}/{name}"
            for folder in bundle.FOLDERS
            for name in bundle.FOLDERS[folder]
        ),
    ),
}
"""All other files of a dataset that must be there and not empty."""

COMPARED_WITH: dict[str, tuple[str, ...]] = {
    "sample": ("snapshot",),
    "manifest": ("sample", "images", "snapshot"),
    "shards": ("manifest",),
    "evaluation": ("sample",),
    "mining": ("manifest", "sample"),
    "bundle": ("sample",),
}
"""Datasets that a gate compares with: their files must be readable too.

As in `dvc.yaml`, with one exception: of the snapshot, with which the manifest is
compared, only the pin is listed there. Every manifest carries the pin, so that a new
snapshot makes a new manifest, and the gate runs again.
"""

MISSING = "not there"


def folder(dataset: str, paths: Paths) -> Path:
    """Returns the folder of a dataset."""
    return Path(getattr(paths, dataset))


def states(dataset: str, paths: Paths) -> pl.DataFrame:
    """Returns a row per file of the dataset and of those it is compared with.

    Columns: file, and state ("as declared", or what is wrong).
    """
    found = _states_of_parquet_files(dataset, paths)
    place = folder(dataset, paths)
    for name in OTHERS.get(dataset, ()):
        found.append({"file": f"{dataset}/{name}", "state": _state(place / name)})
    for other in COMPARED_WITH.get(dataset, ()):
        found += _states_of_parquet_files(other, paths)
    return pl.DataFrame(found, schema={"file": pl.String, "state": pl.String})


def rows_by_stem(dataset: str, paths: Paths) -> dict[str, int]:
    """Returns the rows of each Parquet file of a dataset by stem, from the footers."""
    place = folder(dataset, paths)
    rows = {}
    for stem in PARQUET[dataset]:
        rows[stem] = pq.read_metadata(place / f"{stem}.parquet").num_rows
    return rows


def row_counts(dataset: str, paths: Paths) -> dict[str, int]:
    """Returns the rows of each Parquet file of a dataset by name of the file."""
    rows = rows_by_stem(dataset, paths)
    return {f"{stem}.parquet": count for stem, count in rows.items()}


def vocabulary_size(paths: Paths) -> int:
    """Returns the number of tags in the vocabulary; 0 before `sample` has run."""
    path = paths.sample / "vocabulary.parquet"
    if not path.exists():
        return 0
    return int(pq.read_metadata(path).num_rows)


def _states_of_parquet_files(dataset: str, paths: Paths) -> list[dict[str, str]]:
    place = folder(dataset, paths)
    found = []
    for stem, schema in PARQUET[dataset].items():
        path = place / f"{stem}.parquet"
        state = _parquet_state(path, schema)
        found.append({"file": f"{dataset}/{path.name}", "state": state})
    return found


def _parquet_state(path: Path, declared: pa.Schema) -> str:
    """Compares the schema of a Parquet file with the declared one."""
    try:
        found = pq.read_schema(path)
    except FileNotFoundError:
        return MISSING
    except (pa.ArrowInvalid, OSError) as error:
        os_errors.raise_for_machine(error, path)
        return _unreadable(error)
    missing = [name for name in declared.names if name not in found.names]
    extra = [name for name in found.names if name not in declared.names]
    wrong = [f"column {name} is missing" for name in missing]
    wrong += [f"column {name} is not declared" for name in extra]
    wrong += _differing_types(found, declared)
    return "; ".join(wrong) if wrong else AS_DECLARED


def _differing_types(found: pa.Schema, declared: pa.Schema) -> list[str]:
    wrong = []
    for field in declared:
        if field.name not in found.names:
            continue
        stored = found.field(field.name)
        if not stored.equals(field):
            types = f"{_type(stored)}, declared {_type(field)}"
            wrong.append(f"column {field.name} is {types}")
    return wrong


def _type(field: pa.Field) -> str:
    return str(field.type) if field.nullable else f"{field.type} not null"


def _state(path: Path) -> str:
    """Returns the state of a file that is not Parquet."""
    if not path.is_file():
        return MISSING
    if path.stat().st_size == 0:
        return "empty"
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".csv" and not _has_header(path):
            return "without a header"
    except (ValueError, csv.Error) as error:
        return _unreadable(error)
    return AS_DECLARED


def _has_header(path: Path) -> bool:
    with path.open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file), [])
    return bool(header)


def _unreadable(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"cannot be read: {text[:150]}"
