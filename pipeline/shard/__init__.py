"""Shard: the manifest's records as TFRecords, ready for training.

Reads       data/manifest/{train,validation,test,fresh}.parquet
            data/images/pack-*.parquet
            data/sample/vocabulary.parquet
Writes      data/shards/<split>-NNNNN-of-NNNNN.tfrecord
            data/shards/index.parquet       schemas.SHARDS
            data/shards/rejected.parquet    schemas.REJECTED
Guarantees  a record belongs to shard hash(md5) mod shards of its split, ordered by that
            hash: when one post changes, one shard changes. Finished shards are kept
            between runs while their records and parameters stay the same and their
            bytes are whole; the others are written anew. Same manifest, same bytes, on
            any number of workers.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from pipeline import files, parquet, progress, workers
from pipeline.errors import TooManyRejects
from pipeline.params.cluster import Cluster
from pipeline.params.shard import Shard
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.manifest import REJECTED
from pipeline.schemas.shards import SHARDS
from pipeline.shard.writer import Record, ShardJob, ShardResult, write_shard


def run(params: Shard, paths: Paths, *, cluster: Cluster) -> None:
    """Plans the shards, keeps those still valid, writes the others, then the index."""
    jobs = []
    for split in SPLITS:
        jobs.extend(_jobs(params, paths, split))
    results = _finished_shards(jobs)
    kept = len(results)
    todo = [job for job in jobs if job.name not in results]
    paths.shards.mkdir(parents=True, exist_ok=True)
    _remove_stale_temps(paths)
    written = workers.map_unordered(cluster, write_shard, todo, paths)
    for result in progress.track(written, "shard", unit="shards", total=len(todo)):
        results[result.name] = result
    # Workers of a killed run live a moment longer than it: what they began is removed.
    _remove_stale_temps(paths)
    _remove_others(paths, {job.name for job in jobs})
    rejected = _write_tables(paths, jobs, results)
    records = sum(len(job.records) for job in jobs)
    progress.log(
        f"shard: {records - len(rejected):,} records in {len(jobs):,} shards, "
        f"{kept:,} of them kept, {len(rejected):,} images rejected"
    )
    _raise_for_rejected(params, rejected, records)


def _finished_shards(jobs: list[ShardJob]) -> dict[str, ShardResult]:
    """Returns the results of earlier runs that are still valid, by name."""
    finished = {}
    for job in jobs:
        result = _finished(job)
        if result is not None:
            finished[job.name] = result
    return finished


def _write_tables(
    paths: Paths, jobs: list[ShardJob], results: dict[str, ShardResult]
) -> list[dict[str, Any]]:
    """Writes the index and the rejected records; returns the latter."""
    labels = parquet.read(paths.sample / "vocabulary.parquet").height
    rows = []
    rejected = []
    for job in jobs:
        result = results[job.name]
        rows.append(_row(job, result, labels))
        rejected.extend(result.rejected)
    parquet.write(paths.shards / "index.parquet", rows, SHARDS, order_by="shard")
    path = paths.shards / "rejected.parquet"
    parquet.write(path, rejected, REJECTED, order_by="post_id")
    return rejected


def _raise_for_rejected(
    params: Shard, rejected: list[dict[str, Any]], records: int
) -> None:
    """Raises TooManyRejects where more than the allowed share is rejected."""
    if len(rejected) <= params.max_rejected * records:
        return
    raise TooManyRejects(
        f"{len(rejected):,} of {records:,} images cannot be decoded (limit "
        f"{params.max_rejected:.1%}), first "
        f"post {rejected[0]['post_id']}: {rejected[0]['detail']}. See "
        "data/shards/rejected.parquet, or raise shard.max_rejected."
    )


def shard_count(params: Shard, split: str, records: int) -> int:
    """Returns how many shards a split gets.

    All for training, an eighth for the others, none for an empty split.
    """
    if records == 0:
        return 0
    if split == "train":
        return params.shards
    return max(1, params.shards // 8)


def _jobs(params: Shard, paths: Paths, split: str) -> list[ShardJob]:
    manifest = parquet.read(paths.manifest / f"{split}.parquet")
    shards = shard_count(params, split, manifest.height)
    places = (paths.images, paths.shards, paths.work("shard"))
    images, folder, work = [place.absolute() for place in places]
    jobs = []
    for number, records in enumerate(_records_by_shard(manifest, shards)):
        name = f"{split}-{number:05d}-of-{shards:05d}.tfrecord"
        jobs.append(ShardJob(name, split, records, params, images, folder, work))
    return jobs


def _records_by_shard(
    manifest: pl.DataFrame, shards: int
) -> Iterator[tuple[Record, ...]]:
    """Yields the records of each shard, in their order."""
    if not shards:
        return
    place = shard_hash(manifest["md5"])
    placed = manifest.with_columns(place=place, shard=place % shards)
    ordered = placed.sort("place", "md5")
    columns = ["post_id", "md5", "variant", "pack", "label_ids"]
    for number in range(shards):
        rows = ordered.filter(pl.col("shard") == number).select(columns)
        records = []
        for post_id, md5, variant, pack, label_ids in rows.iter_rows():
            records.append(Record(post_id, md5, variant, pack, tuple(label_ids)))
        yield tuple(records)


def shard_hash(md5s: pl.Series) -> pl.Series:
    """Returns a hash per md5 that decides shard and order.

    The md5 is hashed again, since md5s come sorted.
    """
    hashes = []
    for md5 in md5s:
        digest = hashlib.blake2b(md5.encode(), digest_size=8).digest()
        hashes.append(int.from_bytes(digest, "big"))
    return pl.Series("place", hashes, dtype=pl.UInt64)


def _finished(job: ShardJob) -> ShardResult | None:
    """Returns what was written for this very job, if its bytes are still whole."""
    if not (job.note.exists() and job.path.exists()):
        return None
    try:
        note = json.loads(job.note.read_text())
    except ValueError:
        # A damaged note proves nothing about the shard: it is written again.
        return None
    if note.pop("fingerprint", None) != job.fingerprint:
        return None
    if files.sha256(job.path) != note["sha256"]:
        progress.log(
            f"shard: {job.name} is damaged (its SHA-256 is not what was written): it "
            "is written again"
        )
        return None
    return ShardResult(**note)


def _remove_stale_temps(paths: Paths) -> None:
    files.remove_stale_temps(paths.shards)
    files.remove_stale_temps(paths.work("shard"))


def _remove_others(paths: Paths, names: set[str]) -> None:
    for path in sorted(paths.shards.glob("*.tfrecord")):
        if path.name not in names:
            path.unlink()
    for note in sorted(paths.work("shard").glob("*.tfrecord.json")):
        if note.stem not in names:
            note.unlink()


def _row(job: ShardJob, written: ShardResult, labels: int) -> dict[str, object]:
    rejected = {row["post_id"] for row in written.rejected}
    ids: list[int] = []
    for record in job.records:
        if record.post_id not in rejected:
            ids.extend(record.label_ids)
    counts = np.bincount(np.array(ids, dtype=np.int64), minlength=labels).tolist()
    return {
        "shard": job.name,
        "split": job.split,
        "records": len(job.records) - len(rejected),
        "bytes": written.bytes,
        "sha256": written.sha256,
        "label_counts": counts,
    }
