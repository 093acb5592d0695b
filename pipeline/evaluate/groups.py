"""Parts of the tags and of the images, whose metrics are slices.parquet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.evaluate.image_facts import NEAR_BLACK

DECILES = 10

# Upper ends, and what is below each.
_SHAPES = (
    (0.5, "taller than 2:1"),
    (0.8, "tall"),
    (1.25, "about square"),
    (2.0, "wide"),
    (np.inf, "wider than 2:1"),
)
"""By width over height."""
_SIZES = (
    (256.0, "below 256 pixels"),
    (512.0, "256 to 511 pixels"),
    (768.0, "512 to 767 pixels"),
    (np.inf, "768 pixels or more"),
)
"""By the longer side of the stored image."""


@dataclass(frozen=True, slots=True)
class Groups:
    """One kind of slices: where each tag or image belongs.

    values: names for people, in their order. place_of: number of the group, int64.
    """

    kind: str
    values: Sequence[str]
    place_of: np.ndarray

    def members(self, place: int) -> np.ndarray:
        """Returns the numbers of the tags or images of a group, ascending."""
        return np.flatnonzero(self.place_of == place)


def of_tags(vocabulary: pl.DataFrame, positives: np.ndarray) -> list[Groups]:
    """Returns deciles by training images, the rarest first, and categories.

    vocabulary: ordered by label id; positives: training images of each tag, [tags].
    """
    categories = sorted(vocabulary["category"].unique().to_list())
    of_category = [categories.index(name) for name in vocabulary["category"]]
    return [
        _by_frequency(positives),
        Groups("category", categories, np.array(of_category)),
    ]


def _by_frequency(positives: np.ndarray) -> Groups:
    """Returns deciles; those whose tags all have equally many images are one."""
    tags = len(positives)
    groups = min(DECILES, tags)
    decile_of = np.empty(tags, np.int64)
    decile_of[np.argsort(positives, kind="stable")] = np.arange(tags) * groups // tags
    names = []
    for decile in range(groups):
        some = positives[decile_of == decile]
        names.append(f"{some.min():,} to {some.max():,} training images")
    values = list(dict.fromkeys(names))
    place_of_decile = np.array([values.index(name) for name in names])
    return Groups("tag_frequency", values, place_of_decile[decile_of])


def of_images(facts: pl.DataFrame, dark_shares: np.ndarray) -> list[Groups]:
    """Returns the groups by rating, year, shape, size and blackness.

    facts: see image_facts. dark_shares: of the image itself.
    """
    ratio = facts["width"].to_numpy() / facts["height"].to_numpy()
    longer = facts.select(pl.max_horizontal("width", "height")).to_series().to_numpy()
    years = facts["created_at"].dt.year().cast(pl.String).to_list()
    is_black = (dark_shares >= NEAR_BLACK).astype(np.int64)
    return [
        _by_value("rating", facts["rating"].to_list()),
        _by_value("year", years),
        _by_range("aspect_ratio", ratio, _SHAPES),
        _by_range("size", longer.astype(np.float64), _SIZES),
        Groups("near_black", ["others", "near-black"], is_black),
    ]


def _by_value(kind: str, given: list[str]) -> Groups:
    values = sorted(set(given))
    return Groups(kind, values, np.array([values.index(one) for one in given], int))


def _by_range(
    kind: str, given: np.ndarray, ranges: Sequence[tuple[float, str]]
) -> Groups:
    """Groups values by the first range whose end they are below."""
    ends = [end for end, _ in ranges]
    names = [name for _, name in ranges]
    return Groups(kind, names, np.searchsorted(ends, given, side="right"))
