"""Small but complete shards, evaluation and bundle of the hand-written datasets."""

import hashlib
from typing import Any

from e6tag import bundle
from pipeline import files, parquet
from pipeline.paths import Paths
from pipeline.releases import bundle_metrics
from pipeline.schemas.evaluation import CURVES, PER_TAG, PREDICTIONS, SLICES
from pipeline.schemas.manifest import REJECTED
from pipeline.schemas.mining import LABEL_NOISE, PROPOSALS
from pipeline.schemas.shards import SHARDS
from pipeline.shard import tfrecord
from tests.builders import tiny_models
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

OF_SPLIT = {name: {"value": 1.0, "baseline": 0.5} for name in METRICS}

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
        "reason": "broken_image",
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
    files.write_json(folder / "metrics.json", _metrics())
    files.write_json(folder / "headline.json", OF_SPLIT)
    slices = [_slice("general", 0, absent=None, macro_map=1.0)]
    slices.append(_slice("lore", 1, absent="no image", macro_map=None))
    parquet.write(folder / "slices.parquet", slices, SLICES)
    files.write_json(folder / "calibration.json", CALIBRATION)
    files.write_json(folder / "thresholds.json", dict.fromkeys(TAGS, 0.5))


def _metrics() -> dict[str, Any]:
    records = len(ids_of_split("test"))
    return {
        "splits": {"validation": OF_SPLIT, "test": OF_SPLIT},
        "originals": {
            "records": records,
            "macro_map": 1.0,
            "macro_map_of_shards": 1.0,
        },
    }


def _slice(value: str, position: int, **known: object) -> Row:
    row: Row = {"split": "test", "slice": "category", "value": value}
    row |= {"position": position, "records": 4, "tags": 3, "positives": 9}
    return row | known


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
    row |= {"baseline_f1": 0.67, "auc": 1.0, "confused_with": []}
    return row


CALIBRATION = {
    "calibration": {
        "method": "none", "slope": 1.0, "offset": 0.0, "knots": [], "bends": [],
    },
}  # fmt: skip
"""The content of calibration.json, as far as it is read."""

TAG_IDS = {"canine": 2, "fox": 4, "hat": 5}

RATING_ROWS = [bundle.Row(-1 - n, name, 9, 0) for n, name in enumerate(bundle.RATINGS)]

NOBODY = bundle.Row(-5, "no_character", 4, 0)
"""The character row that clients expect, which stands for nothing."""

# What folding adds to a logit: that of 0.35 less that of 0.5, which is 0.
SHIFT = -0.61904


def write_bundle(paths: Paths) -> None:
    """Writes data/bundle, with all thresholds at 0.5 and folded in."""
    rows, tags = _rows_and_tags()
    known = [not row.is_dead for row in rows]
    model = tiny_models.tagger(known, [SHIFT] * len(rows))
    contents = _own_files(model, rows, tags)
    contents |= _hydrus(model, rows)
    contents |= _imgutils(tags)
    contents |= _deepdanbooru()
    contents |= _variants(model)
    sums = {}
    for name, content in contents.items():
        body = _encoded(content)
        files.write_bytes(paths.bundle / name, body)
        sums[name] = hashlib.sha256(body).hexdigest()
    origin = {"onnx_sha256": sums[bundle.MODEL]}
    lineage = {**LINEAGE, "model": origin, "files": sums}
    files.write_json(paths.bundle / bundle.LINEAGE, lineage)


def _rows_and_tags() -> tuple[list[bundle.Row], list[bundle.Tag]]:
    rows = [*RATING_ROWS]
    tags = []
    for number, (name, tag_id) in enumerate(TAG_IDS.items(), len(rows)):
        rows.append(bundle.Row(tag_id, name, bundle.GENERAL_CATEGORY, 7))
        tags.append(bundle.Tag(number, name, 0, 0.5, 7))
    rows.append(NOBODY)
    return rows, tags


def _encoded(content: bytes | str | Any) -> bytes:
    """Returns the bytes of a file: text in UTF-8, anything else as JSON."""
    if isinstance(content, bytes):
        return content
    if not isinstance(content, str):
        content = files.to_json(content)
    return content.encode()


def _own_files(
    model: bytes, rows: list[bundle.Row], tags: list[bundle.Tag]
) -> dict[str, Any]:
    preprocessing = {
        "bundle_version": bundle.VERSION,
        "fit": "stretch",
        "folded_thresholds": True,
    }
    implications = bundle.to_csv(bundle.IMPLICATION_COLUMNS, [("fox", "canine")])
    return {
        bundle.MODEL: model,
        bundle.HEATMAP_MODEL: tiny_models.heatmap(len(rows)),
        bundle.ROWS: bundle.rows_csv(rows),
        bundle.TAGS: bundle.tags_csv(tags),
        bundle.IMPLICATIONS: implications,
        bundle.RENAMED: bundle.to_csv(bundle.RENAMED_COLUMNS, [("vulpine", "fox")]),
        bundle.PREPROCESSING: preprocessing,
        bundle.MODEL_CARD: "# A tagger\n",
        bundle.DATA_CARD: "# Its data\n",
        bundle.METRICS: bundle_metrics(_metrics(), ids_of_split("test"), TAGS),
        bundle.GIT_ATTRIBUTES: "*.onnx filter=lfs\n",
    }


