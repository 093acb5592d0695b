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

from e6tag import bundle
from pipeline import ablation_results, parquet
from pipeline.ablation_results import Result
from pipeline.errors import BadInput
from pipeline.metrics.catalogue import HEADLINE
from pipeline.paths import DATASETS, SPLITS, Paths
from pipeline.schemas.evaluation import CURVES, PER_TAG
from pipeline.schemas.images import OUTCOMES, TAKEDOWNS
from pipeline.schemas.manifest import LEAKAGE, MANIFEST, OVERLAY, REJECTED
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

RECORD_COLUMNS = ("group_id", "created_at", "format", "width", "height", "bytes")
"""What the page needs of a record, besides `split` and `tags`, the number of them."""

SLICE_COLUMNS = (
    "split",
    "slice",
    "value",
    "position",
    "records",
    "tags",
    "positives",
    "macro_map",
    "macro_map_baseline",
    "macro_map_low",
    "macro_map_high",
    "macro_auc",
    "micro_f1",
    "micro_f1_baseline",
    "absent",
)

PROPOSAL_COLUMNS = (
    "post_id",
    "tag",
    "kind",
    "probability",
    "score",
    "uncertainty",
    "lift",
    "url",
)

NOISE_COLUMNS = (
    "name",
    "positives",
    "missing_share",
    "missing_low",
    "missing_high",
    "wrong_share",
    "absent",
)

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mining:
    """The queue of labels to look at.

    proposals: PROPOSAL_COLUMNS, by falling probability. label_noise: NOISE_COLUMNS.
    """

    proposals: pl.DataFrame
    label_noise: pl.DataFrame


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
    records: pl.DataFrame  # RECORD_COLUMNS, of every record of the manifest
    rejected: pl.DataFrame  # of manifest and shards together
    overlay: pl.DataFrame  # outcome, len (rows of data/overlay.csv)
    leakage: pl.DataFrame
    shards: pl.DataFrame
    training: Tree
    history: pl.DataFrame
    metrics: Tree
    per_tag: pl.DataFrame
    curves: pl.DataFrame
    lineage: Tree
    tags: int  # in thresholds.csv
    verdicts: dict[str, Tree]
    ablation: list[Result]  # of the site that the snapshot is from; may be empty
    slices: pl.DataFrame | None  # None where evaluate wrote none
    mining: Mining | None  # None where no queue was made
    resources: Tree  # by stage; empty where no run was measured


def read(paths: Paths) -> Inputs:
    """Reads everything but images and scores.

    Raises CorruptFile or BadInput, which name the first file with a problem.
    """
    model = _model(paths)
    return Inputs(
        **_sample(paths.sample),
        **_images(paths),
        **_records(paths),
        **model,
        **_evaluation(paths.evaluation),
        verdicts=_verdicts(paths),
        ablation=_ablation(paths, model["lineage"]),
        slices=_slices(paths.evaluation / "slices.parquet"),
        mining=_mining(paths.mining),
        resources=_optional_tree(paths.resources),
    )


def _sample(folder: Path) -> dict[str, Any]:
    vocabulary = _table(folder / "vocabulary.parquet", VOCABULARY)
    sampled = _table(folder / "posts.parquet", SAMPLED_POSTS, ["split"])
    excluded_posts = _table(
        folder / "excluded_posts.parquet", EXCLUDED_POSTS, ["reason"]
    )
    missing = _table(folder / "missing_implications.parquet", MISSING_IMPLICATIONS)
    aliases = _table(folder / "aliases_in_use.parquet", ALIASES_IN_USE)
    return {
        "vocabulary": vocabulary.sort("label_id"),
        "excluded_tags": _table(folder / "excluded_tags.parquet", EXCLUDED_TAGS),
        "excluded_posts": _counts(excluded_posts, "reason"),
        "sampled": sampled.height,
        "strategies": _table(folder / "strategies.parquet", STRATEGIES),
        "missing_implications": missing,
        "aliases_in_use": aliases,
        "co_occurrence": _table(folder / "co_occurrence.parquet", CO_OCCURRENCE),
        "anomalies": _table(folder / "anomalies.parquet", ANOMALIES),
    }


