"""What the metrics become where scores agree with the site's implications.

A tag that implies another is its child, the other its parent. A model scores them apart
and may say `wolf` where it does not say `canine`.

off
    as the model says.
raise_parents
    a parent scores at least as high as each of its children, and is predicted where one
    of them is: what `e6tag tag --implications add` does.
cap_children
    a child scores at most as high as each of its parents, and is predicted only where
    all of them are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from pipeline import parquet, tag_graph
from pipeline.evaluate.case import Case
from pipeline.evaluate.evaluators.ranking import RankedTags
from pipeline.metrics import ranking, tag_ranking, thresholded
from pipeline.metrics.tag_scores import TagScores, sparse_rows
from pipeline.paths import Paths
from pipeline.schemas.snapshot import TAGS


@dataclass(frozen=True, slots=True)
class Implications:
    """Between the tags of the vocabulary, to any depth.

    parents, children: by number of a tag that has any, their numbers.
    """

    parents: Mapping[int, Sequence[int]]
    children: Mapping[int, Sequence[int]]


def read(paths: Paths, names: Sequence[str]) -> Implications:
    """Returns the implications in force. names: of the tags, by label id."""
    graph = tag_graph.TagGraph.read(
        parquet.frame([], TAGS),  # what implies what is known without their ids
        parquet.read(paths.snapshot / "aliases.parquet"),
        parquet.read(paths.snapshot / "implications.parquet"),
    )
    number = {name: place for place, name in enumerate(names)}
    parents: dict[int, list[int]] = {}
    children: dict[int, list[int]] = {}
    for child, name in enumerate(names):
        for implied in sorted(graph.implied.get(name, ())):
            if implied in number:
                parents.setdefault(child, []).append(number[implied])
                children.setdefault(number[implied], []).append(child)
    return Implications(parents, children)


def evaluate(
    case: Case, ranked: RankedTags, implications: Implications
) -> dict[str, dict[str, float]]:
    """Returns macro mAP, AUC and F1, micro F1, and how often modes disagree, by mode.

    inconsistent: the share of images that are predicted a tag without all its parents.
    Metrics that cannot be computed are left out.
    """
    predicted = case.own.predicted
    links = _links(implications, predicted.shape[0])
    raised = _raised(predicted, links)
    capped = _capped(predicted, links)
    higher = _ranked_anew(case.split.scores, ranked, implications.children, np.maximum)
    lower = _ranked_anew(case.split.scores, ranked, implications.parents, np.minimum)
    off = (ranked.average_precision, ranked.auc)
    found = {}
    for mode, rankings, pairs in (
        ("off", off, predicted),
        ("raise_parents", higher, raised),
        ("cap_children", lower, capped),
    ):
        metrics = _metrics(case, *rankings, pairs)
        metrics["inconsistent"] = _inconsistent(pairs, links)
        found[mode] = {name: one for name, one in metrics.items() if one is not None}
    return found


def _links(implications: Implications, tags: int) -> csr_array:
    """Returns int32 [tags, tags]: 1 where a row's tag implies the column's."""
    rows = [
        np.array(implications.parents.get(tag, ()), np.int32) for tag in range(tags)
    ]
    return csr_array(sparse_rows(rows, tags), dtype=np.int32)


def _raised(predicted: csr_array, links: csr_array) -> csr_array:
    """Returns what is predicted, and all parents of it."""
    both = csr_array(predicted + links.T @ predicted)
    both.data = np.ones_like(both.data, np.int8)
    return both


def _capped(predicted: csr_array, links: csr_array) -> csr_array:
    """Returns what is predicted with all its parents."""
    parents = np.asarray(links.sum(axis=1))
    # One more than the parents predicted, so that none is told from no entry.
    counted = csr_array(predicted + predicted.multiply(links @ predicted))
    tag_of = np.repeat(np.arange(len(parents)), np.diff(counted.indptr))
    counted.data = (counted.data == parents[tag_of] + 1).astype(np.int8)
    counted.eliminate_zeros()
    return counted


def _inconsistent(predicted: csr_array, links: csr_array) -> float:
    """Returns the share of images that are predicted a tag without all its parents."""
    before = np.bincount(predicted.indices, minlength=predicted.shape[1])
    raised = _raised(predicted, links)
    after = np.bincount(raised.indices, minlength=predicted.shape[1])
    return float((after > before).mean())


def _ranked_anew(
    scores: TagScores,
    ranked: RankedTags,
    relatives: Mapping[int, Sequence[int]],
    join: np.ufunc,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns average precision and AUC of each tag: [tags] each.

    The score of a tag with relatives is joined with theirs.
    """
    average, auc = ranked.average_precision.copy(), ranked.auc.copy()
    for tag, others in relatives.items():
        values = scores.row(tag)
        for other in others:
            values = join(values, scores.row(other))
        ordered = tag_ranking.order(values, scores.positive_images(tag))
        found = tag_ranking.rank(ordered)
        if found is not None:
            average[tag], auc[tag] = found.average_precision, found.auc
    return average, auc


def _metrics(
    case: Case, average: np.ndarray, auc: np.ndarray, predicted: csr_array
) -> dict[str, float | None]:
    """Returns the metrics of a mode, None where one cannot be computed."""
    counts = thresholded.count(case.own.true, predicted)
    return {
        "macro_map": ranking.mean(average),
        "macro_auc": ranking.mean(auc),
        "macro_f1": ranking.mean(counts.f1),
        "micro_f1": counts.micro_f1,
    }
