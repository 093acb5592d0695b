"""A split as the network sees it, and what the evaluators are given of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.metrics import thresholded
from pipeline.metrics.bootstrap import Estimate
from pipeline.metrics.prior import Prior
from pipeline.metrics.tag_scores import TagScores
from pipeline.metrics.thresholded import Counts
from pipeline.metrics.thresholds import FLAT, Thresholds


@dataclass(frozen=True, slots=True)
class ScoredSplit:
    """A split with its scores, in the order of its shards.

    uncertainty: standard deviation of the network's logit, float32 [tags, images]; None
    where the model has no label noise. dark_shares: share of each image's pixels that
    are almost black, float64 [images].
    """

    name: str
    post_ids: np.ndarray  # int64 [images]
    md5s: list[str]
    scores: TagScores
    uncertainty: np.ndarray | None
    dark_shares: np.ndarray


@dataclass(frozen=True, slots=True)
class Case:
    """What is evaluated, with all that evaluators share.

    facts: of each image, in the order of the split: see image_facts. shares: of each
    tag in training, [tags]. own, break_even, flat: what is predicted with a threshold
    per tag, at Thresholds.break_even, and at thresholds.FLAT.
    """

    split: ScoredSplit
    facts: pl.DataFrame
    shares: np.ndarray
    blind: Prior
    informed: Prior
    thresholds: Thresholds
    own: Counts
    break_even: Counts
    flat: Counts

    @classmethod
    def build(
        cls,
        split: ScoredSplit,
        facts: pl.DataFrame,
        shares: np.ndarray,
        priors: Mapping[str, Prior],
        thresholds: Thresholds,
    ) -> "Case":
        """Predicts with each kind of threshold. priors: blind and informed."""

        def predicted(values: np.ndarray) -> Counts:
            pairs = thresholded.predict(split.scores, values)
            return thresholded.count(split.scores.labels, pairs)

        same = np.ones(split.scores.tags)
        return cls(
            split=split,
            facts=facts,
            shares=shares,
            blind=priors["blind"],
            informed=priors["informed"],
            thresholds=thresholds,
            own=predicted(thresholds.per_tag),
            break_even=predicted(same * thresholds.break_even),
            flat=predicted(same * FLAT),
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """A metric of a case, and what models reach that do not look at the images.

    None: where such a model has none.
    """

    name: str
    estimate: Estimate
    baseline: float | None
    informed_baseline: float | None


NO_RANKING = "no tag has images both with it and without it"
"""Why there is no metric of rankings."""
