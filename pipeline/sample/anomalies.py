"""What is wrong with a snapshot and was worked around: a row of ANOMALIES each."""

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.sample.candidates import CandidatePosts
from pipeline.schemas.reasons import Anomaly
from pipeline.tag_graph import TagGraph, pairs_in_force

Row = tuple[str, str, str]

_NAMED = 5  # members of a cycle that a row names


def find_anomalies(
    tags: pl.DataFrame,
    aliases: pl.DataFrame,
    relations: TagGraph,
    posts: CandidatePosts,
) -> pl.DataFrame:
    """Returns schemas.ANOMALIES, by kind, then subject."""
    alias_pairs = pairs_in_force(aliases)
    rows = [
        *_two_categories(tags),
        *_alias_targets(alias_pairs, set(relations.tags["name"])),
        *_alias_cycles(dict(alias_pairs)),
        *_implication_cycles(relations.implied),
        *_parents(posts),
    ]
    schema = {"kind": pl.String, "subject": pl.String, "detail": pl.String}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return table.unique().sort("kind", "subject", "detail")


def two_categories(tags: pl.DataFrame) -> pl.DataFrame:
    """Returns name and categories of the names that have more than one category.

    tags: schemas.TAGS.
    """
    categories = pl.col("category").unique().sort()
    by_name = tags.group_by("name").agg(categories)
    return by_name.filter(pl.col("category").list.len() > 1)


def _two_categories(tags: pl.DataFrame) -> Iterable[Row]:
    for name, categories in two_categories(tags).iter_rows():
        numbers = ", ".join(str(category) for category in categories)
        yield Anomaly.TWO_CATEGORIES, name, f"categories {numbers}"


def _alias_targets(pairs: list[tuple[str, str]], known: set[str]) -> Iterable[Row]:
    """Yields aliases with a second target, and aliases of a tag that is not listed."""
    step = dict(pairs)
    for name, consequent in pairs:
        if step[name] != consequent:
            detail = f"{consequent} is ignored: a later alias leads to {step[name]}"
            yield Anomaly.ALIAS_OF_TWO, name, detail
        if consequent not in known and consequent not in step:
            detail = f"{consequent} is not in tags.parquet: the tag is lost"
            yield Anomaly.ALIAS_TO_NOTHING, name, detail


def _alias_cycles(step: Mapping[str, str]) -> Iterable[Row]:
    for name in step:
        path = [name]
        while path[-1] in step and step[path[-1]] not in path:
            path.append(step[path[-1]])
        if step.get(path[-1]) == name:
            yield Anomaly.ALIAS_CYCLE, name, " -> ".join([*path, name])


def _implication_cycles(implied: Mapping[str, frozenset[str]]) -> Iterable[Row]:
    for name, reached in implied.items():
        back = sorted(other for other in reached if name in implied.get(other, ()))
        if back:
            others = ", ".join(back[:_NAMED])
            yield Anomaly.IMPLICATION_CYCLE, name, f"with {others}"


def _parents(posts: CandidatePosts) -> Iterable[Row]:
    """Yields parents that are not in the snapshot, and cycles of parents."""
    if not len(posts.post_id):
        return
    children = np.flatnonzero(posts.parent_id >= 0)
    parent = posts.parent_id[children]
    row = np.searchsorted(posts.post_id, parent)
    row = np.minimum(row, len(posts.post_id) - 1)
    is_listed = posts.post_id[row] == parent
    without_parent = posts.post_id[children[~is_listed]]
    for child, missing in zip(without_parent, parent[~is_listed], strict=True):
        detail = f"parent {missing} is not in the snapshot"
        yield Anomaly.MISSING_PARENT, str(child), detail
    yield from _parent_cycles(posts.post_id, children[is_listed], row[is_listed])


def _parent_cycles(
    post_id: NDArray[np.int64], child: NDArray[np.int64], parent: NDArray[np.int64]
) -> Iterable[Row]:
    """Yields posts that are their own ancestors. child, parent: rows of post_id."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shape = (len(post_id), len(post_id))
    links = coo_array((np.ones(len(child), np.int8), (child, parent)), shape=shape)
    count, component = connected_components(links, directed=True, connection="strong")
    size = np.bincount(component, minlength=count)
    is_in_cycle = (size[component[child]] > 1) | (child == parent)
    for row in child[is_in_cycle]:
        members = post_id[np.flatnonzero(component == component[row])]
        others = ", ".join(str(member) for member in members[:_NAMED])
        yield Anomaly.PARENT_CYCLE, str(post_id[row]), f"with {others}"
