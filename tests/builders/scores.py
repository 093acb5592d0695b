"""Labels and scores without a network."""

import numpy as np
from hypothesis import strategies as st

from pipeline.metrics.tag_scores import TagScores


@st.composite
def labels_and_scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels, rare or common, and scores, many of them tied: [images, tags]."""
    images, tags = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]))
    labels = (random.random((images, tags)) < share).astype(np.uint8)
    levels = draw(st.sampled_from([1, 4, 8, 1_000]))
    scores = random.integers(0, levels + 1, (images, tags)) / levels
    return labels, scores.astype(np.float32)


def example(
    images: int = 300, tags: int = 7, share: float = 0.1, seed: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and the scores of a model that is right more often than not."""
    random = np.random.default_rng(seed)
    labels = (random.random((images, tags)) < share).astype(np.uint8)
    noise = random.normal(size=labels.shape)
    return labels, (1 / (1 + np.exp(3 - 3 * labels - noise))).astype(np.float32)


def tag_scores(images: int = 300, tags: int = 7, seed: int = 5) -> TagScores:
    """Returns an example as evaluators take it."""
    return TagScores.from_dense(*example(images, tags, seed=seed))
