"""Signs of problems in the data, computed from the inputs.

Missing labels, anomalies of the snapshot, test images near to training images.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.report.inputs import Inputs
from pipeline.schemas.reasons import Anomaly

ROWS = 8  # rows shown of each table; all of them are in data/sample
EXAMPLES = 3  # anomalies shown of each kind


@dataclass(frozen=True, slots=True)
class MissingImplications:
    """Implications whose implied tag is missing on some post."""

    implications: int  # in use
    incomplete: int  # of these, missing on at least one post
    rows: list[dict[str, Any]]  # the ROWS most often missing


@dataclass(frozen=True, slots=True)
class AliasesInUse:
    """Aliased names that posts still carry."""

    names: int
    rows: list[dict[str, Any]]  # the ROWS on the most posts


@dataclass(frozen=True, slots=True)
class Leakage:
    """Distances of test images to their nearest and to a random training image.

    Medians are in bits of the 64-bit hash; shares are of the test images that are as
    near as copies.
    """

    images: int  # test images compared
    nearest_median: int
    random_median: int
    nearest_share: float
    random_share: float


def missing_implications(inputs: Inputs) -> MissingImplications:
    """Returns how many implications are in use, and those most often missing."""
    table = inputs.missing_implications
    incomplete = table.filter(pl.col("lacking") > 0)
    rows = incomplete.head(ROWS).to_dicts()
    return MissingImplications(table.height, incomplete.height, rows)


def aliases_in_use(inputs: Inputs) -> AliasesInUse:
    """Returns how many aliased names posts still carry, and the commonest."""
    table = inputs.aliases_in_use
    return AliasesInUse(table.height, table.head(ROWS).to_dicts())


def pairs(inputs: Inputs) -> list[dict[str, Any]]:
    """Returns the tags that occur together most, more often than by chance.

    Without pairs of which one tag implies the other.
    """
    is_shown = ~pl.col("is_implied") & (pl.col("lift") > 1)
    return inputs.co_occurrence.filter(is_shown).head(ROWS).to_dicts()


def anomalies(inputs: Inputs) -> list[tuple[str, int, list[str]]]:
    """Returns each kind of anomaly as a sentence, how many there are, and the first."""
    by_kind: dict[str, list[str]] = {}
    table = inputs.anomalies.select("kind", "subject", "detail")
    for kind, subject, detail in table.iter_rows():
        by_kind.setdefault(kind, []).append(f"{subject}: {detail}")
    rows = []
    for anomaly in Anomaly:
        texts = by_kind.get(anomaly)
        if texts:
            rows.append((anomaly.sentence, len(texts), texts[:EXAMPLES]))
    return rows


def leakage(inputs: Inputs, near: int) -> Leakage | None:
    """Returns how near test images are to training images.

    near: bits in which the hashes of copies differ at most. None if no test image or
    no training image could be compared.
    """
    table = inputs.leakage
    images = int(table["nearest"].sum())
    if not images or not table["random"].sum():
        return None
    return Leakage(
        images=images,
        nearest_median=_median(table, "nearest"),
        random_median=_median(table, "random"),
        nearest_share=_near_share(table, "nearest", near),
        random_share=_near_share(table, "random", near),
    )


def _median(table: pl.DataFrame, name: str) -> int:
    """Returns the distance that half of the images do not exceed.

    table: schemas.LEAKAGE, ordered by distance. name: the column that counts images.
    """
    total = table[name].sum()
    cumulative = table.select("distance", images=pl.col(name).cum_sum())
    reached = cumulative.filter(2 * pl.col("images") >= total)
    return int(reached["distance"].to_list()[0])


def _near_share(table: pl.DataFrame, name: str, near: int) -> float:
    """Returns the share of the images at `near` bits or less. table: as for _median."""
    nearby = table.filter(pl.col("distance") <= near)
    return int(nearby[name].sum()) / int(table[name].sum())
