"""Measures shards, evaluation and bundle: what was made from the tables of posts."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline import parquet
from pipeline.params import Params
from pipeline.paths import SPLITS, Paths
from pipeline.validate import dataset_files, shard_records
from pipeline.validate.measurements import (
    Measurements,
    Violations,
    duplicates,
    violations,
)
from pipeline.validate.tables import JUDGED, positives, with_counts

AUC_TOLERANCE = 1e-4  # the AUC of float32 scores summed in another order
TAGS_AT_ONCE = 64  # columns of scores ranked at once: 64 x 100,000 ranks are 50 MB
HEADLINE = ("macro_auc", "macro_map", "macro_f1")
"""Metrics on test that must beat the image-blind baseline. Accuracy says too little to be one (design section 1)."""


def shards(params: Params, paths: Paths) -> Measurements:  # noqa: ARG001
    """Measures data/shards against data/manifest."""
    index = parquet.read(paths.shards / "index.parquet")
    rejected = parquet.read(
        paths.shards / "rejected.parquet", columns=["post_id", "md5", "split"]
    )
    manifest = pl.concat(
        pl.scan_parquet(paths.manifest / f"{split}.parquet") for split in SPLITS
    )
    identities = manifest.select("post_id", "md5", "split").collect(engine="streaming")
    on_disk, held = _on_disk(paths.shards, index)
    wanted = identities.join(rejected, on="post_id", how="anti")
    listed = pl.DataFrame(
        {"shard": sorted(path.name for path in paths.shards.glob("*.tfrecord"))},
        schema={"shard": pl.String},
    )
    findings = {
        "unlisted_shard": violations(
            listed.join(index, on="shard", how="anti"), listed.height
        ),
        "not_in_manifest": violations(
            held.join(identities, on=["post_id", "md5", "split"], how="anti"),
            held.height,
        ),
        "lost_record": violations(
            wanted.join(held, on="post_id", how="anti"), wanted.height
        ),
        "record_twice": duplicates(held.lazy(), "post_id", "shard", held.height),
    }
    return Measurements(
        findings,
        {
            "shards": on_disk,
            "splits": _totals(index, rejected, identities),
            "tags": _label_counts(
                index, manifest.join(rejected.lazy(), on="post_id", how="anti"), paths
            ),
        },
    )


def evaluation(params: Params, paths: Paths) -> Measurements:  # noqa: ARG001
    """Measures data/evaluation against data/sample."""
    vocabulary = parquet.read(
        paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
    )
    per_tag = parquet.read(paths.evaluation / "per_tag.parquet")
    test = (
        pl.scan_parquet(paths.evaluation / "predictions.parquet")
        .filter(pl.col("split") == "test")
        .select("label_ids", "scores")
        .collect(engine="streaming")
    )
    metrics = read_metrics(paths.evaluation / "metrics.json")
    undefined = metrics.filter(
        (pl.col("split") == "test")
        & (pl.col("value").is_null() | pl.col("baseline").is_null())
    )
    findings = {
        **_predicted(paths),
        "tag_missing": violations(
            _unlisted_tags(vocabulary, per_tag), vocabulary.height
        ),
        "auc_differs": violations(
            _differing_aucs(per_tag, test, vocabulary.height), per_tag.height
        ),
        "metric_undefined": violations(undefined, metrics.height),
    }
    headline = (pl.col("split") == "test") & pl.col("metric").is_in(HEADLINE)
    reported = metrics.filter(headline & (pl.col("metric") == "macro_auc"))[
        "value"
    ].to_list()
    mean = pl.Series(per_tag["auc"]).mean()
    known = isinstance(mean, float) and reported and reported[0] is not None
    figures = {
        "test_records": test.height,
        "headline_metrics": metrics.filter(headline).height,
        "macro_auc_gap": abs(reported[0] - mean) if known else 1.0,
    }
    tables = {
        "figures": pl.DataFrame([figures]),
        "metrics": metrics,
        "headline": metrics.filter(headline),
        "others": metrics.filter(~headline),
    }
    return Measurements(findings, tables)


def bundle(params: Params, paths: Paths) -> Measurements:  # noqa: ARG001
    """Measures data/bundle against data/sample."""
    vocabulary = parquet.read(
        paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
    )
    found = [path for path in sorted(paths.bundle.rglob("*")) if path.is_file()]
    names = [str(path.relative_to(paths.bundle)) for path in found]
    expected = dataset_files.OTHERS["bundle"]
    held = {
        str(path.relative_to(paths.bundle)): kind
        for path, kind in dataset_files.pictures(paths.bundle)
    }
    lineage = json.loads((paths.bundle / "lineage.json").read_text(encoding="utf-8"))
    lineage = lineage if isinstance(lineage, dict) else {}
    lacking = [{"key": key} for key in LINEAGE if not lineage.get(key)]
    return Measurements({
        "picture": _listed([{"file": file, "picture": kind} for file, kind in held.items()], len(found)),
        "unexpected_file": _listed([{"file": name} for name in names if name not in expected], len(found)),
        "tag_differs": _tags_of_csv(paths.bundle / "selected_tags.csv", vocabulary),
        "threshold_missing": _thresholds_of_csv(paths.bundle / "thresholds.csv", vocabulary),
        "lineage_missing": _listed(lacking, len(LINEAGE)),
        "model_differs": _listed(_other_model(paths, lineage.get("model")), 1),
    })  # fmt: skip


LINEAGE = ("pin", "policy_version", "parameters", "model")
"""Keys of lineage.json without which nobody can say what a model was trained on."""


def _other_model(paths: Paths, model: Any) -> list[dict[str, Any]]:
    """Returns the checksums of lineage.json and of the file where they are not the same."""
    said = model.get("onnx_sha256") if isinstance(model, dict) else None
    found = _sha256(paths.bundle / "model.onnx")
    return (
        []
        if said == found
        else [{"file": "model.onnx", "lineage.json": said, "sha256": found}]
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_metrics(path: Path) -> pl.DataFrame:
    """Returns split, metric, value and baseline of every metric; null where one is missing or no number."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    found = [
        {
            "split": split,
            "metric": name,
            "value": _number(metric, "value"),
            "baseline": _number(metric, "baseline"),
        }
        for split, metrics in sorted(tree.items() if isinstance(tree, dict) else [])
        if split in SPLITS and isinstance(metrics, dict)
        for name, metric in sorted(metrics.items())
    ]
    return pl.DataFrame(
        found,
        schema={
            "split": pl.String,
            "metric": pl.String,
            "value": pl.Float64,
            "baseline": pl.Float64,
        },
    )


