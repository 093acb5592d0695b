"""The rules of the tables of data/sample that explain it: strategies, label noise."""

from collections.abc import Iterator

import polars as pl

from pipeline import parquet
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.schemas.reasons import Anomaly
from pipeline.validate.checks import (
    Check,
    MeasuredTable,
    RowChecks,
    between,
    columns_equal,
    matches,
    no_violations,
    one_of,
)
from pipeline.validate.columns import NAME, ONE
from pipeline.validate.label_counts import COUNTED_SPLITS
from pipeline.validate.violations import violations

STRATEGIES = ("cover", "quota", "natural", "sample", "all_candidates")
"""Rows of strategies.parquet."""


def row_checks() -> RowChecks:
    """Returns the checks of single rows."""
    return {
        "strategies": list(_strategies()),
        "missing_implications": list(_missing_implications()),
        "aliases_in_use": list(_aliases_in_use()),
        "co_occurrence": list(_co_occurrence()),
        "anomalies": list(_anomalies()),
    }


def _strategies() -> Iterator[Check]:
    description = "the row is of a strategy, the sample or all candidates"
    yield one_of("strategy", STRATEGIES, description)
    yield between("posts", "posts are counted", low=0)
    yield between("min_positives_reached", "positives are counted", low=0)
    yield between(
        "tags_below_target", "tags that miss their positives are counted", low=0
    )
    description = "a distance between shares is from 0 to 1"
    yield between("total_variation", description, low=0, high=ONE)


def _missing_implications() -> Iterator[Check]:
    yield matches("antecedent", NAME, "the antecedent is a tag name")
    yield matches("consequent", NAME, "the consequent is a tag name")
    yield between("posts", "every implication listed occurs on a post", low=1)
    yield between("share", "the share is from 0 to 1", low=0, high=1)


def _aliases_in_use() -> Iterator[Check]:
    yield matches("name", NAME, "the spelling is a tag name")
    yield matches("stands_for", NAME, "what it stands for is a tag name")
    yield between("posts", "every alias listed occurs on a post", low=1)


def _co_occurrence() -> Iterator[Check]:
    yield between("posts", "posts with both tags are counted", low=0)
    yield between("expected", "the expected count is not negative", low=0)
    yield between("lift", "lift is not negative", low=0)


def _anomalies() -> Iterator[Check]:
    yield one_of("kind", list(Anomaly), "the kind is a value of Anomaly")
    yield matches("subject", r"\S", "every anomaly names its tag or post")
    yield matches("detail", r"\S", "every anomaly has a detail")


def findings(params: Params, paths: Paths, vocabulary: pl.DataFrame) -> Iterator[Check]:
    """Checks that no row is missing or too many. vocabulary: name."""
    strategies = parquet.read(
        paths.sample / "strategies.parquet", columns=["strategy", "is_chosen"]
    )
    expected = _expected_strategies(params)
    same = ["strategy", "is_chosen"]
    missing = expected.join(strategies, on=same, how="anti")
    repeated = strategies.filter(pl.col("strategy").is_duplicated())
    found = violations(pl.concat([missing, repeated]), expected.height)
    description = (
        "every strategy is compared once, and sample.strategy is marked as the "
        "chosen one"
    )
    yield no_violations("strategy_missing", description, found)

    pairs = parquet.read(
        paths.sample / "co_occurrence.parquet", columns=["first", "second"]
    )
    names = vocabulary["name"].implode()
    are_known = pl.all_horizontal(pl.col("first", "second").is_in(names))
    are_same = pl.col("first") == pl.col("second")
    found = violations(pairs.filter(~are_known | are_same), pairs.height)
    description = "pairs that go together are two tags of the vocabulary"
    yield no_violations("pair_unknown", description, found)


def _expected_strategies(params: Params) -> pl.DataFrame:
    """Returns strategy and is_chosen of every row that strategies.parquet must have."""
    chosen = (params.sample.strategy, "sample")
    flags = [name in chosen for name in STRATEGIES]
    return pl.DataFrame({"strategy": STRATEGIES, "is_chosen": flags})


def chosen(
    paths: Paths, posts_per_split: dict[str, int], counted: pl.DataFrame
) -> MeasuredTable:
    """Returns the sample's row of strategies.parquet beside what was counted.

    counted: counted_train, a row per tag of the sample.
    """
    strategies = parquet.read(paths.sample / "strategies.parquet")
    of_sample = strategies.filter(pl.col("strategy") == "sample")
    posts = sum(posts_per_split[split] for split in COUNTED_SPLITS)
    positives = counted["counted_train"].cast(pl.Float64)
    rows = of_sample.select(
        "posts",
        "min_positives_reached",
        "median_positives",
        counted_posts=pl.lit(posts, pl.Int64),
        counted_min_positives_reached=pl.lit(positives.min(), pl.Int64),
        counted_median_positives=pl.lit(positives.median(), pl.Float64),
    )
    return MeasuredTable("chosen", rows, list(_chosen_checks()))


def _chosen_checks() -> Iterator[Check]:
    source = "are what strategies.parquet says of the sample"
    description = f"the posts that were written {source}"
    yield columns_equal("posts", "counted_posts", description)
    description = f"the training positives of the tag that has fewest {source}"
    yield columns_equal(
        "min_positives_reached", "counted_min_positives_reached", description
    )
    description = f"the training positives of the tag in the middle {source}"
    yield columns_equal("median_positives", "counted_median_positives", description)
