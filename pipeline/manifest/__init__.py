"""Manifest: one row per record: identity, image properties, label ids, split, lineage.

Reads       data/sample/{posts,excluded_posts,vocabulary}.parquet
            data/images/*, snapshot.json
            data/overlay.csv                                       corrections of labels
            data/snapshot/{posts,tags,aliases,implications}.parquet, for them only
Writes      data/manifest/{train,validation,test,fresh}.parquet    schemas.MANIFEST
            data/manifest/rejected.parquet                         schemas.REJECTED
            data/manifest/overlay.parquet                          schemas.OVERLAY
            data/manifest/leakage.parquet                          schemas.LEAKAGE
Guarantees  every sampled post is in exactly one of the five files of posts; no md5
            twice; of images that look alike, those of validation, test or fresh are
            rejected, so that training positives never shrink by it; same inputs, same
            bytes. The overlay corrects labels of records and never makes a record: what
            the policy excludes stays out, and what the overlay tags as such is
            rejected.
"""

from dataclasses import dataclass, replace

import polars as pl

from pipeline import files, lineage, packs, parquet, pin, progress, workers
from pipeline.errors import CorruptFile
from pipeline.manifest import duplicates, leakage, overlay
from pipeline.manifest.hash_job import SCHEMA, HashJob, hash_images
from pipeline.manifest.overlay import Overlay
from pipeline.params import Params
from pipeline.params.cluster import Cluster
from pipeline.params.manifest import Manifest
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.manifest import LEAKAGE, MANIFEST, OVERLAY, REJECTED
from pipeline.schemas.reasons import KEPT, DownloadFailure, RecordRejection

IMAGES_PER_JOB = 200


@dataclass(frozen=True, slots=True)
class _Records:
    """What becomes of the sampled posts; every post is in one of the four."""

    kept: pl.DataFrame
    missing: pl.DataFrame  # without an image that can be used
    duplicates: pl.DataFrame
    forbidden: pl.DataFrame  # by a tag of the overlay


def run(params: Manifest, paths: Paths, *, everything: Params) -> None:
    """Joins posts with images, finds near-duplicates, corrects labels, writes.

    everything: the parameters that the lineage names.
    """
    posts = _posts_with_outcome(paths)
    images = _stored_images(paths, posts)
    hashes = _hash_all(paths, images, everything.cluster)
    records = _sort_out(params, posts, images.join(hashes, on="md5", how="inner"))
    corrections = overlay.apply(paths, records.kept)
    records = _corrected(records, corrections)
    pinned = pin.load(paths.pin)
    origin = lineage.for_manifest(pinned, everything, corrections.lineage())
    _write(paths, records, corrections.rows, origin)
    progress.log(f"manifest: {_summary(records)}")
    applied = corrections.summary()
    if applied is not None:
        progress.log(f"manifest: {applied}")


def _posts_with_outcome(paths: Paths) -> pl.DataFrame:
    """Returns the sampled posts with the outcome of their download."""
    posts = parquet.read(paths.sample / "posts.parquet")
    outcomes = parquet.read(paths.images / "outcomes.parquet").drop("pack")
    joined = posts.join(outcomes, on="md5", how="left")
    return joined.with_columns(
        pl.col("outcome").fill_null(DownloadFailure.UNAVAILABLE.value)
    )


def _stored_images(paths: Paths, posts: pl.DataFrame) -> pl.DataFrame:
    """Returns the posts whose image is in a pack, with the image's properties.

    Raises CorruptFile where a pack lacks an image that it should hold.
    """
    stored = packs.index(paths.images)
    kept = posts.filter(pl.col("outcome") == KEPT)
    lost = kept.join(stored, on=["md5", "variant"], how="anti")
    if lost.height:
        raise CorruptFile(
            f"{paths.images} lacks {lost.height:,} images that its outcomes.parquet "
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
    results = workers.map_unordered(cluster, hash_images, jobs, paths)
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
            jobs.append(HashJob(paths.images.absolute(), str(pack), of_job))
    return jobs


def _sort_out(params: Manifest, posts: pl.DataFrame, hashed: pl.DataFrame) -> _Records:
    """Separates the records from what is missing, unusable or a duplicate."""
    not_kept = posts.filter(pl.col("outcome") != KEPT)
    missing = not_kept.select(
        "post_id", "md5", "split", reason="outcome", detail="detail"
    )
    is_usable = pl.col("rejection").is_null()
    unusable = hashed.filter(~is_usable).select(
        "post_id", "md5", "split", reason="rejection", detail="rejection_detail"
    )
    decoded = hashed.filter(is_usable)
    rejected = duplicates.find(decoded, params.near_duplicate_distance)
    kept = decoded.join(rejected.select("post_id"), on="post_id", how="anti")
    missing = pl.concat([missing, unusable])
    return _Records(kept, missing, rejected, rejected.clear())


def _corrected(records: _Records, corrections: Overlay) -> _Records:
    """Takes over the labels of the overlay, and rejects what it forbids."""
    forbidden = records.kept.select("post_id", "md5", "split")
    forbidden = forbidden.join(corrections.forbidden, on="post_id")
    reason = pl.lit(RecordRejection.FORBIDDEN_BY_OVERLAY.value)
    forbidden = forbidden.with_columns(reason=reason)
    columns = records.duplicates.columns
    return replace(
        records, kept=corrections.records, forbidden=forbidden.select(columns)
    )


def _write(
    paths: Paths, records: _Records, overlay_rows: pl.DataFrame, lineage_text: str
) -> None:
    metadata = {lineage.KEY: lineage_text}
    rejected = pl.concat([records.missing, records.duplicates, records.forbidden])
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
        path = draft / "overlay.parquet"
        parquet.write(path, overlay_rows, OVERLAY, metadata=metadata)
        distances = leakage.distances(parts["train"], parts["test"])
        path = draft / "leakage.parquet"
        parquet.write(path, distances, LEAKAGE, metadata=metadata)


def _summary(records: _Records) -> str:
    is_near = pl.col("reason") == RecordRejection.NEAR_DUPLICATE.value
    near = records.duplicates.filter(is_near).height
    repeated = records.duplicates.height - near
    forbidden = ""
    if records.forbidden.height:
        forbidden = f", {records.forbidden.height:,} forbidden by a tag of the overlay"
    return (
        f"{records.kept.height:,} records, {records.missing.height:,} posts without an "
        f"image, {near:,} near-duplicates of an earlier split and {repeated:,} "
        f"repeated images rejected{forbidden}"
    )
