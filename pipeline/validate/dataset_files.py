"""The files of every dataset: whether each is there, readable and of the declared form, before anything is judged."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.paths import SPLITS, Paths
from pipeline.schemas.evaluation import CURVES, PER_TAG, PREDICTIONS
from pipeline.schemas.images import OUTCOMES, TAKEDOWNS
from pipeline.schemas.manifest import LEAKAGE, MANIFEST, REJECTED
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
        "left_out": EXCLUDED_TAGS,
        "posts": SAMPLED_POSTS,
        "dropped": EXCLUDED_POSTS,
        "strategies": STRATEGIES,
        "lacking_implied": MISSING_IMPLICATIONS,
        "aliased_spellings": ALIASES_IN_USE,
        "co_occurrence": CO_OCCURRENCE,
        "oddities": ANOMALIES,
    },
    "images": {"outcomes": OUTCOMES, "takedowns": TAKEDOWNS},
    "manifest": {
        **dict.fromkeys(SPLITS, MANIFEST),
        "rejected": REJECTED,
        "leakage": LEAKAGE,
    },
    "shards": {"index": SHARDS, "rejected": REJECTED},
    "evaluation": {
        "per_tag": PER_TAG,
        "curves": CURVES,
        "predictions": PREDICTIONS,
    },
    "bundle": {},
}
"""Parquet files of each dataset, by stem. Packs, which hold the pictures, are as many as there need to be."""

OTHERS: dict[str, tuple[str, ...]] = {
    "evaluation": ("metrics.json", "thresholds.json"),
    "bundle": (
        "model.onnx",
        "selected_tags.csv",
        "thresholds.csv",
        "preprocessing.json",
        "model_card.md",
        "lineage.json",
    ),
}
"""All other files of a dataset that must be there and not empty."""

BESIDE: dict[str, tuple[str, ...]] = {
    "sample": ("snapshot",),
    "manifest": ("sample", "images", "snapshot"),
    "shards": ("manifest",),
    "evaluation": ("sample",),
    "bundle": ("sample",),
}
"""Datasets that a gate compares with: their files must be readable too. As in `dvc.yaml`, but that of the
snapshot beside the manifest only the pin is listed there: every manifest carries it, and so is judged anew with it."""

_STARTS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF....WEBP",
    "AVIF": rb"....ftypavif",
}
_INSIDE = {
    "JPEG": rb"\xff\xd8\xff(\xe0..JFIF|\xe1..Exif)\0",
    "PNG": rb"\x89PNG\r\n\x1a\n....IHDR",
    "GIF": rb"GIF8[79]a.{6,8}[\0-\x0f]\0!\xff\x0bNETSCAPE",
    "WebP": rb"RIFF....WEBPVP8[ LX]",
    "picture as text": rb"data:image/(jpeg|jpg|png|gif|webp|avif)",
}
"""Marks found anywhere are longer than those of a file's first bytes: weights are noise, and hold every short one."""

_PIECE = 1 << 20  # bytes read at once while looking for pictures
_OVERLAP = 64  # bytes; longer than any mark, so that none is cut in two


def folder(dataset: str, paths: Paths) -> Path:
    """Returns where a dataset lives."""
    return Path(getattr(paths, dataset))


def states(dataset: str, paths: Paths) -> pl.DataFrame:
    """Returns a row per file of the dataset and of those beside it: file, state ("as declared", or what is wrong)."""
    found = []
    for name in (dataset, *BESIDE.get(dataset, ())):
        place = folder(name, paths)
        for stem, schema in PARQUET[name].items():
            path = place / f"{stem}.parquet"
            found.append(
                {"file": f"{name}/{path.name}", "state": _parquet_state(path, schema)}
            )
        if name == dataset:
            found += [
                {"file": f"{name}/{one}", "state": _state(place / one)}
                for one in OTHERS.get(name, ())
            ]
    return pl.DataFrame(found, schema={"file": pl.String, "state": pl.String})


def row_counts(dataset: str, paths: Paths) -> dict[str, int]:
    """Returns the rows of each Parquet file of a dataset, from the footers."""
    place = folder(dataset, paths)
    return {
        f"{stem}.parquet": pq.read_metadata(place / f"{stem}.parquet").num_rows
        for stem in PARQUET[dataset]
    }


def vocabulary_size(paths: Paths) -> int:
    """Returns the number of tags in the vocabulary; 0 while there is none yet, as before `sample`."""
    path = paths.sample / "vocabulary.parquet"
    return pq.read_metadata(path).num_rows if path.exists() else 0


def pictures(place: Path) -> Iterator[tuple[Path, str]]:
    """Yields every file of a folder that is a picture or holds one, with what it is."""
    for path in sorted(place.rglob("*")):
        if path.is_file() and (kind := _picture_in(path)):
            yield path, kind


def _parquet_state(path: Path, schema: pa.Schema) -> str:
    try:
        found = pq.read_schema(path)
    except FileNotFoundError:
        return "not there"
    except (pa.ArrowInvalid, OSError) as error:
        return f"cannot be read: {' '.join(str(error).split())[:150]}"
    wrong = [
        f"column {name} is missing" for name in schema.names if name not in found.names
    ]
    wrong += [
        f"column {name} is not declared"
        for name in found.names
        if name not in schema.names
    ]
    for field in schema:
        if field.name in found.names and not found.field(field.name).equals(field):
            wrong.append(
                f"column {field.name} is {_type(found.field(field.name))}, declared {_type(field)}"
            )
    return "; ".join(wrong) if wrong else AS_DECLARED


def _type(field: pa.Field) -> str:
    return f"{field.type}{'' if field.nullable else ' not null'}"


def _state(path: Path) -> str:
    if not path.is_file():
        return "not there"
    if path.stat().st_size == 0:
        return "empty"
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                if not next(csv.reader(file), []):
                    return "without a header"
    except (ValueError, csv.Error) as error:
        return f"cannot be read: {' '.join(str(error).split())[:150]}"
    return AS_DECLARED


def _picture_in(path: Path) -> str | None:
    """Returns the kind of picture that a file is or holds."""
    tail = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            if not tail:
                for kind, start in _STARTS.items():
                    if re.match(start, piece, re.DOTALL):
                        return kind
            window = tail + piece
            for kind, mark in _INSIDE.items():
                if re.search(mark, window, re.DOTALL):
                    return f"{kind} inside"
            tail = window[-_OVERLAP:]
    return None
