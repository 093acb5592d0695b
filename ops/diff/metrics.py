"""How the metrics changed between two runs, and what of it chance explains.

Reads       data/evaluation/                   metrics.json and predictions, of both

Where both runs predicted the same test posts, each resampling draws the same posts for
both, so that what makes posts easy or hard for both falls out of the difference. Else
each run's own test posts are drawn, and the interval is wider.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ops.diff.tags import CommonTags
from ops.runs import Run
from pipeline import parquet, progress
from pipeline.errors import CorruptFile
from pipeline.metrics.catalogue import LABELS

RESAMPLINGS = 200
SEED = 621

FEWEST_COMMON = 0.5
"""Share of each run's test posts that both must have predicted, to be compared on
those alone."""


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric of both runs; low, high: 95 % interval of the change."""

    name: str
    before: float | None
    after: float | None
    change: float | None
    low: float | None
    high: float | None

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the interval does not hold 0."""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class MetricDiff:
    """reported: as each run's metrics.json has it, on its own test posts and tags.

    common: macro mAP and macro AUC of the tags that both have, on the posts of `posts`.
    per_tag: average precision of each of them, the largest changes first. auc_per_tag:
    the same of the area under the ROC curve. posts: test posts, of the earlier run, of
    the later, and of both. is_paired: whether the same posts were drawn for both.
    """

    reported: list[MetricChange]
    common: list[MetricChange]
    per_tag: list[MetricChange]
    auc_per_tag: list[MetricChange]
    posts: tuple[int, int, int]
    is_paired: bool
    resamplings: int


@dataclass(frozen=True, slots=True)
class _Predictions:
    """Test posts of a run: labels and scores of the common tags, [posts, tags]."""

    post_ids: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def only(self, rows: np.ndarray) -> "_Predictions":
        return _Predictions(self.post_ids[rows], self.labels[rows], self.scores[rows])


def missing(run: Run) -> str | None:
    """Returns which file of the evaluation a run lacks."""
    for name in ("metrics.json", "predictions.parquet"):
        if run.find(f"data/evaluation/{name}") is None:
            return f"data/evaluation/{name}"
    return None


def compare(
    before: Run, after: Run, tags: CommonTags, resamplings: int = RESAMPLINGS
) -> MetricDiff:
    """Compares two evaluations, which must be there.

    resamplings: 0 for no intervals.
    """
    old = _read(before, tags.before)
    new = _read(after, tags.after)
    total = (len(old.post_ids), len(new.post_ids))
    _, rows_old, rows_new = np.intersect1d(
        old.post_ids, new.post_ids, return_indices=True
    )
    posts = (*total, len(rows_old))
    is_paired = len(rows_old) >= FEWEST_COMMON * max(*total, 1)
    if is_paired:
        old, new = old.only(rows_old), new.only(rows_new)
    auc, precision = _resampled(old, new, resamplings, is_paired=is_paired)
    per_tag = _changes(tags.names, precision)
    auc_per_tag = _changes(tags.names, auc)
    macros = {"macro_map": _means(precision), "macro_auc": _means(auc)}
    return MetricDiff(
        reported=_reported(before, after),
        common=[_change(name, values) for name, values in macros.items()],
        per_tag=per_tag,
        auc_per_tag=auc_per_tag,
        posts=posts,
        is_paired=is_paired,
        resamplings=resamplings,
    )


def _read(run: Run, label_ids: list[int]) -> _Predictions:
    """Returns a run's test posts in the order of their ids."""
    path = _file(run, "predictions.parquet")
    columns = ["post_id", "split", "label_ids", "scores"]
    test = parquet.read(path, columns=columns).filter(split="test").sort("post_id")
    widths = test["scores"].list.len()
    named = max(label_ids, default=-1) + 1
    width = int(widths[0]) if test.height else named
    if (widths != width).any() or named > width:
        raise CorruptFile(
            f"{path} has scores of another vocabulary than data/sample of {run.name}. "
            "Run dvc repro there."
        )
    scores = test["scores"].explode().to_numpy().reshape(test.height, width)
    labels = np.zeros((test.height, width), np.uint8)
    for row, ids in enumerate(test["label_ids"].to_list()):
        labels[row, ids] = 1
    post_ids = test["post_id"].to_numpy()
    return _Predictions(post_ids, labels[:, label_ids], scores[:, label_ids])


def _file(run: Run, name: str) -> Path:
    path = run.find(f"data/evaluation/{name}")
    if path is None:
        raise CorruptFile(f"{run.name} has no data/evaluation/{name}. Run dvc repro.")
    return path


