"""Manifest: one row per record: identity, picture facts, label ids, split, lineage.

Reads       data/sample/posts.parquet, data/images/*, snapshot.json
Writes      data/manifest/{train,validation,test,fresh}.parquet    schemas.MANIFEST
            data/manifest/rejected.parquet                         schemas.REJECTED
            data/manifest/leakage.parquet                          schemas.LEAKAGE
Guarantees  every sampled post is in exactly one of the five files of posts; no md5
twice; of pictures that look alike
            those of validation, test or fresh are rejected, so training positives never
            shrink by it; same inputs, same bytes.
"""

import polars as pl

from pipeline import files, lineage, packs, parquet, pin, progress, workers
from pipeline.errors import CorruptFile
from pipeline.manifest import duplicates, leakage
from pipeline.manifest.hash_job import SCHEMA, HashJob, hash_images
from pipeline.params import Cluster, Manifest, Params
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.manifest import LEAKAGE, MANIFEST, REJECTED
from pipeline.schemas.reasons import DownloadFailure, RecordRejection

PICTURES_PER_JOB = 200


def run(params: Manifest, paths: Paths, *, everything: Params) -> None:
    """Joins, hashes, finds near-duplicates, writes.

    `everything` is what the lineage names.
    """
    posts = parquet.read(paths.sample / "posts.parquet")
    outcomes = parquet.read(paths.images / "outcomes.parquet")
    joined = posts.join(outcomes.drop("pack"), on="md5", how="left").with_columns(
        pl.col("outcome").fill_null("unavailable")
    )
    missing = joined.filter(pl.col("outcome") != "kept").select(
        "post_id", "md5", "split", reason="outcome", detail="detail"
    )
    facts = packs.index(paths.images)
    kept = joined.filter(pl.col("outcome") == "kept")
    if (lost := kept.join(facts, on=["md5", "variant"], how="anti")).height:
        raise CorruptFile(
            f"{paths.images} lacks {lost.height:,} pictures that its outcomes.parquet "
            f"lists, first {lost['md5'][0]}. "
            "Run python -m pipeline download, which fetches what is missing, then dvc "
            "repro."
        )
    here = kept.drop("width", "height").join(
        facts.drop("post_id"), on=["md5", "variant"], how="inner"
    )
    looked_at = here.join(
        _hashes(paths, here, everything.cluster), on="md5", how="inner"
    )
    broken = looked_at.filter(pl.col("broken").is_not_null()).select(
        "post_id",
        "md5",
        "split",
        reason=pl.lit(DownloadFailure.BROKEN_PICTURE.value),
        detail="broken",
    )
    hashed = looked_at.filter(pl.col("broken").is_null())
    rejected = duplicates.find(hashed, params.near_duplicate_distance)
    kept = hashed.join(rejected.select("post_id"), on="post_id", how="anti")
    missing = pl.concat([missing, broken])
    _write(
        paths,
        kept,
        pl.concat([missing, rejected]),
        lineage.for_manifest(pin.load(paths.pin), everything),
    )
    same = rejected.filter(
        pl.col("reason") == RecordRejection.NEAR_DUPLICATE.value
    ).height
    progress.log(
        f"manifest: {kept.height:,} records, {missing.height:,} posts without a "
        f"picture, {same:,} near-duplicates of "
        f"an earlier split and {rejected.height - same:,} repeated pictures rejected"
    )


def _hashes(paths: Paths, here: pl.DataFrame, cluster: Cluster) -> pl.DataFrame:
    """Returns a row of hashing.SCHEMA for every picture, computed in parallel."""
    jobs = []
    for (pack,), part in (
        here.select("md5", "pack")
        .unique("md5")
        .sort("md5")
        .group_by("pack", maintain_order=True)
    ):
        md5s = part["md5"].to_list()
        cuts = range(0, len(md5s), PICTURES_PER_JOB)
        jobs += [
            HashJob(paths.images, str(pack), tuple(md5s[cut : cut + PICTURES_PER_JOB]))
            for cut in cuts
        ]
    frames = list(
        progress.track(
            workers.map_unordered(cluster, hash_images, jobs),
            "manifest",
            unit="jobs",
            total=len(jobs),
        )
    )
    return pl.concat([pl.DataFrame(schema=SCHEMA), *frames])


def _write(
    paths: Paths, kept: pl.DataFrame, rejected: pl.DataFrame, lineage_text: str
) -> None:
    metadata = {lineage.KEY: lineage_text}
    with files.atomic_folder(paths.manifest) as draft:
        for split in SPLITS:
            part = kept.filter(pl.col("split") == split)
            parquet.write(
                draft / f"{split}.parquet",
                part,
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
        told = leakage.distances(
            *(kept.filter(pl.col("split") == split) for split in ("train", "test"))
        )
        parquet.write(draft / "leakage.parquet", told, LEAKAGE, metadata=metadata)
