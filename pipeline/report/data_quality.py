"""What may be doubted, worked out of the inputs.

Labels that lack, a snapshot that is odd, a test set that leaked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.report.inputs import Inputs
from pipeline.schemas.reasons import Anomaly

ROWS = 8  # rows shown of each table; all of them are in data/sample
EXAMPLES = 3  # oddities shown of each kind
# Bits of 64 in which hashes of copies differ at most; the default of
# manifest.near_duplicate_distance
NEAR = 6

ODDITIES: Mapping[Anomaly, str] = {
    Anomaly.ALIAS_CYCLE: "aliases that lead back to the name",
    Anomaly.ALIAS_OF_TWO: "names with two aliases in force: the later one holds",
    Anomaly.ALIAS_TO_NOTHING: "aliases of a tag that the site's list lacks: its posts lose it",
    Anomaly.IMPLICATION_CYCLE: "tags that imply each other: each brings all of them",
    Anomaly.TWO_CATEGORIES: "names in two categories: not learnt",
    Anomaly.MISSING_PARENT: "posts whose parent is gone: it makes them siblings all the same",
    Anomaly.PARENT_CYCLE: "posts that are their own ancestors: all of the circle are one family",
}


@dataclass(frozen=True, slots=True)
class Leakage:
    """Bits between the hashes of test pictures and of training pictures: their nearest.

    And a random one.
    """

    judged: int
    nearest_median: int
    random_median: int
    nearest_share: float  # of the test pictures, at NEAR or less
    random_share: float


def lacking(found: Inputs) -> tuple[int, int, list[dict[str, Any]]]:
    """Returns how many implications are in use, how many lack on some post.

    And those that lack most.
    """
    some = found.lacking_implied.filter(pl.col("lacking") > 0)
    return found.lacking_implied.height, some.height, some.head(ROWS).to_dicts()


def spellings(found: Inputs) -> tuple[int, list[dict[str, Any]]]:
    """Returns how many aliased names posts still carry, and those on the most posts."""
    return found.aliased_spellings.height, found.aliased_spellings.head(ROWS).to_dicts()


def pairs(found: Inputs) -> list[dict[str, Any]]:
    """Returns the tags that go together most, more often than by chance.

    And not because one implies the other.
    """
    return (
        found.co_occurrence.filter(~pl.col("is_implied") & (pl.col("lift") > 1))
        .head(ROWS)
        .to_dicts()
    )


def oddities(found: Inputs) -> list[tuple[str, int, list[str]]]:
    """Returns each kind of oddity in words, how many there are.

    And the first of them.
    """
    told = found.oddities.select("kind", text=pl.format("{}: {}", "subject", "detail"))
    by_kind = told.group_by("kind", maintain_order=True).agg(
        pl.len(), pl.col("text").head(EXAMPLES)
    )
    rows = {kind: (count, texts) for kind, count, texts in by_kind.iter_rows()}
    return [(words, *rows[kind]) for kind, words in ODDITIES.items() if kind in rows]


def leakage(found: Inputs) -> Leakage | None:
    """Returns how near test lies to training.

    None where no test picture could be judged.
    """
    table = found.leakage
    judged = int(table["nearest"].sum())
    if not judged or not table["random"].sum():
        return None
    near = table.filter(pl.col("distance") <= NEAR)
    medians = [_median(table, name) for name in ("nearest", "random")]
    shares = [
        int(near[name].sum()) / int(table[name].sum()) for name in ("nearest", "random")
    ]
    return Leakage(judged, *medians, *shares)


def _median(table: pl.DataFrame, name: str) -> int:
    """Returns the distance that half of the pictures do not exceed.

    table: schemas.LEAKAGE.
    """
    reached = table.with_columns(so_far=pl.col(name).cum_sum()).filter(
        2 * pl.col("so_far") >= pl.col(name).sum()
    )
    return int(reached["distance"].to_list()[0])
