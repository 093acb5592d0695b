"""What is wrong with a snapshot, and was worked around.

Schemas.ANOMALIES, a row each.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.sample.candidates import CandidatePosts
from pipeline.sample.tag_graph import TagGraph, pairs_in_force
from pipeline.schemas.reasons import Anomaly

Row = tuple[str, str, str]


def find_anomalies(
    tags: pl.DataFrame,
    aliases: pl.DataFrame,
    relations: TagGraph,
    posts: CandidatePosts,
) -> pl.DataFrame:
    """Returns schemas.ANOMALIES, by kind, then subject."""
    rows = [
        *_two_categories(tags),
        *_aliases(pairs_in_force(aliases), set(relations.tags["name"])),
        *_implication_cycles(relations.implied),
        *_parents(posts),
    ]
    schema = {"kind": pl.String, "subject": pl.String, "detail": pl.String}
    return (
        pl.DataFrame(rows, schema=schema, orient="row")
        .unique()
        .sort("kind", "subject", "detail")
    )


def two_categories(tags: pl.DataFrame) -> pl.DataFrame:
    """Returns name and its categories, of names that schemas.TAGS has in more than one."""
    return (
        tags.group_by("name")
        .agg(pl.col("category").unique().sort())
        .filter(pl.col("category").list.len() > 1)
    )


def _two_categories(tags: pl.DataFrame) -> Iterable[Row]:
    for name, categories in two_categories(tags).iter_rows():
        yield (
            Anomaly.TWO_CATEGORIES,
            name,
            "categories " + ", ".join(str(one) for one in categories),
        )


def _aliases(pairs: list[tuple[str, str]], known: set[str]) -> Iterable[Row]:
    step = dict(pairs)
    for name, consequent in pairs:
        if step[name] != consequent:
            yield (
                Anomaly.ALIAS_OF_TWO,
                name,
                f"{consequent} is passed over for {step[name]}, of a later alias",
            )
        if consequent not in known and consequent not in step:
            yield (
                Anomaly.ALIAS_TO_NOTHING,
                name,
                f"{consequent} is not in tags.parquet: the tag is lost",
            )
    for name in step:
        path = [name]
        while path[-1] in step and step[path[-1]] not in path:
            path.append(step[path[-1]])
        if step.get(path[-1]) == name:
            yield Anomaly.ALIAS_CYCLE, name, " -> ".join([*path, name])


def _implication_cycles(implied: Mapping[str, frozenset[str]]) -> Iterable[Row]:
    for name, reached in implied.items():
        if back := sorted(other for other in reached if name in implied.get(other, ())):
            yield Anomaly.IMPLICATION_CYCLE, name, "with " + ", ".join(back[:5])


def _parents(posts: CandidatePosts) -> Iterable[Row]:
    children = np.flatnonzero(posts.parent_id >= 0)
    parent = posts.parent_id[children]
    place = np.minimum(np.searchsorted(posts.post_id, parent), len(posts.post_id) - 1)
    listed = posts.post_id[place] == parent if len(parent) else np.zeros(0, dtype=bool)
    for child, missing in zip(children[~listed], parent[~listed], strict=True):
        yield (
            Anomaly.MISSING_PARENT,
            str(posts.post_id[child]),
            f"parent {missing} is not in the snapshot",
        )
    yield from _parent_cycles(posts.post_id, children[listed], place[listed])


def _parent_cycles(
    post_id: NDArray[np.int64], child: NDArray[np.int64], parent: NDArray[np.int64]
) -> Iterable[Row]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array(
        (np.ones(len(child), np.int8), (child, parent)),
        shape=(len(post_id), len(post_id)),
    )
    count, component = connected_components(links, directed=True, connection="strong")
    size = np.bincount(component, minlength=count)
    for row in child[(size[component[child]] > 1) | (child == parent)]:
        others = post_id[np.flatnonzero(component == component[row])][:5]
        yield (
            Anomaly.PARENT_CYCLE,
            str(post_id[row]),
            "with " + ", ".join(str(other) for other in others),
        )
