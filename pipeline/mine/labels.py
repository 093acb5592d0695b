"""The labels of every record, those that are learnt and rare tags beside them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline import parquet, policy
from pipeline.errors import BadInput
from pipeline.params.mine import Mine
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.reasons import OverlayOutcome, TagExclusion
from pipeline.tag_graph import TagGraph

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RARE = (
    TagExclusion.TOO_FEW_POSITIVES,
    TagExclusion.TOO_FEW_EVALUATION_POSITIVES,
    TagExclusion.LACKS_RESERVE,
    TagExclusion.BEYOND_VOCABULARY_SIZE,
)
"""Reasons for which a tag is not learnt and may still be proposed: it is only rare."""

REVIEWED = (
    OverlayOutcome.APPLIED,
    OverlayOutcome.UNCHANGED,
    OverlayOutcome.OUTSIDE_VOCABULARY,
)
"""Outcomes of rows of the overlay that say what a person found."""

_PAIRS = {"row": pl.Int64, "column": pl.Int64}


@dataclass(frozen=True)
class Labels:
    """Records, and the tags that they have or lack.

    A column is a label of the vocabulary, by its id, and after these a rare tag.
    """

    records: pl.DataFrame  # post_id, md5, split, group_id
    names: list[str]  # by column
    vocabulary: int  # number of columns that are labels
    given: "csr_array"  # float32 [records, columns]: 1 where the record has the tag
    implies: (
        "csr_array"  # float32 [columns, columns]: 1 where the row's implies another
    )
    reviewed: "csr_array"  # float32 [records, columns]: 1 where a person has looked

    @property
    def learnt(self) -> "csr_array":
        """The columns of the vocabulary."""
        return self.given[:, : self.vocabulary]


def read(params: Mine, paths: Paths, post_ids: NDArray[np.int64]) -> Labels:
    """Reads the labels of these records, in this order.

    Raises BadInput where the manifest lacks one of them.
    """
    records = _records(paths, post_ids)
    vocabulary = parquet.read(paths.sample / "vocabulary.parquet").sort("label_id")
    graph = _graph(paths)
    rare = _rare_pairs(params, paths, records, graph)
    rare_names = rare["name"].unique(maintain_order=True)
    names = [*vocabulary["name"], *rare_names]
    shape = (records.height, len(names))
    return Labels(
        records=records.select("post_id", "md5", "split", "group_id"),
        names=names,
        vocabulary=vocabulary.height,
        given=_matrix(_given(records, rare, names), shape),
        implies=_matrix(_implications(graph, names), (len(names), len(names))),
        reviewed=_matrix(_reviewed(paths, records, graph, names), shape),
    )


def _given(records: pl.DataFrame, rare: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Returns row and column of every label and rare tag that a record has."""
    column = pl.col("column").cast(pl.Int64)
    learnt = records.select("row", column="label_ids").explode("column").drop_nulls()
    columns = pl.DataFrame({"name": names}).with_row_index("column")
    others = rare.join(columns, on="name").select("row", column)
    return pl.concat([learnt.select("row", column), others])


def _records(paths: Paths, post_ids: NDArray[np.int64]) -> pl.DataFrame:
    """Returns the records of the manifest, with their `row`."""
    parts = [parquet.read(paths.manifest / f"{split}.parquet") for split in SPLITS]
    wanted = pl.DataFrame({"post_id": post_ids}).with_row_index("row")
    wanted = wanted.with_columns(pl.col("row").cast(pl.Int64))
    found = wanted.join(
        pl.concat(parts), on="post_id", how="left", maintain_order="left"
    )
    lacking = found["md5"].null_count()
    if lacking:
        raise BadInput(
            f"{paths.manifest} lacks {lacking:,} records of {paths.shards}. Run "
            "dvc repro, which makes them anew together."
        )
    return found


def _graph(paths: Paths) -> TagGraph:
    return TagGraph.read(
        parquet.read(paths.snapshot / "tags.parquet"),
        parquet.read(paths.snapshot / "aliases.parquet"),
        parquet.read(paths.snapshot / "implications.parquet"),
    )