_Pair = tuple[np.ndarray, np.ndarray]
"""Of both runs, float64 [tags, 1 + resamplings]: as it is, then resampled."""


def _resampled(
    old: _Predictions, new: _Predictions, resamplings: int, *, is_paired: bool
) -> tuple[_Pair, _Pair]:
    """Returns AUC and average precision of every tag of both runs."""
    random = np.random.default_rng(SEED)
    weights = _weights(random, len(old.post_ids), resamplings)
    other = weights
    if not is_paired:
        other = _weights(random, len(new.post_ids), resamplings)
    before = _ranked(old, weights, "diff, earlier run")
    after = _ranked(new, other, "diff, later run")
    return (before[0], after[0]), (before[1], after[1])


def _ranked(
    predictions: _Predictions, weights: np.ndarray, label: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns AUC and average precision, [tags, 1 + resamplings] each."""
    # scikit-learn with it takes two seconds: not where a run has no evaluation.
    from pipeline.metrics.resampled_ranking import bootstrap_ranking

    posts, tags = predictions.labels.shape
    auc = np.full((tags, len(weights)), np.nan)
    precision = np.full((tags, len(weights)), np.nan)
    if not posts:
        return auc, precision
    for tag in progress.track(range(tags), label, unit="tags"):
        labels, scores = predictions.labels[:, tag], predictions.scores[:, tag]
        auc[tag], precision[tag] = bootstrap_ranking(labels, scores, weights)
    return auc, precision


def _weights(random: np.random.Generator, posts: int, resamplings: int) -> np.ndarray:
    """Returns how often each post is drawn, [1 + resamplings, posts], first once."""
    once = np.ones((1, posts), np.int64)
    if not resamplings or not posts:
        return np.repeat(once, resamplings + 1, axis=0)
    equal = np.full(posts, 1 / posts)
    drawn = random.multinomial(posts, equal, size=resamplings)
    return np.concatenate([once, drawn])


def _means(values: _Pair) -> _Pair:
    """Returns means over the tags that both runs can rank, [1 + resamplings]."""
    old, new = values
    known = ~(np.isnan(old[:, 0]) | np.isnan(new[:, 0]))
    if not known.any():
        nothing = np.full(old.shape[1], np.nan)
        return nothing, nothing
    return _nanmean(old[known]), _nanmean(new[known])


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over tags; a tag without positives in a draw is left out."""
    counts = (~np.isnan(values)).sum(axis=0)
    sums = np.nansum(values, axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _changes(names: list[str], values: _Pair) -> list[MetricChange]:
    """Returns the change of every tag: beyond chance first, then the largest."""
    old, new = values
    changes = []
    for tag, name in enumerate(names):
        changes.append(_change(name, (old[tag], new[tag])))
    changes.sort(
        key=lambda one: (not one.is_beyond_chance, -abs(one.change or 0), one.name)
    )
    return changes


def _change(name: str, values: _Pair) -> MetricChange:
    """Returns the change and its interval, which lies around the change itself."""
    before, after = _known(values[0][0]), _known(values[1][0])
    if before is None or after is None:
        return MetricChange(name, before, after, None, None, None)
    change = after - before
    drawn = (values[1] - values[0])[1:]
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return MetricChange(name, before, after, change, None, None)
    centred = change + drawn - drawn.mean()
    low, high = np.quantile(centred, [0.025, 0.975]).tolist()
    return MetricChange(name, before, after, change, low, high)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _reported(before: Run, after: Run) -> list[MetricChange]:
    """Returns what both runs' metrics.json say of test."""
    old, new = _test_metrics(before), _test_metrics(after)
    names = [name for name in LABELS if name in old or name in new]
    return [_reported_change(name, old.get(name), new.get(name)) for name in names]


def _test_metrics(run: Run) -> dict[str, dict[str, float]]:
    path = _file(run, "metrics.json")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["splits"]["test"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            f"{path} cannot be read: {error!r}. Run dvc repro again: evaluate makes it "
            "anew."
        ) from error


def _reported_change(
    name: str, old: dict[str, float] | None, new: dict[str, float] | None
) -> MetricChange:
    """Returns a change with the interval of two samples that have nothing in common."""
    was, now = old or {}, new or {}
    before, after = was.get("value"), now.get("value")
    if before is None or after is None:
        return MetricChange(name, before, after, None, None, None)
    change = after - before
    if "low" not in was or "low" not in now:
        return MetricChange(name, before, after, change, None, None)
    down = math.hypot(after - now["low"], was["high"] - before)
    up = math.hypot(now["high"] - after, before - was["low"])
    return MetricChange(name, before, after, change, change - down, change + up)
