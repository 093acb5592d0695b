"""The rules of data/shards, which is compared with data/manifest."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline import files, parquet
from pipeline.params import Params
from pipeline.paths import SPLITS, Paths
from pipeline.validate import columns, shard_records
from pipeline.validate.checks import (
    Check,
    MeasuredTable,
    RowChecks,
    between,
    columns_equal,
    findings_table,
    matches,
    no_violations,
)
from pipeline.validate.label_counts import (
    COUNTED_SPLITS,
    count_positives,
    rename_splits,
    with_counts,
)
from pipeline.validate.violations import duplicates, violations

SHA256 = "^[0-9a-f]{64}$"
SHARD = r"^(?:train|validation|test|fresh)-\d{5}-of-\d{5}\.tfrecord$"

DAMAGED = -1
"""Records of a damaged file: no index says so, so that the gate shows the shard."""

RECORD_TYPES = {
    "shard": pl.String,
    "split": pl.String,
    "post_id": pl.Int64,
    "md5": pl.String,
}

ON_DISK_TYPES = {
    "sha256_on_disk": pl.String,
    "bytes_on_disk": pl.Int64,
    "records_on_disk": pl.Int64,
    "split_of_name": pl.String,
}


def row_checks(_params: Params, labels: int, /) -> RowChecks:
    """Returns the checks of single rows."""
    return {"index": list(_index(labels)), "rejected": list(columns.rejected())}


def _index(labels: int) -> Iterator[Check]:
    yield matches("shard", SHARD, "shards are named by split and number")
    yield columns.split_name()
    yield between("records", "record counts are not negative", low=0)
    yield matches("sha256", SHA256, "sha256 is 64 lower-case hex digits")
    description = "there is a count per tag of the vocabulary"
    yield between("label_counts:length", description, low=labels, high=labels)
    yield between("label_counts:min", "counts are not negative", low=0)


@dataclass(frozen=True, slots=True)
class _Shards:
    """The shards, and the manifest that they were made from."""

    listed: pl.DataFrame  # shard: the files in the folder
    index: pl.DataFrame
    index_on_disk: pl.DataFrame  # the index beside what each file holds
    records: pl.DataFrame  # shard, split, post_id, md5 of every record in the files
    rejected: pl.DataFrame  # post_id, md5, split
    manifest: pl.LazyFrame
    identities: pl.DataFrame  # post_id, md5, split of the manifest

    @classmethod
    def read(cls, paths: Paths) -> "_Shards":
        index = parquet.read(paths.shards / "index.parquet")
        rejected = parquet.read(
            paths.shards / "rejected.parquet", columns=["post_id", "md5", "split"]
        )
        splits = [paths.manifest / f"{split}.parquet" for split in SPLITS]
        manifest = pl.concat([pl.scan_parquet(path) for path in splits])
        identities = manifest.select("post_id", "md5", "split")
        index_on_disk, records = _read_files(paths.shards, index)
        names = sorted(path.name for path in paths.shards.glob("*.tfrecord"))
        return cls(
            listed=pl.DataFrame({"shard": names}, schema={"shard": pl.String}),
            index=index,
            index_on_disk=index_on_disk,
            records=records,
            rejected=rejected,
            manifest=manifest,
            identities=identities.collect(engine="streaming"),
        )


def _read_files(folder: Path, index: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the index with what each file holds, and the records of all files."""
    facts = []
    records = []
    for shard, split in index.select("shard", "split").iter_rows():
        path = folder / shard
        posts, count = _read_records(path)
        for post_id, md5 in posts:
            records.append((shard, split, post_id, md5))
        exists = path.is_file()
        digest = files.sha256(path) if exists else "not there"
        size = path.stat().st_size if exists else 0
        facts.append((digest, size, count, shard.partition("-")[0]))
    on_disk = pl.DataFrame(facts, schema=ON_DISK_TYPES, orient="row")
    beside = index.drop("label_counts").hstack(on_disk)
    return beside, pl.DataFrame(records, schema=RECORD_TYPES, orient="row")


