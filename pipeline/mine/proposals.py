"""The likeliest missing and wrong labels, as rows that a person can review."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from pipeline.mine.estimates import Estimates
from pipeline.mine.histograms import Histograms, chunks, parts_of
from pipeline.mine.labels import Labels
from pipeline.mine.network import NetworkOutputs
from pipeline.params.mine import Mine
from pipeline.params.site import E621_URL, Site

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MIN_TOGETHER = 5  # records with both tags before their lift means anything

MISSING, WRONG = "missing", "wrong"
_FOUND = {
    "row": pl.Int64,
    "column": pl.Int64,
    "kind": pl.String,
    "probability": pl.Float64,
}


def propose(
    params: Mine,
    labels: Labels,
    scores: NDArray[np.float16],
    histograms: Histograms,
    estimates: Estimates,
) -> pl.DataFrame:
    """Returns row, column, kind and probability of what is proposed, in its order."""
    search = _Search(params, labels, histograms, estimates)
    ids = labels.records["post_id"]
    best = pl.DataFrame(schema=_FOUND)
    for rows in chunks(len(scores)):
        found = search.chunk(rows, scores[rows])
        best = _best(params, pl.concat([best, found]), ids, labels.names)
    return best


def _best(
    params: Mine, found: pl.DataFrame, ids: pl.Series, names: list[str]
) -> pl.DataFrame:
    """Returns the likeliest rows, at most `per_tag` of a tag and `proposals` in all."""
    # Ties are broken by what does not depend on the order of the records.
    ordered = found.with_columns(
        post_id=ids.gather(found["row"]),
        tag=pl.Series([names[column] for column in found["column"]], dtype=pl.String),
    ).sort("probability", "post_id", "tag", descending=[True, False, False])
    rank = pl.int_range(pl.len()).over("column")
    kept = ordered.filter(rank < params.per_tag).head(params.proposals)
    return kept.select(list(_FOUND))


@dataclass(frozen=True)
class _Search:
    """Finds what is likely enough in a chunk of records."""

    params: Mine
    labels: Labels
    histograms: Histograms
    estimates: Estimates

    def chunk(self, rows: slice, scores: NDArray[np.float16]) -> pl.DataFrame:
        """Returns row, column, kind and probability of what is likely enough."""
        labels = self.labels
        bins = self.histograms.bins(scores)
        part = parts_of(labels)[rows][:, None]
        columns = np.arange(scores.shape[1])
        given = labels.given[rows]
        is_given = given.toarray() > 0
        is_open = labels.reviewed[rows].toarray() == 0
        missing = self.estimates.missing[part, columns, bins]
        wrong = self.estimates.wrong[part, columns, bins]
        is_likely = is_open & (missing >= self.params.min_probability)
        to_add = self._without_implied(is_likely & ~is_given)
        is_likely = is_open & (wrong >= self.params.min_probability)
        # What is outside the vocabulary is not corrected, so it is not removed.
        is_likely[:, labels.vocabulary :] = False
        to_remove = self._removable(is_likely & is_given, given)
        return pl.concat(
            [
                _listed(rows.start, to_add, MISSING, missing),
                _listed(rows.start, to_remove, WRONG, wrong),
            ]
        )

    def _without_implied(self, to_add: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Leaves out what another proposal for the same record implies.

        A rare tag is not learnt: what it implies in the vocabulary is still proposed.
        """
        labels = self.labels
        vocabulary = labels.vocabulary
        by_label = _implied_by(to_add[:, :vocabulary], labels.implies[:vocabulary])
        by_rare = _implied_by(to_add[:, vocabulary:], labels.implies[vocabulary:])
        by_rare[:, :vocabulary] = False
        return to_add & ~by_label & ~by_rare

    def _removable(
        self, to_remove: NDArray[np.bool_], given: "csr_array"
    ) -> NDArray[np.bool_]:
        """Leaves out what a label implies that stays: the overlay refuses it."""
        is_given = given.toarray() > 0
        while True:
            implied = _implied_by(is_given & ~to_remove, self.labels.implies)
            kept = to_remove & ~implied
            if (kept == to_remove).all():
                return kept
            to_remove = kept


def _implied_by(tags: NDArray[np.bool_], implies: "csr_array") -> NDArray[np.bool_]:
    """Returns what the tags of each record imply. implies: [tags, columns]."""
    from scipy.sparse import csr_array

    reached = csr_array(tags.astype(np.float32)) @ implies
    return np.asarray(reached.toarray() > 0)