def _images(paths: Paths) -> dict[str, Any]:
    """Returns what harvest and download left, in the snapshot and with the images."""
    outcomes = _table(paths.images / "outcomes.parquet", OUTCOMES, ["outcome"])
    takedowns = _table(paths.images / "takedowns.parquet", TAKEDOWNS)
    unknown_tags = _table(paths.snapshot / "unknown_tags.parquet", UNKNOWN_TAGS)
    return {
        "outcomes": _counts(outcomes, "outcome"),
        "takedowns": _counts(takedowns, "snapshot", "reason"),
        "unknown_tags": unknown_tags,
        "politeness": _optional_tree(paths.politeness),
    }


def _counts(table: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Returns the number of rows (`len`) by some columns, sorted by them."""
    return table.group_by(*columns).len().sort(*columns)


def _records(paths: Paths) -> dict[str, Any]:
    """Returns the records of manifest and shards, and the posts that have none."""
    from_manifest = _table(paths.manifest / "rejected.parquet", REJECTED)
    from_shards = _table(paths.shards / "rejected.parquet", REJECTED)
    overlay = _table(paths.manifest / "overlay.parquet", OVERLAY, ["outcome"])
    leakage = _table(paths.manifest / "leakage.parquet", LEAKAGE)
    shards = _table(paths.shards / "index.parquet", SHARDS)
    return {
        "records": _manifest_records(paths.manifest),
        "rejected": pl.concat([from_manifest, from_shards]),
        "overlay": _counts(overlay, "outcome"),
        "leakage": leakage.sort("distance"),
        "shards": shards.sort("shard"),
    }


def _manifest_records(manifest: Path) -> pl.DataFrame:
    tags = pl.col("label_ids").list.len()
    columns = ["label_ids", *RECORD_COLUMNS]
    frames = []
    for split in SPLITS:
        records = _table(manifest / f"{split}.parquet", MANIFEST, columns)
        frames.append(records.select(*RECORD_COLUMNS, split=pl.lit(split), tags=tags))
    return pl.concat(frames)


def _model(paths: Paths) -> dict[str, Any]:
    """Returns what training and export wrote beside the model."""
    needed = ("best_epoch", "epochs", "params", "parameters")
    recorded = ("pin", "policy_version", "parameters")
    return {
        "training": _tree(paths.model / "training.json", *needed),
        "history": _history(paths.model / "history.csv"),
        "lineage": _tree(paths.bundle / bundle.LINEAGE, *recorded),
        "tags": len(_csv(paths.bundle / bundle.TAGS)),
    }


def _evaluation(folder: Path) -> dict[str, Any]:
    per_tag = _table(folder / "per_tag.parquet", PER_TAG)
    return {
        "metrics": _metrics(folder / "metrics.json"),
        "per_tag": per_tag.sort("label_id"),
        "curves": _table(folder / "curves.parquet", CURVES),
    }


def _ablation(paths: Paths, lineage: Tree) -> list[Result]:
    """Returns the runs on the site that the lineage names; none where it names none."""
    site = lineage["pin"].get("site")
    if site is None:
        return []
    return ablation_results.read(ablation_results.file(paths.ablation, site))


def _verdicts(paths: Paths) -> dict[str, Tree]:
    keys = ("success", "rows", "expectations")
    return {name: _tree(paths.verdict(name), *keys) for name in DATASETS}


def _slices(path: Path) -> pl.DataFrame | None:
    if not path.exists():
        return None
    return parquet.read(path, columns=list(SLICE_COLUMNS))


def _mining(folder: Path) -> Mining | None:
    if not folder.exists():
        return None
    proposals = folder / "proposals.parquet"
    label_noise = folder / "label_noise.parquet"
    return Mining(
        proposals=parquet.read(proposals, columns=list(PROPOSAL_COLUMNS)),
        label_noise=parquet.read(label_noise, columns=list(NOISE_COLUMNS)),
    )


def _optional_tree(path: Path) -> Tree:
    """Returns what a file says that no stage depends on; {} where it is not there."""
    return _tree(path) if path.exists() else {}


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
    tree = _tree(path, "splits", "originals")
    test = tree["splits"].get("test", {})
    for name in (*HEADLINE, *BESIDE):
        if not _has_baseline(test.get(name)):
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
