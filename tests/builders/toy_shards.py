"""A project whose shards hold toy pictures.

Six tags, each plain to see, with the frequencies of a small board.
"""

import hashlib
import io
import json
from pathlib import Path
from random import Random

import polars as pl
from PIL import Image, ImageDraw

from pipeline import parquet
from pipeline.lineage import KEY
from pipeline.model import backend
from pipeline.paths import Paths
from pipeline.schemas.manifest import MANIFEST
from pipeline.schemas.sample import VOCABULARY
from pipeline.schemas.shards import SHARDS as SHARDS_SCHEMA

SIZE = 64  # pixels
TAGS = {
    "red_background": 0.5,
    "circle": 0.4,
    "square": 0.3,
    "border": 0.3,
    "stripe": 0.2,
    "dot": 0.15,
}
RECORDS = {"train": 240, "validation": 48, "test": 48}
SHARDS = 2  # per split


def project(
    root: Path, *, records: dict[str, int] | None = None, seed: int = 621
) -> Paths:
    """Writes shards, vocabulary, parameters and an empty manifest under `root`."""
    paths = Paths(root)
    rows, first = [], 1
    for split, count in (records or RECORDS).items():
        drawn = [_record(seed, post_id) for post_id in range(first, first + count)]
        first += count
        rows += [
            _write_shard(paths, split, number, drawn[number::SHARDS])
            for number in range(SHARDS)
        ]
    parquet.write(paths.shards / "index.parquet", rows, SHARDS_SCHEMA, order_by="shard")
    _write_vocabulary(paths, rows)
    lineage = {
        "pin": {"site": "toy", "exports": {}},
        "policy_version": "1",
        "parameters": {"manifest": {}},
    }
    metadata = {KEY: json.dumps(lineage)}
    parquet.write(paths.manifest / "train.parquet", [], MANIFEST, metadata=metadata)
    return paths


def picture(tags: set[str], random: Random) -> bytes:
    """Draws the tags as a JPEG of SIZE pixels."""
    image = Image.new(
        "RGB",
        (SIZE, SIZE),
        (200, 60, 60) if "red_background" in tags else (60, 60, 200),
    )
    draw = ImageDraw.Draw(image)
    if "border" in tags:
        draw.rectangle((0, 0, SIZE - 1, SIZE - 1), outline="black", width=5)
    if "stripe" in tags:
        draw.line((8, 56, 56, 56), fill="yellow", width=5)
    x, y = random.randrange(8, 24), random.randrange(8, 24)
    if "circle" in tags:
        draw.ellipse((x, y, x + 18, y + 18), fill="white")
    if "square" in tags:
        draw.rectangle((x + 20, y + 4, x + 34, y + 18), fill="green")
    if "dot" in tags:
        draw.ellipse((x, y + 22, x + 9, y + 31), fill="black")
    image.save(out := io.BytesIO(), "JPEG", quality=90)
    return out.getvalue()


def _record(seed: int, post_id: int) -> tuple[int, bytes, list[int]]:
    random = Random(f"{seed}/{post_id}")
    labels = [
        label for label, share in enumerate(TAGS.values()) if random.random() < share
    ]
    names = list(TAGS)
    return post_id, picture({names[label] for label in labels}, random), labels


def _write_shard(
    paths: Paths, split: str, number: int, records: list[tuple[int, bytes, list[int]]]
) -> dict[str, object]:

    backend.start("tensorflow")
    import tensorflow as tf

    path = paths.shards / f"{split}-{number:05d}-of-{SHARDS:05d}.tfrecord"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for post_id, jpeg, labels in records:
            feature = {
                "post_id": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[post_id])
                ),
                "md5": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[md5_of(post_id).encode()])
                ),
                "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
                "jpeg": tf.train.Feature(bytes_list=tf.train.BytesList(value=[jpeg])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    body = path.read_bytes()
    return {
        "shard": path.name, "split": split, "records": len(records), "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "label_counts": [sum(label in labels for _, _,
        labels in records) for label in range(len(TAGS))],
    }  # fmt: skip


def md5_of(post_id: int) -> str:
    """The md5 that a toy post has."""
    return hashlib.md5(str(post_id).encode(), usedforsecurity=False).hexdigest()


def _write_vocabulary(paths: Paths, rows: list[dict[str, object]]) -> None:
    counts = pl.DataFrame(
        {
            "split": [row["split"] for row in rows],
            "counts": [row["label_counts"] for row in rows],
        }
    )

    def positives(split: str, label: int) -> int:
        return int(counts.filter(split=split)["counts"].list.get(label).sum())

    vocabulary = [
        {
            "label_id": label, "tag_id": 100 + label, "name": name,
            "category": "general",
            "snapshot_posts": 2_000 - label, "candidate_posts": 1_000 - label,
            "train_positives": positives("train", label),
            "validation_positives": positives("validation", label),
            "test_positives": positives("test", label),
        }
        for label, name in enumerate(TAGS)
    ]  # fmt: skip
    parquet.write(paths.sample / "vocabulary.parquet", vocabulary, VOCABULARY)


def small() -> dict[str, object]:
    """Parameters of `train` that learn the toy pictures in seconds."""
    return {
        "size": 32, "widths": [16, 32], "blocks": [1, 1], "epochs": 8, "batch_size": 16,
        "learning_rate": 1e-2, "dropout": 0.0,
    }  # fmt: skip