def _listed(
    start: int,
    chosen: NDArray[np.bool_],
    kind: str,
    probability: NDArray[np.float32],
) -> pl.DataFrame:
    rows, columns = np.nonzero(chosen)
    # Of a table in float32: the last digits mean nothing.
    rounded = probability[rows, columns].astype(np.float64).round(6)
    return pl.DataFrame(
        {
            "row": rows.astype(np.int64) + start,
            "column": columns.astype(np.int64),
            "kind": [kind] * len(rows),
            "probability": rounded,
        },
        schema=_FOUND,
    )


def table(
    found: pl.DataFrame, labels: Labels, network: NetworkOutputs, site: Site
) -> pl.DataFrame:
    """Returns schemas.PROPOSALS of what `propose` found, in its order."""
    is_rare = pl.col("column") >= labels.vocabulary
    kind = pl.when(is_rare).then(pl.lit("rare")).otherwise("kind")
    label_id = pl.when(~is_rare).then("column").cast(pl.Int32)
    rows = found["row"].to_numpy()
    records = labels.records[rows].select("post_id", "md5", "split")
    shown = found.select(kind=kind, label_id=label_id, probability="probability")
    evidence = _evidence(labels, network, rows, found["column"].to_numpy())
    urls = pl.Series("url", _urls(records["post_id"], site), pl.String)
    return pl.concat([records, shown, evidence, urls.to_frame()], how="horizontal")


def _evidence(
    labels: Labels,
    network: NetworkOutputs,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> pl.DataFrame:
    """Returns tag, score, uncertainty and lift of places in the matrix of labels."""
    score, uncertainty = _from_network(network, rows, columns)
    lift = lifts(labels, rows, columns)
    names = [labels.names[column] for column in columns]
    return pl.DataFrame(
        {
            "tag": pl.Series(names, dtype=pl.String),
            "score": pl.Series(score.round(6), nan_to_null=True),
            "uncertainty": pl.Series(uncertainty.round(6), nan_to_null=True),
            "lift": pl.Series(lift.round(3), nan_to_null=True),
        }
    )


def _from_network(
    network: NetworkOutputs, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns score and uncertainty, not a number where the network gives none."""
    score = np.full(len(rows), np.nan)
    uncertainty = np.full(len(rows), np.nan)
    is_learnt = columns < network.logits.shape[1]
    places = (rows[is_learnt], columns[is_learnt])
    score[is_learnt] = expit(network.logits[places].astype(np.float64))
    if network.uncertainty is not None:
        uncertainty[is_learnt] = network.uncertainty[places]
    return score, uncertainty


def lifts(
    labels: Labels, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns the highest lift of each column with another label of its row.

    Not a number where no label is on MIN_TOGETHER records with it. Labels that imply
    the tag, or that it implies, do not count.
    """
    wanted, place = np.unique(columns, return_inverse=True)
    lift = _lift(labels, wanted)
    learnt = labels.learnt
    found = np.full(len(rows), np.nan)
    for number, row in enumerate(rows):
        others = learnt.indices[learnt.indptr[row] : learnt.indptr[row + 1]]
        highest = lift[others, place[number]].max(initial=0)
        if highest > 0:
            found[number] = highest
    return found


def _lift(labels: Labels, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the lift of each label with the wanted columns; 0 where it says nothing.

    Float64 [vocabulary, wanted].
    """
    vocabulary = labels.vocabulary
    together = (labels.learnt.T @ labels.given[:, wanted]).toarray()
    counts = labels.given.sum(axis=0)
    expected = np.outer(counts[:vocabulary], counts[wanted]) / labels.records.height
    related = labels.implies[:vocabulary][:, wanted].toarray()
    related += labels.implies[wanted][:, :vocabulary].T.toarray()
    is_other = np.arange(vocabulary)[:, None] != wanted
    says_something = (together >= MIN_TOGETHER) & (related == 0) & is_other
    return np.where(says_something, together / np.maximum(expected, 1e-9), 0)


def _urls(post_ids: pl.Series, site: Site) -> list[str | None]:
    """Returns the page of each post, None on a site of this machine."""
    origin = None
    if site.name == "e621":
        origin = E621_URL
    elif site.name == "custom":
        origin = (site.base_url or "").rstrip("/")
    if origin is None:
        return [None] * len(post_ids)
    return [f"{origin}/posts/{post_id}" for post_id in post_ids]
