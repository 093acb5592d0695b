"""What the model was trained on, in numbers, as both cards say it.

Reads       data/snapshot/posts.parquet        how many posts there are
            data/sample/                       vocabulary, and what was left out and why
            data/images/takedowns.parquet      schemas.TAKEDOWNS
            data/manifest/                     records by split, what was rejected
            data/shards/rejected.parquet       images that could not be decoded
            data/mining/label_noise.parquet    where there is one: wrong labels
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipeline import parquet
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.reasons import (
    DownloadFailure,
    PostExclusion,
    Reason,
    RecordRejection,
    TagExclusion,
    Takedown,
)

RULES = {
    PostExclusion.DELETED: 1,
    PostExclusion.FORBIDDEN_YOUNG: 2,
    PostExclusion.OPTED_OUT: 3,
    PostExclusion.WITHHELD: 4,
    PostExclusion.NOT_STILL: 5,
}
"""Rules of pipeline/policy.py that exclude posts; the other reasons are parameters."""

NOISIEST = 5
"""Tags that are named as those with most missing labels."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many posts or tags went for a reason. text: its sentence."""

    reason: str
    text: str
    count: int


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """The records of a split, and the years their posts were uploaded in."""

    name: str
    records: int
    first_year: int | None
    last_year: int | None
    ratings: dict[str, int]


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """What the mining stage estimates of the labels.

    missing: share of each tag's positives without the label, of the tag in the middle.
    wrong: the same of labels that are wrong; None where it is not known. noisiest: tags
    with most missing, and their shares. tags: for which there is an estimate.
    """

    tags: int
    missing: float
    wrong: float | None
    noisiest: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Leakage:
    """Near duplicates across splits.

    images: test images that were compared with all of training. near: those whose
    nearest training image differs in at most `distance` bits of the perceptual hash.
    by_chance: those whose randomly drawn one does.
    """

    images: int
    distance: int
    near: int
    by_chance: int


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Numbers about the data, each from the file that has it.

    Labels are of all records. positives: training records with the rarest tag, with
    that in the middle and with the commonest.
    """

    snapshot_posts: int
    excluded_posts: list[Counted]
    sampled: int
    lost: list[Counted]
    splits: list[SplitFacts]
    tags_by_category: dict[str, int]
    excluded_tags: list[Counted]
    positives: tuple[int, int, int]
    given_labels: int
    all_labels: int
    takedowns: list[Counted]
    leakage: Leakage
    label_noise: LabelNoise | None

    @property
    def candidates(self) -> int:
        """Posts of the snapshot that may be sampled."""
        return self.snapshot_posts - sum(each.count for each in self.excluded_posts)

    @property
    def records(self) -> int:
        """Records of all splits."""
        return sum(split.records for split in self.splits)

    def of_rule(self, number: int) -> int:
        """Returns the posts that a rule of the policy excluded."""
        excluded = 0
        for each in self.excluded_posts:
            if RULES.get(PostExclusion(each.reason)) == number:
                excluded += each.count
        return excluded

    @classmethod
    def read(cls, paths: Paths) -> "DataFacts":
        """Reads and counts."""
        vocabulary = parquet.read(paths.sample / "vocabulary.parquet")
        broken = parquet.read(paths.shards / "rejected.parquet")
        rejected = parquet.read(paths.manifest / "rejected.parquet")
        records = _records(paths, broken)
        lost = pl.concat([rejected["reason"], broken["reason"]])
        excluded_posts = _reasons(paths.sample / "excluded_posts.parquet")
        excluded_tags = _reasons(paths.sample / "excluded_tags.parquet")
        takedowns = _reasons(paths.images / "takedowns.parquet")
        return cls(
            snapshot_posts=_rows(paths.snapshot / "posts.parquet"),
            excluded_posts=_counted(excluded_posts, PostExclusion),
            sampled=_rows(paths.sample / "posts.parquet"),
            lost=_counted(lost, RecordRejection, DownloadFailure),
            splits=list(_splits(records)),
            tags_by_category=_by_name(vocabulary["category"]),
            excluded_tags=_counted(excluded_tags, TagExclusion),
            positives=_positives(records, vocabulary.height),
            given_labels=_labels(records, "explicit_label_ids"),
            all_labels=_labels(records, "label_ids"),
            takedowns=_counted(takedowns, Takedown, PostExclusion),
            leakage=_leakage(paths.manifest / "leakage.parquet"),
            label_noise=_label_noise(paths.mining / "label_noise.parquet"),
        )


def _rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def _reasons(path: Path) -> pl.Series:
    return parquet.read(path, columns=["reason"])["reason"]


def _counted(reasons: pl.Series, *kinds: type[Reason]) -> list[Counted]:
    """Returns the reasons that occur, in the order of their kinds."""
    counts = _by_name(reasons)
    found = []
    for kind in kinds:
        for reason in kind:
            count = counts.pop(reason.value, 0)
            if count:
                found.append(Counted(reason.value, reason.sentence, count))
    return found


def _by_name(values: pl.Series) -> dict[Any, int]:
    """Returns how often each value occurs, the commonest first."""
    table = values.alias("name").value_counts(name="count")
    ordered = table.sort("count", "name", descending=[True, False])
    return dict(ordered.iter_rows())


def _records(paths: Paths, broken: pl.DataFrame) -> pl.DataFrame:
    """Returns the records of all splits without those that are in no shard."""
    columns = [
        "post_id",
        "rating",
        "created_at",
        "label_ids",
        "explicit_label_ids",
    ]
    tables = []
    for split in SPLITS:
        path = paths.manifest / f"{split}.parquet"
        if path.is_file():
            table = parquet.read(path, columns=columns)
            tables.append(table.with_columns(split=pl.lit(split)))
    return pl.concat(tables).join(broken, on="post_id", how="anti")


def _splits(records: pl.DataFrame) -> Iterator[SplitFacts]:
    """Yields the splits that have records, in their order."""
    for name in SPLITS:
        split = records.filter(split=name)
        if split.is_empty():
            continue
        years = split["created_at"].dt.year().drop_nulls().sort().to_list()
        yield SplitFacts(
            name=name,
            records=split.height,
            first_year=years[0] if years else None,
            last_year=years[-1] if years else None,
            ratings=_by_name(split["rating"]),
        )


def _positives(records: pl.DataFrame, tags: int) -> tuple[int, int, int]:
    """Returns the training records with the rarest, the middle, the commonest tag."""
    labels = records.filter(split="train")["label_ids"].explode().drop_nulls()
    known = sorted(_by_name(labels).values())
    counts = [0] * (tags - len(known)) + known
    return counts[0], counts[tags // 2], counts[-1]


def _labels(records: pl.DataFrame, column: str) -> int:
    return int(records[column].list.len().sum())


NEAR = 10
"""Bits of the perceptual hash: two images that differ in no more look much alike."""


def _leakage(path: Path) -> Leakage:
    table = parquet.read(path)
    near = table.filter(pl.col("distance") <= NEAR)
    return Leakage(
        images=int(table["nearest"].sum()),
        distance=NEAR,
        near=int(near["nearest"].sum()),
        by_chance=int(near["random"].sum()),
    )


def _label_noise(path: Path) -> LabelNoise | None:
    """Returns what is known of the labels; None where nothing was estimated."""
    if not path.is_file():
        return None
    known = parquet.read(path).filter(pl.col("missing_share").is_not_null())
    if known.is_empty():
        return None
    ordered = known.sort("missing_share", "name", descending=[True, False])
    shares = ordered.select("name", "missing_share").head(NOISIEST)
    wrong = known["wrong_share"].drop_nulls()
    return LabelNoise(
        tags=known.height,
        missing=_middle(known["missing_share"]),
        wrong=_middle(wrong) if wrong.len() else None,
        noisiest=list(shares.iter_rows()),
    )


def _middle(values: pl.Series) -> float:
    middle = values.median()
    return float(middle) if isinstance(middle, int | float) else float("nan")
