"""What the page is made from.

Every file that `report` reads, checked before anything is drawn.

Guarantees  a file that is missing, damaged or of another form raises CorruptFile or
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

HEADLINE = ("macro_map", "macro_auc", "macro_f1")
"""The metrics that count, as metrics.json names them."""

BESIDE = ("micro_auc", "accuracy")
"""Metrics that are shown because everybody asks for them."""

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inputs:
    """All tables and trees of the page, as their stages wrote them."""

    vocabulary: pl.DataFrame
    left_out: pl.DataFrame
    dropped: pl.DataFrame  # reason, posts
    sampled: int  # posts
    strategies: pl.DataFrame
    lacking_implied: pl.DataFrame
    aliased_spellings: pl.DataFrame
    co_occurrence: pl.DataFrame
    oddities: pl.DataFrame
    outcomes: pl.DataFrame  # outcome, pictures
    takedowns: pl.DataFrame  # snapshot, reason, len (pictures)
    unknown_tags: pl.DataFrame
    politeness: Tree  # by stage; empty where nothing has been asked of a site from here
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
    """Reads everything but pictures and scores.

    Raises BadInput naming the first file that is not what it should be.
    """
    evaluation = paths.evaluation
    rejected = [
        _table(folder / "rejected.parquet", REJECTED)
        for folder in (paths.manifest, paths.shards)
    ]
    return Inputs(
        vocabulary=_table(paths.sample / "vocabulary.parquet",
        VOCABULARY).sort("label_id"),
        left_out=_table(paths.sample / "left_out.parquet", EXCLUDED_TAGS),
        dropped=_counts(paths.sample / "dropped.parquet", "reason"),
        sampled=_table(paths.sample / "posts.parquet", SAMPLED_POSTS, ["split"]).height,
        strategies=_table(paths.sample / "strategies.parquet", STRATEGIES),
        lacking_implied=_table(paths.sample / "lacking_implied.parquet",
        MISSING_IMPLICATIONS),
        aliased_spellings=_table(paths.sample / "aliased_spellings.parquet",
        ALIASES_IN_USE),
        co_occurrence=_table(paths.sample / "co_occurrence.parquet", CO_OCCURRENCE),
        oddities=_table(paths.sample / "oddities.parquet", ANOMALIES),
        outcomes=_counts(paths.images / "outcomes.parquet", "outcome"),
        takedowns=_takedowns(paths.images / "takedowns.parquet"),
        unknown_tags=_table(paths.snapshot / "unknown_tags.parquet", UNKNOWN_TAGS),
        politeness=_tree(paths.politeness) if paths.politeness.exists() else {},
        records=_records(paths),
        rejected=pl.concat(rejected),
        leakage=_table(paths.manifest / "leakage.parquet", LEAKAGE).sort("distance"),
        shards=_table(paths.shards / "index.parquet", SHARDS).sort("shard"),
        training=_tree(paths.model / "training.json", "best_epoch", "epochs", "params",
        "parameters"),
        history=_history(paths.model / "history.csv"),
        metrics=_metrics(evaluation / "metrics.json"),
        per_tag=_table(evaluation / "per_tag.parquet", PER_TAG).sort("label_id"),
        curves=_table(evaluation / "curves.parquet", CURVES),
        lineage=_tree(paths.bundle / "lineage.json", "pin", "policy_version",
        "parameters"),
        tags=len(_csv(paths.bundle / "selected_tags.csv")),
        verdicts={
            name: _tree(paths.verdict(name), "success", "rows",
            "expectations") for name in DATASETS
        },
    )  # fmt: skip


def test_records(paths: Paths) -> pl.DataFrame:
    """Returns md5, post_id, pack and label_ids of every test record that was predicted, in order of post_id."""
    manifest = _table(
        paths.manifest / "test.parquet",
        MANIFEST,
        ["post_id", "md5", "pack", "label_ids"],
    )
    predicted = _table(
        paths.evaluation / "predictions.parquet", PREDICTIONS, ["md5", "split"]
    )
    return manifest.join(
        predicted.filter(pl.col("split") == "test"), on="md5", how="semi"
    ).sort("post_id")


def scores(paths: Paths, md5s: list[str], tags: int) -> dict[str, list[float]]:
    """Returns the test scores of some pictures.

    Of a table as large as records times tags only these rows are kept.
    """
    path = paths.evaluation / "predictions.parquet"
    wanted = (ds.field("split") == "test") & ds.field("md5").isin(md5s)
    try:
        rows = (
            ds.dataset(path, format="parquet")
            .to_table(columns=["md5", "scores"], filter=wanted)
            .to_pylist()
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error
    for row in rows:
        if len(row["scores"]) != tags:
            raise BadInput(
                f"{path} gives {len(row['scores'])} scores for picture {row['md5']}, "
                f"and there are {tags} tags. "
                "Delete data/evaluation and run dvc repro."
            )
    return {row["md5"]: row["scores"] for row in rows}


def _table(
    path: Path, schema: pa.Schema, columns: list[str] | None = None
) -> pl.DataFrame:
    return parquet.read(
        path, columns=columns or list(schema.names)
    )  # a column that lacks is CorruptFile


def _counts(path: Path, column: str) -> pl.DataFrame:
    schema = EXCLUDED_POSTS if column == "reason" else OUTCOMES
    return _table(path, schema, [column]).group_by(column).len().sort(column)


def _takedowns(path: Path) -> pl.DataFrame:
    return (
        _table(path, TAKEDOWNS)
        .group_by("snapshot", "reason")
        .len()
        .sort("snapshot", "reason")
    )


def _records(paths: Paths) -> pl.DataFrame:
    frames = [
        _table(paths.manifest / f"{split}.parquet", MANIFEST, ["label_ids"]).select(
            split=pl.lit(split), tags=pl.col("label_ids").list.len()
        )
        for split in SPLITS
    ]
    return pl.concat(frames)


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
    if missing := [key for key in keys if not (isinstance(tree, dict) and key in tree)]:
        raise BadInput(
            f"{path} does not say {missing[0]}. Another version wrote it: delete it "
            "and run dvc repro."
        )
    return dict(tree)


def _metrics(path: Path) -> Tree:
    tree = _tree(path, "test")
    for name in (*HEADLINE, *BESIDE):
        metric = tree["test"].get(name)
        if not (
            isinstance(metric, dict)
            and all(_is_number(metric.get(key)) for key in ("value", "baseline"))
        ):
            raise BadInput(
                f"{path} does not give test.{name} as a number with its image-blind "
                "baseline. "
                "Nothing is shown without one: delete data/evaluation and run dvc "
                "repro."
            )
    return tree


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_text(path))))


def _history(path: Path) -> pl.DataFrame:
    text = _text(path)
    try:
        frame = pl.read_csv(io.StringIO(text), null_values=[""])
        return frame.select(
            "epoch",
            "train_loss",
            pl.all().exclude("epoch", "train_loss").cast(pl.Float64),
        )
    except pl.exceptions.PolarsError as error:
        raise parquet.corrupt_file_error(path, error) from error
