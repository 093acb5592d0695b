"""The rules of data/manifest, which is compared with data/sample.

The packs of images are compared with the takedowns and with the snapshot.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from e6tag import image_files
from pipeline import parquet
from pipeline.params import Params
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.reasons import OverlayOutcome
from pipeline.validate import columns, dataset_files, overlaid_labels
from pipeline.validate.checks import (
    Check,
    MeasuredTable,
    RowChecks,
    between,
    columns_equal,
    findings_table,
    matches,
    no_violations,
    one_of,
)
from pipeline.validate.label_counts import (
    count_positives,
    rename_splits,
    with_counts,
)
from pipeline.validate.policy_checks import IDENTITY, Relations, permitted_md5s
from pipeline.validate.sample import ratings
from pipeline.validate.violations import (
    Violations,
    duplicates,
    in_several_splits,
    violations,
    with_previous,
)

DISTANCES = 65  # rows of leakage.parquet: hashes have 64 bits

MAX_REJECTED = 0.10
"""Share of the sampled posts. With more rejects, the manifest differs too much from the
sample that the parameters ask for."""

VARIANTS = ("original", "sample", "preview")

COPIED = (
    "change_seq",
    "md5",
    "rating",
    "created_at",
    "group_id",
    "split",
)
"""Columns that the manifest copies from the sample, as it is."""


def row_checks(params: Params, labels: int, /) -> RowChecks:
    """Returns the checks of single rows."""
    checks = {}
    for split in SPLITS:
        checks[split] = list(_records(split, params, labels))
    checks["rejected"] = list(columns.rejected())
    checks["overlay"] = list(_overlay(labels))
    checks["leakage"] = list(_leakage())
    return checks


def _records(split: str, params: Params, labels: int) -> Iterator[Check]:
    yield from columns.identity()
    yield ratings(params)
    yield one_of("split", [split], "the split is that of the file")
    yield matches("pack", r"^pack-.+\.parquet$", "the pack is named")
    yield one_of("variant", VARIANTS, "the variant is one of the three")
    yield one_of("format", image_files.FORMATS, "only still images (policy rule 5)")
    yield from columns.size()
    description = "images are within download.max_bytes"
    yield between("bytes", description, low=1, high=params.download.max_bytes)
    yield from columns.labels_and_given(labels)


def _overlay(labels: int) -> Iterator[Check]:
    yield one_of("outcome", OverlayOutcome, "the outcome is a value of OverlayOutcome")
    yield columns.label_id(labels)


def _leakage() -> Iterator[Check]:
    description = "two hashes differ in 0 to 64 bits"
    yield between("distance", description, low=0, high=DISTANCES - 1)
    yield between("nearest", "test images are counted", low=0)
    yield between("random", "test images are counted", low=0)


@dataclass(frozen=True, slots=True)
class _Manifest:
    """The manifest and the posts that it was made from."""

    splits: dict[str, pl.LazyFrame]
    records: pl.LazyFrame  # of all splits
    rejected: pl.LazyFrame
    posts: pl.LazyFrame  # of the sample
    rows: dict[str, int]  # by stem
    kept: int  # records
    sampled: int  # posts of the sample

    @classmethod
    def scan(cls, paths: Paths) -> "_Manifest":
        splits = {}
        for split in SPLITS:
            splits[split] = pl.scan_parquet(paths.manifest / f"{split}.parquet")
        rows = dataset_files.rows_by_stem("manifest", paths)
        return cls(
            splits=splits,
            records=pl.concat(splits.values()),
            rejected=pl.scan_parquet(paths.manifest / "rejected.parquet"),
            posts=pl.scan_parquet(paths.sample / "posts.parquet"),
            rows=rows,
            kept=sum(rows[split] for split in SPLITS),
            sampled=dataset_files.rows_by_stem("sample", paths)["posts"],
        )


def measure(params: Params, paths: Paths, /) -> list[MeasuredTable]:
    """Measures the manifest against the sample, and the packs against the snapshot."""
    manifest = _Manifest.scan(paths)
    findings = [
        *_same_posts_as_sample(manifest),
        *overlaid_labels.checks(manifest.records, manifest.posts, paths),
        *_uniqueness(manifest),
        *_takedowns(manifest, paths),
    ]
    return [
        findings_table(findings),
        _figures(manifest),
        _positives(manifest, params, paths),
        _lineage(paths),
        _distances(paths),
    ]


def _same_posts_as_sample(manifest: _Manifest) -> Iterator[Check]:
    """Checks that every sampled post is a record or rejected, and no other is."""
    records = manifest.records
    posts = manifest.posts
    unknown = records.select(IDENTITY).join(posts, on="post_id", how="anti")
    found = violations(unknown, manifest.kept)
    description = (
        "every record is a sampled post, so that what the policy refused is not here"
    )
    yield no_violations("not_in_sample", description, found)

    found = violations(_differing_records(records, posts), manifest.kept)
    description = "md5, change, rating, split and group are those of the sample"
    yield no_violations("differs_from_sample", description, found)

    unrecorded = posts.select(IDENTITY).join(records, on="post_id", how="anti")
    lost = unrecorded.join(manifest.rejected, on="post_id", how="anti")
    found = violations(lost, manifest.sampled)
    description = "every sampled post is in a split or rejected with a reason"
    yield no_violations("lost_post", description, found)

    ids = records.select("post_id")
    both = manifest.rejected.join(ids, on="post_id", how="semi")
    found = violations(both, manifest.rows["rejected"])
    description = "no post is both in a split and rejected"
    yield no_violations("kept_and_rejected", description, found)


def _differing_records(records: pl.LazyFrame, posts: pl.LazyFrame) -> pl.LazyFrame:
    """Returns records that do not agree with the sample.

    Columns: post_id, md5, and `differs`, the name of the first column that differs.
    """
    left = records.select("post_id", *COPIED)
    right = posts.select("post_id", *COPIED)
    pairs = left.join(right, on="post_id", suffix="_in_sample")
    names = []
    for name in COPIED:
        is_different = pl.col(name) != pl.col(f"{name}_in_sample")
        names.append(pl.when(is_different).then(pl.lit(name)))
    first = pl.coalesce(names)
    return pairs.select("post_id", "md5", differs=first).drop_nulls("differs")


def _uniqueness(manifest: _Manifest) -> Iterator[Check]:
    """Checks that records are unique, ordered, and that no split repeats another."""
    records = manifest.records
    kept = manifest.kept
    found = duplicates(records, "post_id", "split", kept)
    yield no_violations("post_id_twice", "a post is in the manifest once", found)

    found = in_several_splits(records, "md5", kept)
    description = "no image (md5) is in two splits"
    yield no_violations("md5_in_two_splits", description, found)

    found = duplicates(records, "md5", "post_id", kept)
    description = "an image (md5) is in the manifest once"
    yield no_violations("md5_twice", description, found)

    found = in_several_splits(records, "group_id", kept)
    description = "no family of parents and children spans splits"
    yield no_violations("group_in_two_splits", description, found)

    # A warning: flat drawings on plain grounds share hashes by the dozen. `manifest`
    # compares thumbnails as well.
    found = in_several_splits(records, "phash", kept)
    name = "same_hash_in_two_splits"
    description = "images of two splits have different perceptual hashes"
    yield no_violations(name, description, found, severity="warning")

    found = _out_of_order(manifest)
    yield no_violations("out_of_order", "records are ordered by post_id", found)


def _out_of_order(manifest: _Manifest) -> Violations:
    """Counts records whose id is not greater than the one before, in each split."""
    wrong = []
    for records in manifest.splits.values():
        pairs = with_previous(records, "post_id", "split")
        wrong.append(pairs.filter(pl.col("post_id") <= pl.col("previous")))
    return violations(pl.concat(wrong), manifest.kept)


def _takedowns(manifest: _Manifest, paths: Paths) -> Iterator[Check]:
    """Checks records and packs for images that were taken down or are forbidden."""
    takedowns = pl.scan_parquet(paths.images / "takedowns.parquet")
    reasons = takedowns.select("md5", "reason")
    taken = manifest.records.select(IDENTITY).join(reasons, on="md5")
    found = violations(taken, manifest.kept)
    description = "no record is of an image that was taken down (policy rule 1)"
    yield no_violations("taken_down", description, found)

    packed = _packed_images(paths)
    images = packed.lazy()
    found = violations(images.join(reasons, on="md5"), packed.height)
    description = "no pack holds an image that was taken down (policy rule 1)"
    yield no_violations("pack_taken_down", description, found)

    posts = pl.scan_parquet(paths.snapshot / "posts.parquet")
    permitted = permitted_md5s(posts, images.select("md5"), Relations.read(paths))
    found = violations(images.join(permitted, on="md5", how="anti"), packed.height)
    description = (
        "every image in the packs is one that the snapshot permits today "
        "(policy rules 1 to 5)"
    )
    yield no_violations("pack_forbidden", description, found)


def _packed_images(paths: Paths) -> pl.DataFrame:
    """Returns md5, post_id and pack of every image in the packs."""
    packs = []
    for path in sorted(paths.images.glob("pack-*.parquet")):
        pack = pl.scan_parquet(path)
        packs.append(pack.select("md5", "post_id", pack=pl.lit(path.name)))
    if not packs:
        schema = {"md5": pl.String, "post_id": pl.Int64, "pack": pl.String}
        return pl.DataFrame(schema=schema)
    return pl.concat(packs).collect()


def _figures(manifest: _Manifest) -> MeasuredTable:
    """Measures the records of each split and the share of rejects."""
    figures: dict[str, float] = {}
    for split in SPLITS:
        figures[split] = manifest.rows[split]
    rejected = manifest.rows["rejected"]
    figures["rejected_share"] = rejected / manifest.sampled if manifest.sampled else 0.0
    return MeasuredTable("figures", pl.DataFrame([figures]), list(_figure_checks()))


def _figure_checks() -> Iterator[Check]:
    yield between("train", "there are training records", low=1)
    remedy = "else raise sample.min_eval_positives or sample.size"
    description = f"there are validation records; {remedy}"
    yield between("validation", description, low=1)
    yield between("test", f"there are test records; {remedy}", low=1)
    description = f"at most {MAX_REJECTED:.0%} were rejected"
    name = "rejected_share"
    yield between(name, description, high=MAX_REJECTED, severity="warning")


def _positives(manifest: _Manifest, params: Params, paths: Paths) -> MeasuredTable:
    """Counts the positives of every tag in every split."""
    vocabulary = parquet.read(
        paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
    )
    counted = rename_splits(count_positives(manifest.records), "{}_positives")
    rows = with_counts(vocabulary, counted)
    return MeasuredTable("tags", rows, list(_positive_checks(params)))


def _positive_checks(params: Params) -> Iterator[Check]:
    most = params.sample.min_positives
    few = params.sample.min_eval_positives
    promise = "after rejects every tag still has its"
    remedy = (
        "positives; else raise sample.reserve beyond the share of images that were lost"
    )
    description = f"{promise} training {remedy}"
    yield between("train_positives", description, low=most)
    # Warnings: near-duplicates among the evaluation images are rejected, and the more
    # of them a site has, the more are rejected.
    name = "validation_positives"
    description = f"{promise} validation {remedy}"
    yield between(name, description, low=few, severity="warning")
    description = f"{promise} test {remedy}"
    yield between("test_positives", description, low=few, severity="warning")


def _lineage(paths: Paths) -> MeasuredTable:
    """Returns a row per file: does it carry the lineage, the same as the others?"""
    texts = {}
    for stem in dataset_files.PARQUET["manifest"]:
        name = f"{stem}.parquet"
        texts[name] = parquet.metadata(paths.manifest / name).get("lineage", "")
    shared = next(filter(None, texts.values()), "")
    rows = []
    for name, text in texts.items():
        rows.append({"file": name, "lineage": _lineage_state(text, shared)})
    description = "every file carries the lineage, the same in all"
    check = one_of("lineage", ["complete"], description)
    return MeasuredTable("lineage", pl.DataFrame(rows), [check])


def _lineage_state(text: str, shared: str) -> str:
    if not text:
        return "missing"
    return "complete" if text == shared else "another one"


def _distances(paths: Paths) -> MeasuredTable:
    """Sums leakage.parquet."""
    leakage = parquet.read(paths.manifest / "leakage.parquet")
    distances = pl.col("distance").n_unique().alias("distances")
    rows = leakage.select(distances, pl.col("nearest", "random").sum())
    return MeasuredTable("distances", rows, list(_distance_checks()))


def _distance_checks() -> Iterator[Check]:
    description = "every distance from 0 to 64 bits has its row, once"
    yield between("distances", description, low=DISTANCES, high=DISTANCES)
    description = "test images were compared with training images"
    yield between("nearest", description, low=1)
    description = "each has a nearest and a random training image"
    yield columns_equal("nearest", "random", description)
