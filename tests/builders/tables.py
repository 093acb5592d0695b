"""Small but complete datasets, written by hand from the schemas: good ones, for tests to break one thing at a time."""

import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipeline import packs, parquet
from pipeline.params import Params
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
from pipeline.schemas.snapshot import POSTS, RELATIONS, SNAPSHOT_REJECTED, UNKNOWN_TAGS
from pipeline.schemas.snapshot import TAGS as TAGS_SCHEMA
from pipeline.shard import tfrecord

Row = dict[str, Any]

PACK = "pack-00000.parquet"

TAGS = ("canine", "fox", "hat")
"""The vocabulary. `fox` implies `canine`; `vulpine` is an alias of `fox`."""

SHARES = {"train": 16, "validation": 8, "test": 8}
"""Posts per split. Post ids are 1 to 32 in this order."""

PARAMS = Params.model_validate(
    {
        "sample": {
            "min_positives": 4,
            "min_eval_positives": 2,
            "min_tags": 1,
            "vocabulary_size": 3,
        }
    }
)
"""Parameters for which these datasets are good."""

LINEAGE = {
    "pin": {"site": "sandbox"},
    "policy_version": "1",
    "parameters": {"sample": {}},
}


def write_all(paths: Paths) -> None:
    """Writes all six datasets and the pictures, good in every respect."""
    write_snapshot(paths)
    write_sample(paths)
    write_images(paths)
    write_manifest(paths)
    write_shards(paths)
    write_evaluation(paths)
    write_bundle(paths)


def md5(post_id: int) -> str:
    """Returns the md5 of a post's picture."""
    return hashlib.md5(str(post_id).encode(), usedforsecurity=False).hexdigest()


def split_of(post_id: int) -> str:
    """Returns the split of a post by its number."""
    return "train" if post_id <= 16 else "validation" if post_id <= 24 else "test"


def names_of(post_id: int) -> list[str]:
    """Returns the tags of a post: half foxes, of which some are called `vulpine`; every other has a hat."""
    kind = (
        ["fox"]
        if post_id % 4 == 0
        else ["vulpine"]
        if post_id % 4 == 1
        else ["unlabelled"]
    )
    return sorted([*kind, *(["hat"] if post_id % 2 else [])])


def labels_of(post_id: int) -> list[int]:
    """Returns the label ids of a post after aliases and implications."""
    return [*([0, 1] if post_id % 4 < 2 else []), *([2] if post_id % 2 else [])]


def given_of(post_id: int) -> list[int]:
    """Returns the label ids of a post as given."""
    return [label for label in labels_of(post_id) if label != 0]


def write_snapshot(paths: Paths) -> None:
    """Writes data/snapshot: the sampled posts, and three that the policy refuses: deleted, young, opted out."""
    posts = [_post(post_id, names_of(post_id)) for post_id in range(1, 33)]
    posts += [
        {**_post(33, ["hat"]), "is_deleted": True},
        {**_post(34, ["fawn", "hat"]), "rating": "q"},
        _post(35, ["avoid_posting", "hat"]),
    ]
    names = [
        "avoid_posting",
        "canine",
        "fawn",
        "fox",
        "hat",
        "unlabelled",
        "vulpine",
        "young",
    ]
    tags = [
        {"tag_id": i, "name": name, "category": 0, "post_count": 3}
        for i, name in enumerate(names, 1)
    ]
    parquet.write(paths.snapshot / "posts.parquet", posts, POSTS)
    parquet.write(paths.snapshot / "tags.parquet", tags, TAGS_SCHEMA)
    parquet.write(
        paths.snapshot / "aliases.parquet",
        [_relation(1, "vulpine", "fox")],
        RELATIONS,
    )
    implications = [
        _relation(1, "fox", "canine"),
        _relation(2, "fawn", "young"),
        {**_relation(3, "hat", "fox"), "status": "retired"},
    ]
    parquet.write(paths.snapshot / "implications.parquet", implications, RELATIONS)
    parquet.write(paths.snapshot / "rejected.parquet", [], SNAPSHOT_REJECTED)
    parquet.write(paths.snapshot / "unknown_tags.parquet", [], UNKNOWN_TAGS)


