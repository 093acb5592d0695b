"""The files that `report` reads, checked before anything is drawn.

Guarantees  a file that is missing, damaged or of another format raises CorruptFile or
            BadInput, which name it.
"""

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

from pipeline import parquet
from pipeline.errors import BadInput
from pipeline.metrics.catalogue import HEADLINE
from pipeline.paths import DATASETS, SPLITS, Paths
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
from pipeline.schemas.snapshot import UNKNOWN_TAGS

BESIDE = ("micro_auc", "accuracy")
"""Metrics that are shown because readers expect them, as metrics.json names them."""

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inputs:
    """All tables and trees of the page, as their stages wrote them."""

    vocabulary: pl.DataFrame
    excluded_tags: pl.DataFrame
    excluded_posts: pl.DataFrame  # reason, len (posts)
    sampled: int  # posts
    strategies: pl.DataFrame
    missing_implications: pl.DataFrame
    aliases_in_use: pl.DataFrame
    co_occurrence: pl.DataFrame
    anomalies: pl.DataFrame
    outcomes: pl.DataFrame  # outcome, len (images)
    takedowns: pl.DataFrame  # snapshot, reason, len (images)
    unknown_tags: pl.DataFrame
    politeness: Tree  # by stage; empty if no site was contacted from this folder
    records: pl.DataFrame  # split, tags (how many), of every record of the manifest
    rejected: pl.DataFrame  # of manifest and shards together
    leakage: pl.DataFrame
    shards: pl.DataFrame
    training: Tree
    history: pl.DataFrame
    metrics: Tree
    per_tag: pl.DataFrame
    curves: pl.DataFrame
    lineage: Tree
    tags: int  # in selected_tags.csv
    verdicts: dict[str, Tree]


def read(paths: Paths) -> Inputs:
    """Reads everything but images and scores.

    Raises CorruptFile or BadInput, which name the first file with a problem.
    """
    return Inputs(
        **_sample(paths.sample),
        **_images(paths),
        **_records(paths),
        **_model(paths),
        **_evaluation(paths.evaluation),
        verdicts=_verdicts(paths),
    )


def _sample(folder: Path) -> dict[str, Any]:
    vocabulary = _table(folder / "vocabulary.parquet", VOCABULARY)
    sampled = _table(folder / "posts.parquet", SAMPLED_POSTS, ["split"])
    excluded_posts = _table(folder / "dropped.parquet", EXCLUDED_POSTS, ["reason"])
    missing = _table(folder / "lacking_implied.parquet", MISSING_IMPLICATIONS)
    aliases = _table(folder / "aliased_spellings.parquet", ALIASES_IN_USE)
    return {
        "vocabulary": vocabulary.sort("label_id"),
        "excluded_tags": _table(folder / "left_out.parquet", EXCLUDED_TAGS),
        "excluded_posts": _counts(excluded_posts, "reason"),
        "sampled": sampled.height,
        "strategies": _table(folder / "strategies.parquet", STRATEGIES),
        "missing_implications": missing,
        "aliases_in_use": aliases,
        "co_occurrence": _table(folder / "co_occurrence.parquet", CO_OCCURRENCE),
        "anomalies": _table(folder / "oddities.parquet", ANOMALIES),
    }


def _images(paths: Paths) -> dict[str, Any]:
    """Returns what harvest and download left, in the snapshot and with the images."""
    outcomes = _table(paths.images / "outcomes.parquet", OUTCOMES, ["outcome"])
    takedowns = _table(paths.images / "takedowns.parquet", TAKEDOWNS)
    politeness: Tree = {}
    unknown_tags = _table(paths.snapshot / "unknown_tags.parquet", UNKNOWN_TAGS)
    if paths.politeness.exists():
        politeness = _tree(paths.politeness)
    return {
        "outcomes": _counts(outcomes, "outcome"),
        "takedowns": _counts(takedowns, "snapshot", "reason"),
        "unknown_tags": unknown_tags,
        "politeness": politeness,
    }


