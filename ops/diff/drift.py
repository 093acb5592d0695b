"""How the labels of the training posts moved between two runs."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from ops.diff.tags import CommonTags

SPLIT = "train"


@dataclass(frozen=True, slots=True)
class TagDrift:
    """Share of the training posts that have a tag, in each run, and the difference."""

    name: str
    before: float
    after: float
    change: float


@dataclass(frozen=True, slots=True)
class LabelDrift:
    """The largest changes first.

    divergence: Jensen-Shannon, in bits, of which share of all labels each common tag
    has: 0 where both runs mix them alike, 1 where they have none in common. None where
    a run has no labels of them. labels_per_post: of the common tags, in each run.
    """

    tags: list[TagDrift]
    divergence: float | None
    labels_per_post: tuple[float, float]


def compare(old: pl.DataFrame, new: pl.DataFrame, tags: CommonTags) -> LabelDrift:
    """Compares training posts. old, new: `posts.records` of both runs."""
    from scipy.spatial.distance import jensenshannon

    counts_before, posts_before = _counts(old, tags.before)
    counts_after, posts_after = _counts(new, tags.after)
    before = counts_before / max(posts_before, 1)
    after = counts_after / max(posts_after, 1)
    drifts = []
    for name, was, now in zip(tags.names, before.tolist(), after.tolist(), strict=True):
        drifts.append(TagDrift(name, was, now, now - was))
    drifts.sort(key=lambda one: (-abs(one.change), one.name))
    divergence = None
    if counts_before.any() and counts_after.any():
        divergence = float(jensenshannon(counts_before, counts_after, base=2) ** 2)
    per_post = (float(before.sum()), float(after.sum()))
    return LabelDrift(drifts, divergence, per_post)


def _counts(records: pl.DataFrame, label_ids: list[int]) -> tuple[np.ndarray, int]:
    """Returns the training posts with each label, int64 [tags], and all of them."""
    training = records.filter(split=SPLIT)
    counted = training["label_ids"].explode().drop_nulls().value_counts()
    by_id = dict(counted.iter_rows())
    counts = [by_id.get(label_id, 0) for label_id in label_ids]
    return np.array(counts, np.int64), training.height
