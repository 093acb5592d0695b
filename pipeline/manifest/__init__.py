"""Manifest: one row per record: identity, image properties, label ids, split, lineage.

Reads       data/sample/posts.parquet, data/images/*, snapshot.json
Writes      data/manifest/{train,validation,test,fresh}.parquet    schemas.MANIFEST
            data/manifest/rejected.parquet                         schemas.REJECTED
            data/manifest/leakage.parquet                          schemas.LEAKAGE
Guarantees  every sampled post is in exactly one of the five files of posts; no md5
            twice; of images that look alike, those of validation, test or fresh are
            rejected, so that training positives never shrink by it; same inputs, same
            bytes.
"""

from dataclasses import dataclass

import polars as pl

from pipeline import files, lineage, packs, parquet, pin, progress, workers
from pipeline.errors import CorruptFile
from pipeline.manifest import duplicates, leakage
from pipeline.manifest.hash_job import SCHEMA, HashJob, hash_images
from pipeline.params import Cluster, Manifest, Params
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.manifest import LEAKAGE, MANIFEST, REJECTED
from pipeline.schemas.reasons import DownloadFailure, RecordRejection

IMAGES_PER_JOB = 200


@dataclass(frozen=True, slots=True)
class _Records:
    """What becomes of the sampled posts; every post is in one of the three."""

    kept: pl.DataFrame
    missing: pl.DataFrame  # without an image that can be decoded
    duplicates: pl.DataFrame


def run(params: Manifest, paths: Paths, *, everything: Params) -> None:
    """Joins posts with images, hashes the images, finds near-duplicates, writes.

    everything: the parameters that the lineage names.
    """
    posts = _posts_with_outcome(paths)
    images = _stored_images(paths, posts)
    hashes = _hash_all(paths, images, everything.cluster)
    records = _sort_out(params, posts, images.join(hashes, on="md5", how="inner"))
    _write(paths, records, lineage.for_manifest(pin.load(paths.pin), everything))
    progress.log(f"manifest: {_summary(records)}")


def _posts_with_outcome(paths: Paths) -> pl.DataFrame:
    """Returns the sampled posts with the outcome of their download."""
    posts = parquet.read(paths.sample / "posts.parquet")
    outcomes = parquet.read(paths.images / "outcomes.parquet").drop("pack")
    joined = posts.join(outcomes, on="md5", how="left")
    return joined.with_columns(pl.col("outcome").fill_null("unavailable"))


def _stored_images(paths: Paths, posts: pl.DataFrame) -> pl.DataFrame:
    """Returns the posts whose image is in a pack, with the image's properties.

    Raises CorruptFile where a pack lacks an image that it should hold.
    """
    stored = packs.index(paths.images)
    kept = posts.filter(pl.col("outcome") == "kept")
    lost = kept.join(stored, on=["md5", "variant"], how="anti")
    if lost.height:
        raise CorruptFile(
            f"{paths.images} lacks {lost.height:,} pictures that its outcomes.parquet "
            f"lists, first {lost['md5'][0]}. "
            "Run python -m pipeline download, which fetches what is missing, then dvc "
            "repro."
        )
    # The size is that of the stored image, which may be a smaller variant.
    without_size = kept.drop("width", "height")
    stored = stored.drop("post_id")
    return without_size.join(stored, on=["md5", "variant"], how="inner")


def _hash_all(paths: Paths, images: pl.DataFrame, cluster: Cluster) -> pl.DataFrame:
    """Returns a row of hash_job.SCHEMA for every image, computed in parallel."""
    jobs = _hash_jobs(paths, images)
    results = workers.map_unordered(cluster, hash_images, jobs)
    tracked = progress.track(results, "manifest", unit="jobs", total=len(jobs))
    return pl.concat([pl.DataFrame(schema=SCHEMA), *tracked])


def _hash_jobs(paths: Paths, images: pl.DataFrame) -> list[HashJob]:
    """Returns jobs of IMAGES_PER_JOB images at most, each of one pack."""
    jobs = []
    unique = images.select("md5", "pack").unique("md5").sort("md5")
    for (pack,), part in unique.group_by("pack", maintain_order=True):
        md5s = part["md5"].to_list()
        for start in range(0, len(md5s), IMAGES_PER_JOB):
            of_job = tuple(md5s[start : start + IMAGES_PER_JOB])
            jobs.append(HashJob(paths.images, str(pack), of_job))
    return jobs


def _sort_out(params: Manifest, posts: pl.DataFrame, hashed: pl.DataFrame) -> _Records:
    """Separates the records from what is missing, broken or a duplicate."""
    not_kept = posts.filter(pl.col("outcome") != "kept")
    missing = not_kept.select(
        "post_id", "md5", "split", reason="outcome", detail="detail"
    )
    broken = hashed.filter(pl.col("broken").is_not_null()).select(
        "post_id",
        "md5",
        "split",
        reason=pl.lit(DownloadFailure.BROKEN_PICTURE.value),
        detail="broken",
    )
    decoded = hashed.filter(pl.col("broken").is_null())
    rejected = duplicates.find(decoded, params.near_duplicate_distance)
    kept = decoded.join(rejected.select("post_id"), on="post_id", how="anti")
    return _Records(kept, pl.concat([missing, broken]), rejected)


def _write(paths: Paths, records: _Records, lineage_text: str) -> None:
    metadata = {lineage.KEY: lineage_text}
    rejected = pl.concat([records.missing, records.duplicates])
    with files.atomic_folder(paths.manifest) as draft:
        parts = {}
        for split in SPLITS:
            parts[split] = records.kept.filter(pl.col("split") == split)
            parquet.write(
                draft / f"{split}.parquet",
                parts[split],
                MANIFEST,
                order_by="post_id",
                metadata=metadata,
            )
        parquet.write(
            draft / "rejected.parquet",
            rejected,
            REJECTED,
            order_by="post_id",
            metadata=metadata,
        )
        distances = leakage.distances(parts["train"], parts["test"])
        path = draft / "leakage.parquet"
        parquet.write(path, distances, LEAKAGE, metadata=metadata)


def _summary(records: _Records) -> str:
    is_near = pl.col("reason") == RecordRejection.NEAR_DUPLICATE.value
    near = records.duplicates.filter(is_near).height
    repeated = records.duplicates.height - near
    return (
        f"{records.kept.height:,} records, {records.missing.height:,} posts without a "
        f"picture, {near:,} near-duplicates of an earlier split and {repeated:,} "
        "repeated pictures rejected"
    )