def _read_records(path: Path) -> tuple[list[tuple[int, str]], int]:
    """Returns post_id and md5 of the records of a shard, and their number."""
    if not path.is_file():
        return [], 0
    try:
        posts = list(shard_records.identities(path))
    except shard_records.Damaged:
        return [], DAMAGED
    return posts, len(posts)


def measure(_params: Params, paths: Paths, /) -> list[MeasuredTable]:
    """Measures the shards against the manifest."""
    shards = _Shards.read(paths)
    return [
        findings_table(_findings(shards)),
        MeasuredTable("shards", shards.index_on_disk, list(_file_checks())),
        _totals(shards),
        _label_counts(shards, paths),
    ]


def _findings(shards: _Shards) -> Iterator[Check]:
    """Checks that the records of the files are those of the manifest."""
    records = shards.records
    unlisted = shards.listed.join(shards.index, on="shard", how="anti")
    found = violations(unlisted, shards.listed.height)
    description = "every shard on disk is in the index"
    yield no_violations("unlisted_shard", description, found)

    identity = ["post_id", "md5", "split"]
    unknown = records.join(shards.identities, on=identity, how="anti")
    found = violations(unknown, records.height)
    description = (
        "no record is left of a post that the manifest no longer has (policy rule 1)"
    )
    yield no_violations("not_in_manifest", description, found)

    expected = shards.identities.join(shards.rejected, on="post_id", how="anti")
    lost = expected.join(records, on="post_id", how="anti")
    found = violations(lost, expected.height)
    description = "every record of the manifest is in a shard or rejected with a reason"
    yield no_violations("lost_record", description, found)

    found = duplicates(records.lazy(), "post_id", "shard", records.height)
    yield no_violations("record_twice", "a record is in one shard, once", found)


def _file_checks() -> Iterator[Check]:
    description = (
        "the file has the checksum of the index; else delete it and run dvc repro"
    )
    yield columns_equal("sha256", "sha256_on_disk", description)
    description = "the file has the size of the index"
    yield columns_equal("bytes", "bytes_on_disk", description)
    description = "the file holds as many whole records as the index says"
    yield columns_equal("records", "records_on_disk", description)
    description = "the split is that of the shard's name"
    yield columns_equal("split", "split_of_name", description)


def _totals(shards: _Shards) -> MeasuredTable:
    """Returns a row per split: records and rejects beside those of the manifest."""
    rows = []
    for split in SPLITS:
        is_in_split = pl.col("split") == split
        records = int(shards.index.filter(is_in_split)["records"].sum())
        rejected = shards.rejected.filter(is_in_split).height
        row = {
            "split": split,
            "records_and_rejected": records + rejected,
            "manifest_records": shards.identities.filter(is_in_split).height,
        }
        rows.append(row)
    description = "records and rejects add up to the manifest"
    check = columns_equal("records_and_rejected", "manifest_records", description)
    return MeasuredTable("splits", pl.DataFrame(rows), [check])


def _label_counts(shards: _Shards, paths: Paths) -> MeasuredTable:
    """Returns a row per tag: its records by the index, and by the manifest."""
    vocabulary = parquet.read(
        paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
    )
    rejected = shards.rejected.lazy()
    kept = shards.manifest.join(rejected, on="post_id", how="anti")
    in_manifest = rename_splits(count_positives(kept), "manifest_{}")
    in_index = _sum_label_counts(shards.index)
    tags = vocabulary.join(in_index, on="label_id", how="left")
    checks = []
    for split in COUNTED_SPLITS:
        description = f"{split} label counts are those of the manifest less rejects"
        checks.append(columns_equal(split, f"manifest_{split}", description))
    return MeasuredTable("tags", with_counts(tags, in_manifest), checks)


def _sum_label_counts(index: pl.DataFrame) -> pl.DataFrame:
    """Returns label_id and its records in every counted split, summed over shards."""
    length = pl.col("label_counts").list.len()
    numbered = index.select(
        "split", "label_counts", label_id=pl.int_ranges(0, length)
    ).explode("label_counts", "label_id")
    sums = []
    for split in COUNTED_SPLITS:
        counts = pl.col("label_counts").filter(pl.col("split") == split)
        sums.append(counts.sum().alias(split))
    return numbered.group_by(pl.col("label_id").cast(pl.Int32)).agg(sums)