def _number(metric: Any, key: str) -> float | None:
    value = metric.get(key) if isinstance(metric, dict) else None
    return (
        float(value)
        if isinstance(value, int | float) and math.isfinite(value)
        else None
    )


def _listed(rows: list[dict[str, Any]], checked: int) -> Violations:
    return Violations(checked, len(rows), rows[:20])


def _on_disk(folder: Path, index: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the index with what each file really holds beside it, and shard, split, post_id, md5 of all records."""
    facts, held = [], []
    for shard, split in index.select("shard", "split").iter_rows():
        path = folder / shard
        posts: list[tuple[int, str]] = []
        digest, size, count = "not there", 0, 0
        if path.is_file():
            digest = _sha256(path)
            size = path.stat().st_size
            try:
                posts = list(shard_records.identities(path))
                count = len(posts)
            except shard_records.Damaged:
                count = (
                    -1
                )  # never what the index says, so that the gate shows the shard
        facts.append(
            {
                "sha256_on_disk": digest,
                "bytes_on_disk": size,
                "records_on_disk": count,
                "split_of_name": shard.partition("-")[0],
            }
        )
        held += [
            {"shard": shard, "split": split, "post_id": post_id, "md5": md5}
            for post_id, md5 in posts
        ]
    schema = {
        "sha256_on_disk": pl.String,
        "bytes_on_disk": pl.Int64,
        "records_on_disk": pl.Int64,
        "split_of_name": pl.String,
    }
    beside = index.drop("label_counts").hstack(pl.DataFrame(facts, schema=schema))
    return beside, pl.DataFrame(
        held,
        schema={
            "shard": pl.String,
            "split": pl.String,
            "post_id": pl.Int64,
            "md5": pl.String,
        },
    )


def _totals(
    index: pl.DataFrame, rejected: pl.DataFrame, identities: pl.DataFrame
) -> pl.DataFrame:
    """Returns a row per split: what the shards hold and reject beside what the manifest has."""
    counts = []
    for split in SPLITS:
        of_split = pl.col("split") == split
        held = (
            int(index.filter(of_split)["records"].sum())
            + rejected.filter(of_split).height
        )
        counts.append(
            {
                "split": split,
                "records_and_rejected": held,
                "manifest_records": identities.filter(of_split).height,
            }
        )
    return pl.DataFrame(counts)


def _label_counts(
    index: pl.DataFrame, kept: pl.LazyFrame, paths: Paths
) -> pl.DataFrame:
    """Returns a row per tag: its records by the index of the shards, and by the manifest."""
    vocabulary = parquet.read(
        paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
    )
    each = index.select(
        "split",
        "label_counts",
        label_id=pl.int_ranges(0, pl.col("label_counts").list.len()),
    ).explode("label_counts", "label_id")
    summed = each.group_by(pl.col("label_id").cast(pl.Int32)).agg(
        pl.col("label_counts").filter(pl.col("split") == split).sum().alias(split)
        for split in JUDGED
    )
    beside = positives(kept).rename({split: f"manifest_{split}" for split in JUDGED})
    return with_counts(vocabulary.join(summed, on="label_id", how="left"), beside)


def _predicted(paths: Paths) -> dict[str, Violations]:
    """Checks the identity of every prediction against the sample."""
    predictions = pl.scan_parquet(paths.evaluation / "predictions.parquet")
    rows = dataset_files.row_counts("evaluation", paths)["predictions.parquet"]
    same = ["post_id", "md5", "split", "label_ids"]
    posts = pl.scan_parquet(paths.sample / "posts.parquet").select(same)
    return {
        "prediction_twice": duplicates(predictions, "post_id", "split", rows),
        "not_in_sample": violations(
            predictions.select(same).join(posts, on=same, how="anti"), rows
        ),
    }


def _unlisted_tags(vocabulary: pl.DataFrame, per_tag: pl.DataFrame) -> pl.DataFrame:
    """Returns the tags of the vocabulary that do not stand in the row of their label id."""
    numbered = per_tag.with_row_index("row").filter(pl.col("row") == pl.col("label_id"))
    return vocabulary.join(numbered, on=["label_id", "name"], how="anti")


def _differing_aucs(
    per_tag: pl.DataFrame, test: pl.DataFrame, tags: int
) -> pl.DataFrame:
    found = pl.DataFrame(
        {"label_id": range(tags), "worked_out": _aucs(test, tags)},
        schema_overrides=_AUCS,
    )
    beside = per_tag.select("label_id", "name", "auc").join(found, on="label_id")
    return beside.filter((pl.col("auc") - pl.col("worked_out")).abs() > AUC_TOLERANCE)


_AUCS = {"label_id": pl.Int32, "worked_out": pl.Float64}


def _aucs(test: pl.DataFrame, tags: int) -> list[float | None]:
    """Returns each tag's area under the ROC curve by ranks (Mann-Whitney), ties shared; None without both classes."""
    if test.is_empty() or not bool((test["scores"].list.len() == tags).all()):
        return [None] * tags
    scores = test["scores"].explode().to_numpy().reshape(test.height, tags)
    truth = np.zeros(scores.shape, dtype=bool)
    at = (
        test.with_row_index("row")
        .select("row", "label_ids")
        .explode("label_ids")
        .drop_nulls()
        .filter(pl.col("label_ids").is_between(0, tags - 1))
    )
    truth[at["row"].to_numpy(), at["label_ids"].to_numpy()] = True
    found: list[float | None] = []
    for start in range(0, tags, TAGS_AT_ONCE):
        found += _ranked(
            scores[:, start : start + TAGS_AT_ONCE],
            truth[:, start : start + TAGS_AT_ONCE],
        )
    return found


def _ranked(
    scores: NDArray[np.float32], truth: NDArray[np.bool_]
) -> list[float | None]:
    ranks = pl.DataFrame(scores).select(pl.all().rank("average")).to_numpy()
    yes = truth.sum(axis=0)
    no = len(truth) - yes
    above = np.where(truth, ranks, 0.0).sum(axis=0) - yes * (yes + 1) / 2
    return [
        float(a / (y * n)) if y and n else None
        for a, y, n in zip(above, yes, no, strict=True)
    ]


def _tags_of_csv(path: Path, vocabulary: pl.DataFrame) -> Violations:
    table = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=True)
    names = table["name"].to_list() if "name" in table.columns else []
    wanted = vocabulary["name"].to_list()
    pairs = [
        {"row": i, "name": have, "vocabulary": want}
        for i, (have, want) in enumerate(_both(names, wanted))
        if have != want
    ]
    return _listed(pairs, len(wanted))


def _thresholds_of_csv(path: Path, vocabulary: pl.DataFrame) -> Violations:
    table = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=True)
    if not {"name", "threshold"} <= set(table.columns):
        return _listed(
            [{"file": path.name, "columns": ", ".join(table.columns)}],
            vocabulary.height,
        )
    values = table["threshold"].cast(pl.Float64, strict=False).to_list()
    named = [
        (name, value)
        for name, value in zip(table["name"], values, strict=True)
        if value is not None and 0 <= value <= 1
    ]
    wanted = [(name, None) for name in vocabulary["name"]]
    pairs = [
        {"row": i, "name": have and have[0], "vocabulary": want and want[0]}
        for i, (have, want) in enumerate(_both(named, wanted))
        if not have or not want or have[0] != want[0]
    ]
    return _listed(pairs, vocabulary.height)


def _both(some: list[Any], others: list[Any]) -> list[tuple[Any, Any]]:
    length = max(len(some), len(others))
    return list(
        zip(
            some + [None] * (length - len(some)),
            others + [None] * (length - len(others)),
            strict=True,
        )
    )
