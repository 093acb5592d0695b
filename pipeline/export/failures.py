"""Where the model does worst: slices of the test images, and tags.

Reads       data/evaluation/slices.parquet     where there is one
            data/evaluation/per_tag.parquet    schemas.PER_TAG
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import parquet
from pipeline.paths import Paths

SHOWN = 8
"""Slices and tags that are listed: those that go least of the way from their baseline
to 1. The bare difference would name the commonest tags, which can gain little."""


def _way_gone(value: str, baseline: str) -> pl.Expr:
    """Returns the share of the way from a baseline to 1, null where it is 1."""
    way = 1 - pl.col(baseline)
    return pl.when(way > 0).then((pl.col(value) - pl.col(baseline)) / way)


_GAIN = _way_gone("macro_map", "macro_map_baseline")
_TAG_GAIN = _way_gone("average_precision", "baseline_average_precision")


@dataclass(frozen=True, slots=True)
class Failures:
    """The worst slices and tags, the worst first.

    slices: rows of slices.parquet; None where there is no such file. unmeasured: how
    many slices have no macro mAP, by the reason that the file gives. tags: rows of
    per_tag.parquet.
    """

    slices: list[dict[str, Any]] | None
    unmeasured: dict[str, int]
    tags: list[dict[str, Any]]

    @classmethod
    def read(cls, paths: Paths) -> "Failures":
        """Reads both files."""
        slices, unmeasured = _worst_slices(paths.evaluation / "slices.parquet")
        per_tag = parquet.read(paths.evaluation / "per_tag.parquet")
        return cls(slices, unmeasured, _worst_tags(per_tag))


def _worst_slices(path: Path) -> tuple[list[dict[str, Any]] | None, dict[str, int]]:
    if not path.is_file():
        return None, {}
    on_test = parquet.read(path).filter(split="test")
    is_known = _GAIN.is_not_null()
    known = on_test.filter(is_known).sort(_GAIN, "slice", "position")
    missing = on_test.filter(~is_known)["absent"].fill_null("no reason given")
    reasons = missing.value_counts(name="slices").sort("absent")
    return known.head(SHOWN).to_dicts(), dict(reasons.iter_rows())


def _worst_tags(per_tag: pl.DataFrame) -> list[dict[str, Any]]:
    known = per_tag.filter(_TAG_GAIN.is_not_null())
    return known.sort(_TAG_GAIN, "label_id").head(SHOWN).to_dicts()
