"""Shard: the manifest's records as TFRecords, ready to be trained on.

Reads       data/manifest/{train,validation,test,fresh}.parquet
            data/images/pack-*.parquet
            data/sample/vocabulary.parquet
Writes      data/shards/<split>-NNNNN-of-NNNNN.tfrecord
            data/shards/index.parquet       schemas.SHARDS
            data/shards/rejected.parquet    schemas.REJECTED
Guarantees  a record belongs to shard hash(md5) mod shards of its split, ordered by that
hash: when one post changes,
            one shard changes. Finished shards are kept between runs while their records
            and parameters stand and their bytes are whole; the others are made anew.
            Same manifest, same bytes, on any number of workers.
"""

import hashlib
import json

import numpy as np
import polars as pl

from pipeline import files, parquet, progress, workers
from pipeline.errors import TooManyRejects
from pipeline.params import Cluster, Shard
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.manifest import REJECTED
from pipeline.schemas.shards import SHARDS
from pipeline.shard.writer import Record, ShardJob, ShardResult, write_shard


def run(params: Shard, paths: Paths, *, cluster: Cluster) -> None:
    """Plans the shards, keeps those that stand, writes the others, then the index."""
    labels = parquet.read(paths.sample / "vocabulary.parquet").height
    jobs = [job for split in SPLITS for job in _jobs(params, paths, split)]
    kept = {
        job.name: finished for job in jobs if (finished := _finished(job)) is not None
    }
    todo = [job for job in jobs if job.name not in kept]
    paths.shards.mkdir(parents=True, exist_ok=True)
    for folder in (paths.shards, paths.work("shard")):
        files.remove_stale_temps(folder)
    done = progress.track(
        workers.map_unordered(cluster, write_shard, todo),
        "shard",
        unit="shards",
        total=len(todo),
    )
    written = kept | {one.name: one for one in done}
    _remove_others(paths, {job.name for job in jobs})
    rows = [_row(job, written[job.name], labels) for job in jobs]
    rejected = [row for one in written.values() for row in one.rejected]
    parquet.write(paths.shards / "index.parquet", rows, SHARDS, order_by="shard")
    parquet.write(
        paths.shards / "rejected.parquet",
        rejected,
        REJECTED,
        order_by="post_id",
    )
    records = sum(len(job.records) for job in jobs)
    progress.log(
        f"shard: {records - len(rejected):,} records in {len(jobs):,} shards, "
        f"{len(kept):,} of them kept, "
        f"{len(rejected):,} pictures rejected"
    )
    if len(rejected) > params.max_rejected * records:
        raise TooManyRejects(
            f"{len(rejected):,} of {records:,} pictures cannot be decoded (limit "
            f"{params.max_rejected:.1%}), first "
            f"post {rejected[0]['post_id']}: {rejected[0]['detail']}. See "
            "data/shards/rejected.parquet, "
            "or raise shard.max_rejected."
        )


def shard_count(params: Shard, split: str, records: int) -> int:
    """Returns how many shards a split gets.

    All for training, an eighth for the others, none for an empty split.
    """
    if records == 0:
        return 0
    return params.shards if split == "train" else max(1, params.shards // 8)


def _jobs(params: Shard, paths: Paths, split: str) -> list[ShardJob]:
    manifest = parquet.read(paths.manifest / f"{split}.parquet")
    shards = shard_count(params, split, manifest.height)
    if shards == 0:
        return []
    place = shard_hash(manifest["md5"])
    ordered = manifest.with_columns(place=place, shard=place % shards).sort(
        "place", "md5"
    )
    columns = ["post_id", "md5", "variant", "pack", "label_ids"]
    jobs = []
    for number in range(shards):
        rows = (
            ordered.filter(pl.col("shard") == number)
            .select(columns)
            .iter_rows(named=True)
        )
        records = tuple(
            Record(**{**row, "label_ids": tuple(row["label_ids"])}) for row in rows
        )
        name = f"{split}-{number:05d}-of-{shards:05d}.tfrecord"
        jobs.append(
            ShardJob(
                name,
                split,
                records,
                params,
                paths.images,
                paths.shards,
                paths.work("shard"),
            )
        )
    return jobs


def shard_hash(md5s: pl.Series) -> pl.Series:
    """Returns a hash per md5 that says shard and order.

    Its first 60 bits, hashed again, since md5s come sorted.
    """
    digests = (hashlib.blake2b(md5.encode(), digest_size=8).digest() for md5 in md5s)
    return pl.Series(
        "place", [int.from_bytes(digest, "big") for digest in digests], dtype=pl.UInt64
    )


def _finished(job: ShardJob) -> ShardResult | None:
    """Returns what was written for this very job, if its bytes are still whole."""
    if not (job.note.exists() and job.path.exists()):
        return None
    try:
        note = json.loads(job.note.read_text())
    except ValueError:
        return None  # a damaged note says nothing of the shard: it is made again
    if note.pop("fingerprint", None) != job.fingerprint:
        return None
    with job.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != note["sha256"]:
        progress.log(
            f"shard: {job.name} is damaged (its SHA-256 is not what was written): it "
            "is made again"
        )
        return None
    return ShardResult(**note)


def _remove_others(paths: Paths, names: set[str]) -> None:
    for path in sorted(paths.shards.glob("*.tfrecord")):
        if path.name not in names:
            path.unlink()
    for note in sorted(paths.work("shard").glob("*.tfrecord.json")):
        if note.stem not in names:
            note.unlink()


def _row(job: ShardJob, written: ShardResult, labels: int) -> dict[str, object]:
    rejected = {row["post_id"] for row in written.rejected}
    ids = [
        label
        for record in job.records
        if record.post_id not in rejected
        for label in record.label_ids
    ]
    counts = np.bincount(np.array(ids, dtype=np.int64), minlength=labels).tolist()
    return {
        "shard": job.name,
        "split": job.split,
        "records": len(job.records) - len(rejected),
        "bytes": written.bytes,
        "sha256": written.sha256,
        "label_counts": counts,
    }