HYDRUS_INFO = {
    "modelfile": "model.onnx",
    "modelname": "a tagger",
    "numberofratings": 4,
    "ratingsflag": 1,
    "source": "hand-written",
    "tagsfile": "selected_tags.csv",
}


def _hydrus(model: bytes, rows: list[bundle.Row]) -> dict[str, Any]:
    return {
        f"{bundle.HYDRUS}/{bundle.MODEL}": model,
        f"{bundle.HYDRUS}/{bundle.ROWS}": bundle.rows_csv(rows),
        f"{bundle.HYDRUS}/{bundle.HYDRUS_INFO}": HYDRUS_INFO,
    }


def _imgutils(tags: list[bundle.Tag]) -> dict[str, Any]:
    rows = ["id,tag_id,name,category,count,best_threshold"]
    for number, tag in enumerate(tags):
        rows.append(f"{number},{TAG_IDS[tag.name]},{tag.name},0,7,0.5")
    resize = {"type": "resize", "size": [448, 448], "interpolation": "lanczos"}
    steps = [resize, {"type": "maybe_to_tensor"}]
    return {
        "imgutils/model.onnx": tiny_models.imgutils(len(tags)),
        "imgutils/selected_tags.csv": "\n".join(rows) + "\n",
        "imgutils/thresholds.csv": "category,name,threshold\n0,general,0.5\n",
        "imgutils/categories.json": [{"category": 0, "name": "general"}],
        "imgutils/preprocess.json": {"test": steps, "val": steps},
    }


def _deepdanbooru() -> dict[str, Any]:
    project = {"image_height": 448, "image_width": 448, "model": "e6tag"}
    return {
        "deepdanbooru/project.json": project,
        "deepdanbooru/tags.txt": "".join(f"{name}\n" for name in TAGS),
        "deepdanbooru/model-e6tag.keras": tiny_models.keras_archive(),
    }


def _variants(model: bytes) -> dict[str, Any]:
    contents: dict[str, Any] = {
        "variants/model_float16.onnx": model,
        "variants/model_int8.onnx": model,
        "variants/model.tflite": b"TFL3 serving_default input output scores",
    }
    models = [{"file": "model.onnx", "bytes": len(model), "macro_map": 1.0}]
    for name, content in contents.items():
        listed = {"file": name, "bytes": len(content)}
        models.append({**listed, "macro_map": 1.0, "macro_map_lost": 0.0})
    compared = [
        "model.onnx",
        "heatmap.onnx",
        "imgutils/model.onnx",
        "deepdanbooru/model-e6tag.keras",
        "variants/model.tflite",
    ]
    tree = {
        "compared_with_keras": {
            "images": 256,
            "largest_difference": dict.fromkeys(compared, 1e-6),
            "test_images": 300,
        },
        "images": 8,
        "macro_map_of_evaluation": 1.0,
        "models": models,
    }
    contents["variants/variants.json"] = tree
    return contents


def write_mining(paths: Paths) -> None:
    """Writes data/mining: a missing label, a wrong one and a rare tag."""
    rows = [
        _proposal(2, "fox", 1, "missing", 0.9),
        _proposal(4, "fox", 1, "wrong", 0.7),
        _proposal(25, "unlabelled", None, "rare", 0.7),
    ]
    parquet.write(paths.mining / "proposals.parquet", rows, PROPOSALS)
    files.write_text(paths.mining / "proposals.csv", "post_id,tag,action\n")
    noise = []
    for label, name in enumerate(TAGS):
        row = {"label_id": label, "name": name, "positives": 12}
        row |= {"missing_share": 0.1, "missing_low": 0.05, "missing_high": 0.2}
        noise.append(row | {"wrong_share": 0.01, "absent": None})
    parquet.write(paths.mining / "label_noise.parquet", noise, LABEL_NOISE)


def _proposal(
    post_id: int, tag: str, label_id: int | None, kind: str, probability: float
) -> Row:
    return {
        "post_id": post_id,
        "md5": md5(post_id),
        "split": split_of(post_id),
        "tag": tag,
        "label_id": label_id,
        "kind": kind,
        "probability": probability,
        "score": None if label_id is None else 0.5,
        "uncertainty": None,
        "lift": 2.0,
        "url": None,
    }
