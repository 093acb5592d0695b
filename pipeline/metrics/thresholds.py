"""From which score on a tag is predicted; chosen on the validation split alone.

The threshold of the best F1 of a tag with few images is an accident of these: on a
clip-art board, 16 tags whose thresholds were below 0.1 made 517 of 791 false positives.
So each is drawn towards the one threshold that is best for all pairs together, the more
the fewer images the tag has: in logits, with weight n / (n + support) for n images.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.metrics import score_histogram, tag_ranking
from pipeline.metrics.tag_ranking import Steps
from pipeline.metrics.tag_scores import TagScores

FALLBACK = 0.5
"""Of a validation split whose images have no tag: there is nothing to choose by."""

FLAT = 0.35
"""What most clients of taggers use for every tag."""

# Of thresholds, rounded down, so that the image that gave the threshold still reaches
# it. Nearer to 0 or 1 than _EXACT they are not rounded: there, where many scores of a
# sure model lie, the threshold would be that of other images, or 0, which all reach.
_DECIMALS = 6
_EXACT = 1e-3
_NEAREST = 10.0**-_DECIMALS  # to 0 or 1 that a threshold counts as


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What was chosen, scores from 0 to 1.

    per_tag: float64 [tags]. shared: of the best F1 over all pairs. break_even: of all
    pairs, where precision equals recall. unmet: numbers of the tags that no threshold
    gives the precision that was asked for.
    """

    per_tag: np.ndarray
    shared: float
    break_even: float
    unmet: tuple[int, ...] = ()


def choose(
    scores: TagScores, *, support: float, min_precision: float | None = None
) -> Thresholds:
    """Returns the thresholds of a validation split.

    support: images; a tag that so many have is drawn half way to the shared threshold.
    0: every tag that an image has keeps its own. min_precision: least precision, on the
    same images, of each tag's threshold, which is raised until it gives it. A tag that
    has it nowhere gets the threshold of its highest precision.
    """
    counts = score_histogram.count(scores).cumulative()
    found, false = counts.true_positives, counts.false_positives
    positives = int(scores.positives.sum())
    if not positives:
        return Thresholds(np.full(scores.tags, FALLBACK), FALLBACK, FALLBACK)
    f1 = 2 * found / (found + false + positives)
    shared = _rounded(counts.edges[int(f1.argmax())])
    nearest = np.abs(found + false - positives).argmin()
    break_even = _rounded(counts.edges[int(nearest)])
    chosen, unmet = _choose_per_tag(scores, shared, support, min_precision)
    return Thresholds(chosen, shared, break_even, unmet)


def _choose_per_tag(
    scores: TagScores, shared: float, support: float, min_precision: float | None
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Returns the threshold of each tag, and the tags that lack their precision."""
    chosen = np.full(scores.tags, shared)
    unmet = []
    for tag, values, positives in scores.rows():
        if not len(positives):
            if min_precision is not None:
                unmet.append(tag)
            continue
        at = tag_ranking.steps(values, positives)
        own = best_f1(at)
        # Rounded down, it still is the score of an image where nothing is shrunk.
        shrunk = _shrink(own, shared, len(positives), support)
        chosen[tag] = _rounded(shrunk)
        if min_precision is not None:
            raised = _raise(at, values, shrunk, min_precision)
            if at.precision.max() < min_precision:
                unmet.append(tag)
            # Not rounded: images that it would let in are of lower precision.
            chosen[tag] = _most_precise(at) if raised is None else raised
    return chosen, tuple(unmet)


def best_f1(at: Steps) -> float:
    """Returns the score of the best F1, of equally good ones the highest."""
    best = np.flatnonzero(at.f1 >= at.f1.max() - 1e-12)[-1]
    return float(at.values[best])


def _shrink(own: float, shared: float, positives: int, support: float) -> float:
    """Returns the weighted mean in logits of a tag's own threshold and the shared."""
    if not support:
        return own
    weight = positives / (positives + support)
    mean = weight * _logit(own) + (1 - weight) * _logit(shared)
    return float(1 / (1 + np.exp(-mean)))


def _raise(
    at: Steps, values: np.ndarray, threshold: float, precision: float
) -> float | None:
    """Returns the lowest threshold from `threshold` on of at least that precision.

    None where there is none that predicts an image with the tag.
    """
    found = int(at.own[at.values >= threshold].sum())
    predicted = int(np.count_nonzero(values >= threshold))
    if found and found >= precision * predicted:
        return threshold
    enough = (at.values >= threshold) & (at.precision >= precision)
    return float(at.values[enough][0]) if enough.any() else None


def _most_precise(at: Steps) -> float:
    """Returns the score of the highest precision, of equal ones the lowest."""
    return float(at.values[int(at.precision.argmax())])


def _logit(score: float) -> float:
    inside = min(max(score, _NEAREST), 1 - _NEAREST)
    return float(np.log(inside) - np.log1p(-inside))


def _rounded(score: float) -> float:
    if not _EXACT < score < 1 - _EXACT:
        return float(score)
    scale = 10**_DECIMALS
    return float(np.floor(float(score) * scale) / scale)