def write_sample(paths: Paths) -> None:
    """Writes data/sample: posts 1 to 32."""
    posts = [
        {
            **_post(post_id, []),
            "group_id": post_id,
            "split": split_of(post_id),
            "label_ids": labels_of(post_id),
            "given_ids": given_of(post_id),
            "candidate_tags": 3,
            "taken_for": None,
        }
        for post_id in range(1, 33)
    ]
    vocabulary = [
        {
            "label_id": i,
            "tag_id": {"canine": 2, "fox": 4, "hat": 5}[name],
            "name": name,
            "category": "general",
            "snapshot_posts": 20,
            "candidate_posts": 16,
            **{f"{split}_positives": _positives(i, split) for split in SHARES},
        }
        for i, name in enumerate(TAGS)
    ]
    left_out = [
        {
            "name": "unlabelled",
            "category": "general",
            "snapshot_posts": 20,
            "candidate_posts": 16,
            "train_posts": 8,
            "validation_posts": 4,
            "test_posts": 4,
            "reason": "beyond_vocabulary_size",
        }
    ]
    dropped = [
        {"post_id": 33, "reason": "deleted", "group_id": None},
        {"post_id": 34, "reason": "forbidden_young", "group_id": None},
        {"post_id": 35, "reason": "opted_out", "group_id": None},
    ]
    parquet.write(
        paths.sample / "posts.parquet",
        _only(posts, SAMPLED_POSTS),
        SAMPLED_POSTS,
    )
    parquet.write(paths.sample / "vocabulary.parquet", vocabulary, VOCABULARY)
    parquet.write(paths.sample / "left_out.parquet", left_out, EXCLUDED_TAGS)
    parquet.write(paths.sample / "dropped.parquet", dropped, EXCLUDED_POSTS)
    write_explanations(paths)


def write_explanations(paths: Paths) -> None:
    """Writes the tables of data/sample that explain it: strategies, what labels lack, what was odd."""
    strategies = [
        _strategy("cover", 30, 0.125),
        _strategy("quota", 31, 0.25),
        _strategy("natural", 32, 0.0625),
        _strategy("sample", 32, 0.0),
        _strategy("board", 32, 0.0),
    ]
    lacking = [
        {
            "antecedent": "fox",
            "consequent": "canine",
            "posts": 16,
            "lacking": 16,
            "share": 1.0,
        }
    ]
    spellings = [{"name": "vulpine", "stands_for": "fox", "posts": 8, "is_known": True}]
    pairs = [
        {
            "first": "canine",
            "second": "fox",
            "posts": 16,
            "expected": 8.0,
            "lift": 2.0,
            "is_implied": True,
        },
        {
            "first": "canine",
            "second": "hat",
            "posts": 8,
            "expected": 8.0,
            "lift": 1.0,
            "is_implied": False,
        },
        {
            "first": "fox",
            "second": "hat",
            "posts": 8,
            "expected": 32.0,
            "lift": 0.25,
            "is_implied": False,
        },
    ]
    oddities = [
        {
            "kind": "missing_parent",
            "subject": "7",
            "detail": "parent 3 is not in the snapshot",
        }
    ]
    parquet.write(paths.sample / "strategies.parquet", strategies, STRATEGIES)
    parquet.write(
        paths.sample / "lacking_implied.parquet", lacking, MISSING_IMPLICATIONS
    )
    parquet.write(paths.sample / "aliased_spellings.parquet", spellings, ALIASES_IN_USE)
    parquet.write(paths.sample / "co_occurrence.parquet", pairs, CO_OCCURRENCE)
    parquet.write(paths.sample / "oddities.parquet", oddities, ANOMALIES)


def write_images(paths: Paths) -> None:
    """Writes data/images: a pack of all sampled posts but 16, and the takedown of 33. The bytes are no pictures."""
    kept = [post_id for post_id in range(1, 33) if post_id != 16]
    outcomes = [
        {
            "md5": md5(post_id),
            "variant": "sample",
            "outcome": "kept",
            "pack": PACK,
            "detail": None,
        }
        for post_id in kept
    ]
    outcomes.append(
        {
            "md5": md5(16),
            "variant": "sample",
            "outcome": "not_found",
            "pack": None,
            "detail": "404",
        }
    )
    taken = [
        {
            "md5": md5(33),
            "post_id": 33,
            "reason": "deleted",
            "snapshot": "2026-07-01T01:00:02.000-04:00",
        }
    ]
    pictures = [
        packs.PackedImage(md5(post_id), post_id, "sample", b"...", "jpeg", 640, 480)
        for post_id in kept
    ]
    packs.write(paths.images / PACK, sorted(pictures, key=lambda one: one.md5))
    parquet.write(paths.images / "outcomes.parquet", outcomes, OUTCOMES, order_by="md5")
    parquet.write(paths.images / "takedowns.parquet", taken, TAKEDOWNS, order_by="md5")


