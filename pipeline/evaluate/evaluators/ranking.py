"""Ranking: AUC and average precision, which need no threshold."""

from collections.abc import Iterator

import numpy as np

from pipeline.metrics import baselines, ranking
from pipeline.metrics.catalogue import Metric


def evaluate(
    labels: np.ndarray, scores: np.ndarray, shares: np.ndarray
) -> Iterator[tuple[str, Metric]]:
    """Yields macro AUC, macro mAP and micro AUC.

    shares: of each tag in training, [tags].
    """
    auc = ranking.roc_auc_per_tag(labels, scores)
    yield "macro_auc", Metric(ranking.mean(auc), baselines.MACRO_AUC)
    precision = ranking.average_precision_per_tag(labels, scores)
    prevalence = ranking.prevalence_per_tag(labels)
    yield "macro_map", Metric(ranking.mean(precision), ranking.mean(prevalence))
    blind = baselines.blind_scores(shares, len(labels))
    micro = ranking.micro_auc(labels, scores)
    yield "micro_auc", Metric(micro, ranking.micro_auc(labels, blind))


def per_tag(labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the columns of per_tag.parquet, [tags] each."""
    return {
        "auc": ranking.roc_auc_per_tag(labels, scores),
        "average_precision": ranking.average_precision_per_tag(labels, scores),
        "baseline_average_precision": ranking.prevalence_per_tag(labels),
    }
