"""Small but complete datasets, written by hand from the schemas.

They are good: tests break one thing at a time. The posts are those of `posts.py`; the
shards, the evaluation and the bundle are in `results.py`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipeline import packs, parquet
from pipeline.files import write_json as write_json  # for tests that import it here
from pipeline.params import Params
from pipeline.paths import SPLITS, Paths
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
from pipeline.schemas.snapshot import POSTS, RELATIONS, SNAPSHOT_REJECTED, UNKNOWN_TAGS
from pipeline.schemas.snapshot import TAGS as TAGS_SCHEMA
from tests.builders import results
from tests.builders.posts import (
    LINEAGE,
    NOT_FETCHED,
    PACK,
    POST_IDS,
    SHARES,
    TAGS,
    Row,
    given_of,
    ids_of_split,
    labels_of,
    md5,
    names_of,
    positives,
    post,
    select,
    split_of,
)

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

NAMES = (
    "avoid_posting",
    "canine",
    "fawn",
    "fox",
    "hat",
    "unlabelled",
    "vulpine",
    "young",
)
"""The tags of the snapshot; their ids are counted from 1."""

TAKEN_DOWN = 33
"""The post of which the image was taken down."""

FETCHED = [post_id for post_id in POST_IDS if post_id != NOT_FETCHED]


def write_all(paths: Paths) -> None:
    """Writes all seven datasets and the images, good in every respect."""
    write_snapshot(paths)
    write_sample(paths)
    write_images(paths)
    write_manifest(paths)
    results.write_shards(paths)
    results.write_evaluation(paths)
    results.write_mining(paths)
    results.write_bundle(paths)


def write_snapshot(paths: Paths) -> None:
    """Writes data/snapshot.

    It holds the sampled posts, and three that the policy excludes: a deleted one, a
    young one and an opt-out.
    """
    posts = [post(post_id, names_of(post_id)) for post_id in POST_IDS]
    posts.append({**post(33, ["hat"]), "is_deleted": True})
    posts.append({**post(34, ["fawn", "hat"]), "rating": "q"})
    posts.append(post(35, ["avoid_posting", "hat"]))
    tags = []
    for tag_id, name in enumerate(NAMES, 1):
        tags.append({"tag_id": tag_id, "name": name, "category": 0, "post_count": 3})
    aliases = [_relation(1, "vulpine", "fox")]
    implications = [
        _relation(1, "fox", "canine"),
        _relation(2, "fawn", "young"),
        {**_relation(3, "hat", "fox"), "status": "retired"},
    ]
    folder = paths.snapshot
    parquet.write(folder / "posts.parquet", posts, POSTS)
    parquet.write(folder / "tags.parquet", tags, TAGS_SCHEMA)
    parquet.write(folder / "aliases.parquet", aliases, RELATIONS)
    parquet.write(folder / "implications.parquet", implications, RELATIONS)
    parquet.write(folder / "rejected.parquet", [], SNAPSHOT_REJECTED)
    parquet.write(folder / "unknown_tags.parquet", [], UNKNOWN_TAGS)


def _relation(relation_id: int, antecedent: str, consequent: str) -> Row:
    return {
        "relation_id": relation_id,
        "antecedent": antecedent,
        "consequent": consequent,
        "status": "active",
    }


def write_sample(paths: Paths) -> None:
    """Writes data/sample: posts 1 to 32."""
    posts = select(map(_sampled_post, POST_IDS), SAMPLED_POSTS)
    vocabulary = [_vocabulary_tag(label, name) for label, name in enumerate(TAGS)]
    excluded_tag = {
        "name": "unlabelled",
        "category": "general",
        "snapshot_posts": 20,
        "candidate_posts": 16,
        "train_posts": 8,
        "validation_posts": 4,
        "test_posts": 4,
        "reason": "beyond_vocabulary_size",
    }
    excluded_posts = [
        {"post_id": 33, "reason": "deleted", "group_id": None},
        {"post_id": 34, "reason": "forbidden_young", "group_id": None},
        {"post_id": 35, "reason": "opted_out", "group_id": None},
    ]
    folder = paths.sample
    parquet.write(folder / "posts.parquet", posts, SAMPLED_POSTS)
    parquet.write(folder / "vocabulary.parquet", vocabulary, VOCABULARY)
    parquet.write(folder / "excluded_tags.parquet", [excluded_tag], EXCLUDED_TAGS)
    parquet.write(folder / "excluded_posts.parquet", excluded_posts, EXCLUDED_POSTS)
    write_explanations(paths)


def _sampled_post(post_id: int) -> Row:
    return {
        **_labelled_post(post_id),
        "tag_count": 3,
        "selected_for": None,
    }


def _labelled_post(post_id: int) -> Row:
    """Returns the columns that the sample and the manifest have in common."""
    return {
        **post(post_id, []),
        "group_id": post_id,
        "split": split_of(post_id),
        "label_ids": labels_of(post_id),
        "explicit_label_ids": given_of(post_id),
    }


def _vocabulary_tag(label: int, name: str) -> Row:
    row: Row = {
        "label_id": label,
        "tag_id": NAMES.index(name) + 1,
        "name": name,
        "category": "general",
        "snapshot_posts": 20,
        "candidate_posts": 16,
    }
    for split in SHARES:
        row[f"{split}_positives"] = positives(label, ids_of_split(split))
    return row


def write_explanations(paths: Paths) -> None:
    """Writes the tables of data/sample that explain it: strategies and label noise."""
    strategies = [
        _strategy("cover", 30, 0.125),
        _strategy("quota", 31, 0.25),
        _strategy("natural", 32, 0.0625),
        _strategy("sample", 32, 0.0),
        _strategy("all_candidates", 32, 0.0),
    ]
    missing = {
        "antecedent": "fox",
        "consequent": "canine",
        "posts": 16,
        "lacking": 16,
        "share": 1.0,
    }
    alias = {"name": "vulpine", "stands_for": "fox", "posts": 8, "is_known": True}
    pairs = [
        {**_pair("canine", "fox", 16, 8.0, 2.0), "is_implied": True},
        _pair("canine", "hat", 8, 8.0, 1.0),
        _pair("fox", "hat", 8, 32.0, 0.25),
    ]
    anomaly = {
        "kind": "missing_parent",
        "subject": "7",
        "detail": "parent 3 is not in the snapshot",
    }
    folder = paths.sample
    parquet.write(folder / "strategies.parquet", strategies, STRATEGIES)
    parquet.write(
        folder / "missing_implications.parquet", [missing], MISSING_IMPLICATIONS
    )
    parquet.write(folder / "aliases_in_use.parquet", [alias], ALIASES_IN_USE)
    parquet.write(folder / "co_occurrence.parquet", pairs, CO_OCCURRENCE)
    parquet.write(folder / "anomalies.parquet", [anomaly], ANOMALIES)


def _strategy(name: str, posts: int, distance: float) -> Row:
    return {
        "strategy": name,
        "is_chosen": name in ("cover", "sample"),
        "posts": posts,
        "hours": posts / 3600,
        "min_positives_reached": 8,
        "median_positives": 8.0,
        "tags_below_target": 0,
        "mean_tags": 3.0,
        "total_variation": distance,
    }


def _pair(first: str, second: str, posts: int, expected: float, lift: float) -> Row:
    return {
        "first": first,
        "second": second,
        "posts": posts,
        "expected": expected,
        "lift": lift,
        "is_implied": False,
    }


def write_images(paths: Paths) -> None:
    """Writes data/images: a pack of all sampled posts but one, and a takedown.

    The bytes are no images.
    """
    outcomes = [_outcome(post_id, "kept", PACK, None) for post_id in FETCHED]
    outcomes.append(_outcome(NOT_FETCHED, "not_found", None, "404"))
    taken_down = {
        "md5": md5(TAKEN_DOWN),
        "post_id": TAKEN_DOWN,
        "reason": "deleted",
        "snapshot": "2026-07-01T01:00:02.000-04:00",
    }
    images = [_packed_image(post_id) for post_id in sorted(FETCHED, key=md5)]
    folder = paths.images
    packs.write(folder / PACK, images)
    parquet.write(folder / "outcomes.parquet", outcomes, OUTCOMES, order_by="md5")
    parquet.write(folder / "takedowns.parquet", [taken_down], TAKEDOWNS)


def _outcome(post_id: int, outcome: str, pack: str | None, detail: str | None) -> Row:
    return {
        "md5": md5(post_id),
        "variant": "sample",
        "outcome": outcome,
        "pack": pack,
        "detail": detail,
    }


def _packed_image(post_id: int) -> packs.PackedImage:
    return packs.PackedImage(md5(post_id), post_id, "sample", b"...", "jpeg", 640, 480)


def write_manifest(paths: Paths) -> None:
    """Writes data/manifest: all sampled posts but the one that was not fetched."""
    for split in SPLITS:
        fetched = [p for p in ids_of_split(split) if p != NOT_FETCHED]
        records = select(map(_record, fetched), MANIFEST)
        _write_to_manifest(paths, split, records, MANIFEST)
    rejected = {
        "post_id": NOT_FETCHED,
        "md5": md5(NOT_FETCHED),
        "split": "train",
        "reason": "not_found",
        "detail": "404",
    }
    _write_to_manifest(paths, "rejected", [rejected], REJECTED)
    _write_to_manifest(paths, "overlay", [], OVERLAY)
    nearest = {4: 2, 9: 6}
    random = {30: 8}
    leakage = []
    for bits in range(65):
        counts = {"nearest": nearest.get(bits, 0), "random": random.get(bits, 0)}
        leakage.append({"distance": bits, **counts})
    _write_to_manifest(paths, "leakage", leakage, LEAKAGE)


def _record(post_id: int) -> Row:
    return {
        **_labelled_post(post_id),
        "pack": PACK,
        "variant": "sample",
        "format": "jpeg",
        "bytes": 5_000,
        "phash": post_id * 7_919,
    }


def _write_to_manifest(paths: Paths, stem: str, rows: list[Row], schema: Any) -> None:
    lineage = {"lineage": json.dumps(LINEAGE, sort_keys=True)}
    path = paths.manifest / f"{stem}.parquet"
    parquet.write(path, rows, schema, metadata=lineage)


def change(
    path: Path, edit: Callable[[pl.DataFrame], pl.DataFrame], schema: Any
) -> None:
    """Rewrites a Parquet file with its rows edited; its text metadata stays."""
    metadata = parquet.metadata(path)
    parquet.write(path, edit(parquet.read(path)), schema, metadata=metadata)


def set_value(path: Path, schema: Any, key: str, at: Any, /, **values: Any) -> None:
    """Sets columns of the one row whose `key` is `at`."""
    metadata = parquet.metadata(path)
    rows = pq.read_table(path).to_pylist()
    (row,) = [row for row in rows if row[key] == at]
    row.update(values)
    parquet.write(path, rows, schema, metadata=metadata)