def write_manifest(paths: Paths) -> None:
    """Writes data/manifest: all sampled posts but 16, which could not be fetched."""
    lineage = {"lineage": json.dumps(LINEAGE, sort_keys=True)}
    for split in SPLITS:
        rows = [
            _record(post_id)
            for post_id in range(1, 33)
            if split_of(post_id) == split and post_id != 16
        ]
        parquet.write(
            paths.manifest / f"{split}.parquet",
            _only(rows, MANIFEST),
            MANIFEST,
            metadata=lineage,
        )
    rejected = [
        {
            "post_id": 16,
            "md5": md5(16),
            "split": "train",
            "reason": "not_found",
            "detail": "404",
        }
    ]
    parquet.write(
        paths.manifest / "rejected.parquet",
        rejected,
        REJECTED,
        metadata=lineage,
    )
    nearest, random = {4: 2, 9: 6}, {30: 8}
    leakage = [
        {
            "distance": bits,
            "nearest": nearest.get(bits, 0),
            "random": random.get(bits, 0),
        }
        for bits in range(65)
    ]
    parquet.write(
        paths.manifest / "leakage.parquet", leakage, LEAKAGE, metadata=lineage
    )


def write_shards(paths: Paths) -> None:
    """Writes data/shards: two per split but `fresh`, and one record rejected (15)."""
    paths.shards.mkdir(parents=True, exist_ok=True)
    index = []
    for split in SHARES:
        for number in (0, 1):
            kept = [
                p
                for p in range(1, 33)
                if split_of(p) == split and p % 2 == number and p not in (15, 16)
            ]
            content = b"".join(tfrecord.frame(_example(post_id)) for post_id in kept)
            shard = f"{split}-{number:05}-of-00002.tfrecord"
            (paths.shards / shard).write_bytes(content)
            counts = [
                sum(label in labels_of(post_id) for post_id in kept)
                for label in range(3)
            ]
            sha256 = hashlib.sha256(content).hexdigest()
            index.append(
                {
                    "shard": shard,
                    "split": split,
                    "records": len(kept),
                    "bytes": len(content),
                    "sha256": sha256,
                    "label_counts": counts,
                }
            )
    rejected = [
        {
            "post_id": 15,
            "md5": md5(15),
            "split": "train",
            "reason": "broken_picture",
            "detail": None,
        }
    ]
    parquet.write(paths.shards / "index.parquet", index, SHARDS, order_by="shard")
    parquet.write(paths.shards / "rejected.parquet", rejected, REJECTED)


def write_evaluation(paths: Paths) -> None:
    """Writes data/evaluation: a model that is right about every second tag and nearly right about the others."""
    predictions = [
        {
            "post_id": p,
            "md5": md5(p),
            "split": split_of(p),
            "label_ids": labels_of(p),
            "scores": [_score(p, label) for label in range(3)],
        }
        for p in range(17, 33)
    ]
    per_tag = [
        {
            **dict.fromkeys(PER_TAG.names, 0.9),
            "label_id": i,
            "name": name,
            "category": "general",
            "train_positives": 7,
            "test_positives": 4,
            **dict.fromkeys(
                (
                    "prevalence",
                    "baseline_average_precision",
                    "baseline_accuracy",
                    "threshold",
                ),
                0.5,
            ),
            "baseline_f1": 0.67,
            "auc": 1.0,
        }
        for i, name in enumerate(TAGS)
    ]
    curves = [{"curve": "roc_micro", "x": x, "y": x} for x in (0.0, 0.5, 1.0)]
    parquet.write(paths.evaluation / "predictions.parquet", predictions, PREDICTIONS)
    parquet.write(paths.evaluation / "per_tag.parquet", per_tag, PER_TAG)
    parquet.write(paths.evaluation / "curves.parquet", curves, CURVES)
    names = ("macro_auc", "macro_map", "macro_f1", "micro_auc", "accuracy")
    metrics = {
        split: {name: {"value": 1.0, "baseline": 0.5} for name in names}
        for split in ("validation", "test")
    }
    write_json(paths.evaluation / "metrics.json", metrics)
    write_json(paths.evaluation / "thresholds.json", dict.fromkeys(TAGS, 0.5))


