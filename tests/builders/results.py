"""Small but complete shards, evaluation and bundle of the hand-written datasets."""

import hashlib

from pipeline import files, parquet
from pipeline.paths import Paths
from pipeline.schemas.evaluation import CURVES, PER_TAG, PREDICTIONS
from pipeline.schemas.manifest import REJECTED
from pipeline.schemas.shards import SHARDS
from pipeline.shard import tfrecord
from tests.builders.posts import (
    LINEAGE,
    NOT_FETCHED,
    SHARES,
    TAGS,
    Row,
    ids_of_split,
    labels_of,
    md5,
    positives,
    split_of,
)

BROKEN = 15
"""The post whose image cannot be decoded, so that it is in no shard."""

METRICS = ("macro_auc", "macro_map", "macro_f1", "micro_auc", "accuracy")

HALVES = ("prevalence", "baseline_average_precision", "baseline_accuracy", "threshold")
"""Columns of per_tag.parquet that are 0.5."""


def write_shards(paths: Paths) -> None:
    """Writes data/shards: two per split but `fresh`, and one record rejected."""
    paths.shards.mkdir(parents=True, exist_ok=True)
    index = []
    for split in SHARES:
        index.append(_write_shard(paths, split, 0))
        index.append(_write_shard(paths, split, 1))
    rejected = {
        "post_id": BROKEN,
        "md5": md5(BROKEN),
        "split": "train",
        "reason": "broken_picture",
        "detail": None,
    }
    parquet.write(paths.shards / "index.parquet", index, SHARDS, order_by="shard")
    parquet.write(paths.shards / "rejected.parquet", [rejected], REJECTED)


def _write_shard(paths: Paths, split: str, number: int) -> Row:
    """Writes a shard; returns its row of the index."""
    stored = set(ids_of_split(split)) - {BROKEN, NOT_FETCHED}
    post_ids = [post_id for post_id in sorted(stored) if post_id % 2 == number]
    frames = [tfrecord.frame(_example(post_id)) for post_id in post_ids]
    content = b"".join(frames)
    shard = f"{split}-{number:05}-of-00002.tfrecord"
    (paths.shards / shard).write_bytes(content)
    return {
        "shard": shard,
        "split": split,
        "records": len(post_ids),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "label_counts": [positives(label, post_ids) for label in range(len(TAGS))],
    }


def _example(post_id: int) -> bytes:
    features = {
        "post_id": [post_id],
        "md5": md5(post_id).encode(),
        "labels": labels_of(post_id),
        "jpeg": b"\xff\xd8\xff",
    }
    return tfrecord.example(features)


def write_evaluation(paths: Paths) -> None:
    """Writes data/evaluation: a model that ranks every image correctly."""
    held_out = ids_of_split("validation") + ids_of_split("test")
    predictions = [_prediction(post_id) for post_id in held_out]
    per_tag = [_per_tag(label, name) for label, name in enumerate(TAGS)]
    curves = [{"curve": "roc_micro", "x": x, "y": x} for x in (0.0, 0.5, 1.0)]
    folder = paths.evaluation
    parquet.write(folder / "predictions.parquet", predictions, PREDICTIONS)
    parquet.write(folder / "per_tag.parquet", per_tag, PER_TAG)
    parquet.write(folder / "curves.parquet", curves, CURVES)
    of_split = {name: {"value": 1.0, "baseline": 0.5} for name in METRICS}
    metrics = {"validation": of_split, "test": of_split}
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(folder / "thresholds.json", dict.fromkeys(TAGS, 0.5))


def _prediction(post_id: int) -> Row:
    labels = labels_of(post_id)
    return {
        "post_id": post_id,
        "md5": md5(post_id),
        "split": split_of(post_id),
        "label_ids": labels,
        "scores": [0.9 if label in labels else 0.1 for label in range(len(TAGS))],
    }


def _per_tag(label: int, name: str) -> Row:
    row: Row = dict.fromkeys(PER_TAG.names, 0.9)
    row |= dict.fromkeys(HALVES, 0.5)
    row |= {"label_id": label, "name": name, "category": "general"}
    row |= {"train_positives": 7, "test_positives": 4}
    row |= {"baseline_f1": 0.67, "auc": 1.0}
    return row


def write_bundle(paths: Paths) -> None:
    """Writes data/bundle."""
    folder = paths.bundle
    folder.mkdir(parents=True, exist_ok=True)
    model = bytes(range(256)) * 64
    (folder / "model.onnx").write_bytes(model)
    (folder / "selected_tags.csv").write_text(
        "tag_id,name,category,count\n2,canine,0,7\n4,fox,0,7\n5,hat,0,7\n"
    )
    thresholds = [f"{name},0.5\n" for name in TAGS]
    (folder / "thresholds.csv").write_text("name,threshold\n" + "".join(thresholds))
    (folder / "model_card.md").write_text("# A tagger\n")
    files.write_json(folder / "preprocessing.json", {"size": 96})
    checksum = hashlib.sha256(model).hexdigest()
    lineage = {**LINEAGE, "model": {"onnx_sha256": checksum}}
    files.write_json(folder / "lineage.json", lineage)
