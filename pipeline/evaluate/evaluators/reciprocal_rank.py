"""Mean reciprocal rank: how far down a list of the best tags the first right one is.

Of each image with a tag, 1 over the place of the first right tag among the TOP with the
highest scores, 0 where none is right; the mean over these images.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.evaluate.case import Case, Finding
from pipeline.metrics import prior
from pipeline.metrics.bootstrap import Estimate
from pipeline.metrics.tag_scores import TagScores

TOP = 10
"""Tags of the list; one page of a client shows about as many."""


def evaluate(case: Case) -> Iterator[Finding]:
    """Yields the mean reciprocal rank of the top tags."""
    scores = case.split.scores
    has_tags = np.zeros(scores.images, bool)
    has_tags[scores.labels.indices] = True
    if not has_tags.any():
        absent = Estimate(None, absent="no image has any tag of the vocabulary")
        yield Finding("mean_reciprocal_rank", absent, None, None)
        return
    values = reciprocal(first_ranks(scores))
    value = float(values[has_tags].mean())
    deviation = np.where(has_tags, values - value, 0)
    estimate = Estimate(value, deviation * len(values) / has_tags.sum())
    of_blind = reciprocal(prior.first_ranks(case.blind))[has_tags]
    of_informed = reciprocal(prior.first_ranks(case.informed))[has_tags]
    blind, informed = float(of_blind.mean()), float(of_informed.mean())
    yield Finding("mean_reciprocal_rank", estimate, blind, informed)


def first_ranks(scores: TagScores) -> np.ndarray:
    """Returns the place of each image's first right tag, from 1; int64 [images].

    Wrong tags of the same score come first. Images without tags: behind the last.
    """
    best = np.full(scores.images, -1.0, np.float32)
    for _, values, positives in scores.rows():
        best[positives] = np.maximum(best[positives], values[positives])
    places = np.ones(scores.images, np.int64)
    for _, values, positives in scores.rows():
        is_before = values >= best
        is_before[positives] = False
        places += is_before
    return places


def reciprocal(places: np.ndarray) -> np.ndarray:
    """Returns 1 over each place, 0 behind TOP."""
    return np.where(places <= TOP, 1 / places, 0.0)