def _rare_pairs(
    params: Mine, paths: Paths, records: pl.DataFrame, graph: TagGraph
) -> pl.DataFrame:
    """Returns row and name of every rare tag on a record, the most frequent tag first.

    Aliases are resolved, implications closed.
    """
    candidates = set(_rare_names(paths))
    names = _names_leading_to(candidates, graph)
    posts = pl.scan_parquet(paths.snapshot / "posts.parquet").select("post_id", "tags")
    ids = records.lazy().select("post_id", "row")
    tagged = posts.join(ids, on="post_id").select("row", given="tags").explode("given")
    pairs = tagged.join(names.lazy(), on="given").select("row", "name").unique()
    found = pairs.collect(engine="streaming")
    counts = found.group_by("name").len().filter(pl.col("len") >= params.min_rare_posts)
    ranked = counts.sort(["len", "name"], descending=[True, False])
    ranked = ranked.head(params.max_rare_tags).with_row_index("rank")
    return found.join(ranked, on="name").sort("rank", "row").select("row", "name")


def _rare_names(paths: Paths) -> list[str]:
    """Returns the tags that are only too rare; none that the policy is about."""
    excluded = parquet.read(paths.sample / "excluded_tags.parquet")
    reasons = [reason.value for reason in RARE]
    names = excluded.filter(pl.col("reason").is_in(reasons))["name"].to_list()
    aliases = parquet.read(paths.snapshot / "aliases.parquet")
    implications = parquet.read(paths.snapshot / "implications.parquet")
    barred = policy.PolicyTags.read(implications, aliases)
    forbidden = barred.young | barred.opt_out | policy.ANIMATED_TAGS
    return [name for name in names if name not in forbidden]


def _names_leading_to(candidates: set[str], graph: TagGraph) -> pl.DataFrame:
    """Returns given and name: what a post is given, and the candidate it leads to."""
    rows = []
    nothing: frozenset[str] = frozenset()
    for given in graph.code:
        final = graph.canonical.get(given, given)
        reached = {final, *graph.implied.get(final, nothing)} & candidates
        rows += [(given, name) for name in sorted(reached)]
    schema = {"given": pl.String, "name": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _implications(graph: TagGraph, names: list[str]) -> pl.DataFrame:
    """Returns row and column of every tag that implies another, to any depth."""
    column = {name: number for number, name in enumerate(names)}
    rows = []
    nothing: frozenset[str] = frozenset()
    for name, number in column.items():
        reached = graph.implied.get(name, nothing) & column.keys()
        rows += [(number, column[one]) for one in sorted(reached)]
    return pl.DataFrame(rows, schema=_PAIRS, orient="row")


def _reviewed(
    paths: Paths, records: pl.DataFrame, graph: TagGraph, names: list[str]
) -> pl.DataFrame:
    """Returns row and column of what the overlay says, whatever it is."""
    overlay = parquet.read(paths.manifest / "overlay.parquet")
    outcomes = [outcome.value for outcome in REVIEWED]
    said = overlay.filter(pl.col("outcome").is_in(outcomes))
    # By name: a rare tag has no label. `row` of the overlay is a line of the file.
    finals = [graph.canonical.get(tag, tag) for tag in said["tag"]]
    said = said.select("post_id", name=pl.Series(finals, dtype=pl.String))
    columns = pl.DataFrame({"name": names}).with_row_index("column")
    pairs = said.join(records.select("post_id", "row"), on="post_id")
    pairs = pairs.join(columns, on="name")
    return pairs.select("row", column=pl.col("column").cast(pl.Int64)).unique()


def _matrix(pairs: pl.DataFrame, shape: tuple[int, int]) -> "csr_array":
    """Returns a matrix with 1 at these places."""
    from scipy.sparse import csr_array

    ones = np.ones(pairs.height, np.float32)
    places = (pairs["row"].to_numpy(), pairs["column"].to_numpy())
    matrix = csr_array((ones, places), shape=shape)
    matrix.sort_indices()
    return matrix
