"""Splits: by family, known before any download, and stable for ever."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.params import Manifest

SALT = 0x9E3779B97F4A7C15
"""Fixed for ever, not a parameter: were it to change, last year's test pictures would train this year's model."""


def assign(posts: pl.DataFrame, params: Manifest) -> pl.DataFrame:
    """Returns post_id, group_id and split of every post, deleted ones included: they too link families.

    posts: post_id, parent_id, created_at. A family is `fresh` when all of it is; a later child of an older family stays
    with its family.
    """
    group = families(posts["post_id"].to_numpy(), posts["parent_id"].fill_null(-1).to_numpy())
    place = position(group)
    split = np.where(
        place < params.split.train,
        "train",
        np.where(place < params.split.train + params.split.validation, "validation", "test"),
    )
    assigned = posts.select("post_id", "created_at").with_columns(group_id=pl.Series(group), split=pl.Series(split))
    if params.fresh_after is not None:
        start = datetime.combine(params.fresh_after, datetime.min.time(), tzinfo=UTC)
        all_fresh = pl.col("created_at").min().over("group_id") >= start
        assigned = assigned.with_columns(split=pl.when(all_fresh).then(pl.lit("fresh")).otherwise("split"))
    return assigned.drop("created_at")


def families(post_ids: NDArray[np.int64], parent_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns for each post the smallest post id of its family: all posts linked by parents, to any depth.

    parent_ids: -1 for none. Parents that are not among the posts link their children all the same.
    """
    has_parent = parent_ids >= 0
    everyone, index = np.unique(np.concatenate([post_ids, parent_ids[has_parent]]), return_inverse=True)
    child, parent = index[: len(post_ids)][has_parent], index[len(post_ids) :]
    links = coo_array((np.ones(len(child), dtype=np.int8), (child, parent)), shape=(len(everyone), len(everyone)))
    count, component = connected_components(links, directed=False)
    smallest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(smallest, component, everyone)
    return smallest[component[index[: len(post_ids)]]]


def position(group_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns a number in [0, 1) per family, a pure function of its id (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = group_ids.astype(np.uint64) + np.uint64(SALT)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53
