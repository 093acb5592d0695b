"""A project whose shards hold toy images.

Six tags, each plain to see, with the frequencies of a small board.
"""

import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pyarrow as pa
from PIL import Image, ImageDraw

from pipeline import packs, parquet
from pipeline.lineage import KEY
from pipeline.model import backend
from pipeline.paths import Paths
from pipeline.schemas.manifest import MANIFEST, REJECTED
from pipeline.schemas.sample import VOCABULARY
from pipeline.schemas.shards import SHARDS as SHARDS_SCHEMA
from pipeline.schemas.snapshot import RELATIONS
from tests.builders import toy_data

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
UPLOADED = datetime(2020, 6, 21, tzinfo=UTC)


def project(
    root: Path, *, records: dict[str, int] | None = None, seed: int = 621
) -> Paths:
    """Writes shards, vocabulary, parameters and an empty manifest under `root`."""
    paths = Paths(root)
    lineage = {
        "pin": {"site": "toy", "exports": {}},
        "policy_version": "1",
        "parameters": {"manifest": {}},
    }
    rows = []
    labels = {}
    first = 1
    for split, count in (records or RECORDS).items():
        drawn = [_record(seed, post_id) for post_id in range(first, first + count)]
        first += count
        labels[split] = [(post_id, given) for post_id, _, given in drawn]
        _write_originals(paths, split, drawn, lineage)
        rows += [
            write_shard(paths, split, number, drawn[number::SHARDS])
            for number in range(SHARDS)
        ]
    parquet.write(paths.shards / "index.parquet", rows, SHARDS_SCHEMA, order_by="shard")
    parquet.write(paths.shards / "rejected.parquet", [], REJECTED)
    _write_vocabulary(paths, rows)
    _write_relations(paths)
    toy_data.write(paths, labels)
    return paths


def _write_originals(
    paths: Paths,
    split: str,
    records: list[tuple[int, bytes, list[int]]],
    lineage: dict[str, object],
) -> None:
    """Writes a pack of the images, and their manifest as far as it is read."""
    pack = f"pack-{split}.parquet"
    packed = []
    for post_id, jpeg, _ in records:
        image = packs.PackedImage(
            md5_of(post_id), post_id, "original", jpeg, "jpeg", SIZE, SIZE
        )
        packed.append(image)
    packs.write(paths.images / pack, sorted(packed, key=lambda image: image.md5))
    rows = _manifest(packed, records, pack)
    schema = pa.schema([MANIFEST.field(name) for name in rows.columns])
    metadata = {KEY: json.dumps(lineage)}
    path = paths.manifest / f"{split}.parquet"
    parquet.write(path, rows, schema, metadata=metadata)


def _manifest(
    packed: list[packs.PackedImage],
    records: list[tuple[int, bytes, list[int]]],
    pack: str,
) -> pl.DataFrame:
    columns = {
        "post_id": [image.post_id for image in packed],
        "md5": [image.md5 for image in packed],
        "rating": ["s"] * len(packed),
        "created_at": [UPLOADED] * len(packed),
        "label_ids": [labels for _, _, labels in records],
        "pack": [pack] * len(packed),
        "width": [SIZE] * len(packed),
        "height": [SIZE] * len(packed),
    }
    return pl.DataFrame(columns)


def rate(paths: Paths, label: int, ratings: tuple[str, str]) -> None:
    """Rates all images: the first rating without a tag, the second with it."""
    for split in RECORDS:
        path = paths.manifest / f"{split}.parquet"
        lineage = parquet.metadata(path)[KEY]
        rated = parquet.read(path)
        given = []
        for post_id in rated["post_id"]:
            _, _, labels = _record(621, post_id)
            given.append(ratings[label in labels])
        rated = rated.with_columns(rating=pl.Series(given))
        schema = pa.schema([MANIFEST.field(name) for name in rated.columns])
        parquet.write(path, rated, schema, metadata={KEY: lineage})


def _write_relations(paths: Paths) -> None:
    """Writes the relations of the snapshot: one alias, and a chain of implications."""
    aliases = [_relation(1, "band", "stripe")]
    implications = [
        _relation(1, "circle", "shape"),
        _relation(2, "shape", "drawing"),
        {**_relation(3, "square", "shape"), "status": "retired"},
        _relation(4, "elsewhere", "shape"),
    ]
    parquet.write(paths.snapshot / "aliases.parquet", aliases, RELATIONS)
    parquet.write(paths.snapshot / "implications.parquet", implications, RELATIONS)


def _relation(relation_id: int, antecedent: str, consequent: str) -> dict[str, object]:
    return {
        "relation_id": relation_id, "antecedent": antecedent,
        "consequent": consequent, "status": "active",
    }  # fmt: skip


def picture(tags: set[str], random: Random) -> bytes:
    """Draws the tags as a JPEG of SIZE pixels."""
    background = (200, 60, 60) if "red_background" in tags else (60, 60, 200)
    image = Image.new("RGB", (SIZE, SIZE), background)
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
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def _record(seed: int, post_id: int) -> tuple[int, bytes, list[int]]:
    random = Random(f"{seed}/{post_id}")
    labels = []
    names = set()
    for label, (name, share) in enumerate(TAGS.items()):
        if random.random() < share:
            labels.append(label)
            names.add(name)
    return post_id, picture(names, random), labels


def write_shard(
    paths: Paths, split: str, number: int, records: list[tuple[int, bytes, list[int]]]
) -> dict[str, object]:
    """Writes a shard of (post id, JPEG, labels); returns its row of the index."""
    backend.start("tensorflow")
    import tensorflow as tf

    path = paths.shards / f"{split}-{number:05d}-of-{SHARDS:05d}.tfrecord"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for post_id, jpeg, labels in records:
            writer.write(_example(post_id, jpeg, labels))
    body = path.read_bytes()
    return {
        "shard": path.name,
        "split": split,
        "records": len(records),
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "label_counts": [_count(label, records) for label in range(len(TAGS))],
    }


def _example(post_id: int, jpeg: bytes, labels: list[int]) -> bytes:
    import tensorflow as tf

    feature = {
        "post_id": tf.train.Feature(int64_list=tf.train.Int64List(value=[post_id])),
        "md5": _bytes_feature(md5_of(post_id).encode()),
        "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
        "jpeg": _bytes_feature(jpeg),
    }
    features = tf.train.Features(feature=feature)
    serialized: bytes = tf.train.Example(features=features).SerializeToString(
        deterministic=True
    )
    return serialized


def _bytes_feature(value: bytes) -> Any:
    import tensorflow as tf

    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _count(label: int, records: list[tuple[int, bytes, list[int]]]) -> int:
    """Returns how many of the records have a tag."""
    return sum(label in labels for _, _, labels in records)


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
    """Parameters of `train` that learn the toy images in seconds."""
    return {
        "size": 32,
        "backbone": {"name": "compact", "widths": [16, 32], "blocks": [1, 1]},
        "head": {"name": "pool", "dropout": 0.0},
        "epochs": 8,
        "batch_size": 16,
        "optimizer": {"name": "adamw"},
        "schedule": {"name": "one_cycle", "learning_rate": 1e-2},
    }