def write_bundle(paths: Paths) -> None:
    """Writes data/bundle."""
    paths.bundle.mkdir(parents=True, exist_ok=True)
    model = bytes(range(256)) * 64
    (paths.bundle / "model.onnx").write_bytes(model)
    (paths.bundle / "selected_tags.csv").write_text(
        "tag_id,name,category,count\n2,canine,0,7\n4,fox,0,7\n5,hat,0,7\n"
    )
    (paths.bundle / "thresholds.csv").write_text(
        "name,threshold\n" + "".join(f"{name},0.5\n" for name in TAGS)
    )
    (paths.bundle / "model_card.md").write_text("# A tagger\n")
    write_json(paths.bundle / "preprocessing.json", {"size": 96})
    checksum = hashlib.sha256(model).hexdigest()
    write_json(
        paths.bundle / "lineage.json", {**LINEAGE, "model": {"onnx_sha256": checksum}}
    )


def change(
    path: Path, edit: Callable[[pl.DataFrame], pl.DataFrame], schema: Any
) -> None:
    """Rewrites a Parquet file with its rows edited, keeping its text metadata."""
    kept = parquet.metadata(path)
    parquet.write(path, edit(parquet.read(path)), schema, metadata=kept)


def set_value(path: Path, schema: Any, key: str, at: Any, /, **values: Any) -> None:
    """Sets columns of the one row whose `key` is `at`."""
    rows = pq.read_table(path).to_pylist()
    kept = parquet.metadata(path)
    (row,) = [row for row in rows if row[key] == at]
    row.update(values)
    parquet.write(path, rows, schema, metadata=kept)


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True))


def _post(post_id: int, tags: list[str]) -> Row:
    return {
        "post_id": post_id,
        "change_seq": 100 + post_id,
        "created_at": datetime(2020, 1, 1, tzinfo=UTC),
        "md5": md5(post_id),
        "ext": "png",
        "rating": "s",
        "width": 640,
        "height": 480,
        "file_size": 10_000,
        "duration": None,
        "parent_id": None,
        "is_deleted": False,
        "is_pending": False,
        "is_flagged": False,
        "is_withheld": False,
        "score": 1,
        "fav_count": 1,
        "tags": tags,
        "locked_tags": [],
    }


def _strategy(name: str, posts: int, distance: float) -> Row:
    return {
        "strategy": name,
        "is_chosen": name in ("cover", "sample"),
        "posts": posts,
        "hours": posts / 3600,
        "least_positives": 8,
        "median_positives": 8.0,
        "short_tags": 0,
        "mean_tags": 3.0,
        "total_variation": distance,
    }


def _record(post_id: int) -> Row:
    facts = {
        "pack": PACK,
        "variant": "sample",
        "format": "jpeg",
        "bytes": 5_000,
        "phash": post_id * 7_919,
    }
    labels = {"label_ids": labels_of(post_id), "given_ids": given_of(post_id)}
    return {
        **_post(post_id, []),
        "group_id": post_id,
        "split": split_of(post_id),
        **labels,
        **facts,
    }


def _relation(relation_id: int, antecedent: str, consequent: str) -> Row:
    return {
        "relation_id": relation_id,
        "antecedent": antecedent,
        "consequent": consequent,
        "status": "active",
    }


def _example(post_id: int) -> bytes:
    labels = labels_of(post_id)
    return tfrecord.example(
        {
            "post_id": [post_id],
            "md5": md5(post_id).encode(),
            "labels": labels,
            "jpeg": b"\xff\xd8\xff",
        }
    )


def _positives(label: int, split: str) -> int:
    return sum(
        label in labels_of(post_id)
        for post_id in range(1, 33)
        if split_of(post_id) == split
    )


def _score(post_id: int, label: int) -> float:
    return 0.9 if label in labels_of(post_id) else 0.1


def _only(rows: Iterable[Row], schema: Any) -> list[Row]:
    return [{name: row[name] for name in schema.names} for row in rows]