def _counts(table: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Returns the number of rows (`len`) by some columns, sorted by them."""
    return table.group_by(*columns).len().sort(*columns)


def _records(paths: Paths) -> dict[str, Any]:
    """Returns the records of manifest and shards, and the posts that have none."""
    from_manifest = _table(paths.manifest / "rejected.parquet", REJECTED)
    from_shards = _table(paths.shards / "rejected.parquet", REJECTED)
    leakage = _table(paths.manifest / "leakage.parquet", LEAKAGE)
    shards = _table(paths.shards / "index.parquet", SHARDS)
    return {
        "records": _tags_per_record(paths.manifest),
        "rejected": pl.concat([from_manifest, from_shards]),
        "leakage": leakage.sort("distance"),
        "shards": shards.sort("shard"),
    }


def _tags_per_record(manifest: Path) -> pl.DataFrame:
    tags = pl.col("label_ids").list.len()
    frames = []
    for split in SPLITS:
        records = _table(manifest / f"{split}.parquet", MANIFEST, ["label_ids"])
        frames.append(records.select(split=pl.lit(split), tags=tags))
    return pl.concat(frames)


def _model(paths: Paths) -> dict[str, Any]:
    """Returns what training and export wrote beside the model."""
    needed = ("best_epoch", "epochs", "params", "parameters")
    recorded = ("pin", "policy_version", "parameters")
    return {
        "training": _tree(paths.model / "training.json", *needed),
        "history": _history(paths.model / "history.csv"),
        "lineage": _tree(paths.bundle / "lineage.json", *recorded),
        "tags": len(_csv(paths.bundle / "selected_tags.csv")),
    }


def _evaluation(folder: Path) -> dict[str, Any]:
    per_tag = _table(folder / "per_tag.parquet", PER_TAG)
    return {
        "metrics": _metrics(folder / "metrics.json"),
        "per_tag": per_tag.sort("label_id"),
        "curves": _table(folder / "curves.parquet", CURVES),
    }


def _verdicts(paths: Paths) -> dict[str, Tree]:
    keys = ("success", "rows", "expectations")
    return {name: _tree(paths.verdict(name), *keys) for name in DATASETS}


def test_records(paths: Paths) -> pl.DataFrame:
    """Returns every test record that was predicted, ordered by post_id.

    Columns: post_id, md5, pack, label_ids.
    """
    columns = ["post_id", "md5", "pack", "label_ids"]
    manifest = _table(paths.manifest / "test.parquet", MANIFEST, columns)
    path = paths.evaluation / "predictions.parquet"
    predictions = _table(path, PREDICTIONS, ["md5", "split"])
    predicted = predictions.filter(pl.col("split") == "test")
    return manifest.join(predicted, on="md5", how="semi").sort("post_id")


def scores(paths: Paths, md5s: list[str], tags: int) -> dict[str, list[float]]:
    """Returns the test scores of some images, by md5. tags: length of each list.

    The table is as large as records times tags: only the wanted rows stay in memory.
    """
    path = paths.evaluation / "predictions.parquet"
    is_wanted = (ds.field("split") == "test") & ds.field("md5").isin(md5s)
    try:
        predictions = ds.dataset(path, format="parquet")
        table = predictions.to_table(columns=["md5", "scores"], filter=is_wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error
    by_md5 = {}
    for row in table.to_pylist():
        if len(row["scores"]) != tags:
            raise BadInput(
                f"{path} gives {len(row['scores'])} scores for image {row['md5']}, "
                f"but there are {tags} tags. "
                "Delete data/evaluation and run dvc repro."
            )
        by_md5[row["md5"]] = row["scores"]
    return by_md5


def _table(
    path: Path, schema: pa.Schema, columns: list[str] | None = None
) -> pl.DataFrame:
    """Returns the columns of a table, all by default; a missing one is CorruptFile."""
    return parquet.read(path, columns=columns or list(schema.names))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise parquet.corrupt_file_error(path, error) from error


def _tree(path: Path, *keys: str) -> Tree:
    try:
        tree = json.loads(_text(path))
    except ValueError as error:
        raise parquet.corrupt_file_error(path, error) from error
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            raise BadInput(
                f"{path} has no {key}. Another version wrote it: delete it and run "
                "dvc repro."
            )
    return dict(tree)


def _metrics(path: Path) -> Tree:
    tree = _tree(path, "test")
    for name in (*HEADLINE, *BESIDE):
        if not _has_baseline(tree["test"].get(name)):
            raise BadInput(
                f"{path} does not give test.{name} as a number with its image-blind "
                "baseline, and no metric is shown without one. "
                "Delete data/evaluation and run dvc repro."
            )
    return tree


def _has_baseline(metric: object) -> bool:
    if not isinstance(metric, dict):
        return False
    return _is_number(metric.get("value")) and _is_number(metric.get("baseline"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_text(path))))


def _history(path: Path) -> pl.DataFrame:
    text = _text(path)
    try:
        frame = pl.read_csv(io.StringIO(text), null_values=[""])
        # A column of validation metrics is empty where there is no validation split.
        others = pl.all().exclude("epoch", "train_loss").cast(pl.Float64)
        return frame.select("epoch", "train_loss", others)
    except pl.exceptions.PolarsError as error:
        raise parquet.corrupt_file_error(path, error) from error
