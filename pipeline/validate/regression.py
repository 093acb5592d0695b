"""The rules before a release: is this model good enough to be exported?

It is compared with the image-blind baseline, by evaluate.regression, and with the
model that export.previous names.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline import parquet, releases
from pipeline.metrics.catalogue import HEADLINE, LABELS
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.releases import Release
from pipeline.validate.checks import Check, no_violations
from pipeline.validate.violations import NONE, listed

JUDGED = "macro_map"
"""The metric that must beat its baseline by the margin, and have an interval."""


@dataclass(frozen=True, slots=True)
class _Metric:
    """A metric of metrics.json; None stands for what is no finite number."""

    value: float | None
    baseline: float | None
    low: float | None
    high: float | None

    @classmethod
    def read(cls, metrics: Any, name: str) -> "_Metric":
        found = metrics.get(name) if isinstance(metrics, dict) else None
        tree = found if isinstance(found, dict) else {}
        return cls(
            value=_finite(tree.get("value")),
            baseline=_finite(tree.get("baseline")),
            low=_finite(tree.get("low")),
            high=_finite(tree.get("high")),
        )


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value):
        return float(value)
    return None


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A metric beside that of the released model.

    allowed: how much it may be less. is_alone: whether this evaluation has no interval.
    """

    metric: str
    value: float
    released: float
    allowed: float
    is_alone: bool

    @property
    def shortfall(self) -> float:
        """By how much it is less than it may be; negative where it is not."""
        return self.released - self.allowed - self.value


def findings(params: Params, paths: Paths) -> Iterator[Check]:
    """Yields the rules of an evaluation's worth, for the table of findings."""
    metrics = _test_metrics(paths)
    yield _headline_is_finite(metrics)
    margin = params.evaluate.regression.margin_over_baseline
    yield _beats_baseline(_Metric.read(metrics, JUDGED), margin)
    if params.export.previous is not None:
        release = releases.read(paths.root, params.export.previous)
        yield _can_be_compared(release, params.export.previous)
        if release is not None:
            yield _is_not_worse(metrics, release, paths)


def _test_metrics(paths: Paths) -> Any:
    path = paths.evaluation / "metrics.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    splits = tree.get("splits") if isinstance(tree, dict) else None
    return splits.get("test") if isinstance(splits, dict) else None


def _headline_is_finite(metrics: Any) -> Check:
    wrong = []
    for name in HEADLINE:
        metric = _Metric.read(metrics, name)
        if metric.value is None or metric.baseline is None:
            values = {"value": metric.value, "baseline": metric.baseline}
            wrong.append({"metric": name, **values})
    labels = ", ".join(LABELS[name] for name in HEADLINE)
    description = f"{labels} on test and their baselines are finite numbers"
    return no_violations("headline_missing", description, listed(wrong, len(HEADLINE)))


def _beats_baseline(metric: _Metric, margin: float) -> Check:
    """Checks the margin at the low end of the interval, where there is one."""
    if metric.value is None or metric.baseline is None:
        # headline_missing fails for it.
        return no_violations("margin_over_baseline", "not checked", NONE)
    reached = metric.value if metric.low is None else metric.low
    needed = metric.baseline + margin
    wrong = []
    if reached <= needed:
        wrong.append({"metric": JUDGED, "reached": reached, "needed": needed})
    where = "at the low end of its interval"
    if metric.low is None:
        where = "without an interval, since evaluate.bootstrap is 0"
    description = (
        f"{LABELS[JUDGED]} on test, {reached:.4f} {where}, must be above the "
        f"image-blind {metric.baseline:.4f} by evaluate.regression."
        f"margin_over_baseline, {margin:g}"
    )
    return no_violations("margin_over_baseline", description, listed(wrong, 1))


def _can_be_compared(release: Release | None, name: str) -> Check:
    """Warns of a release that this model cannot be compared with."""
    missing = []
    if release is None:
        missing.append({"release": name, "lacks": "metrics.json"})
    elif _Metric.read(release.metrics, JUDGED).low is None:
        missing.append({"release": name, "lacks": f"an interval of {JUDGED}"})
    description = (
        f"{name} has the metrics.json of its bundle, with intervals, or else nothing "
        "says whether this model is worse"
    )
    found = listed(missing, 1)
    return no_violations(
        "release_without_metrics", description, found, severity="warning"
    )


def _is_not_worse(metrics: Any, release: Release, paths: Paths) -> Check:
    """Checks that no headline metric is below the release's by more than may be."""
    is_same = _is_same_test(release, paths)
    compared: list[_Comparison] = []
    for name in HEADLINE:
        now = _Metric.read(metrics, name)
        compared += _comparisons(
            name, now, _Metric.read(release.metrics, name), is_same=is_same
        )
    if not compared:
        description = f"not compared: {release.name} has no intervals"
        return no_violations("worse_than_release", description, NONE)
    wrong = [_row(one) for one in compared if one.shortfall > 0]
    worst = max(compared, key=lambda one: one.shortfall)
    posts = "of the same test posts and tags, so by its own interval"
    if not is_same:
        posts = "of other test posts or tags, so by both intervals together"
        if worst.is_alone:
            posts = "of other test posts or tags; by its interval, as there is no other"
    description = (
        f"{LABELS[worst.metric]} on test, {worst.value:.4f}, must not be below the "
        f"{worst.released:.4f} of {release.name} by more than {worst.allowed:.4f} "
        f"({posts})"
    )
    found = listed(wrong, len(compared))
    return no_violations("worse_than_release", description, found)


def _comparisons(
    name: str, now: _Metric, then: _Metric, *, is_same: bool
) -> Iterator[_Comparison]:
    """Yields the comparison of a metric, nothing where the release has no interval.

    On the same posts the release's own interval is what chance allows. Else the two
    differ by chance as two samples do: the root of the sum of the squares. Without an
    interval of this evaluation, the release's own is held to: that is stricter.
    """
    if now.value is None or then.value is None or then.low is None:
        return
    allowed = then.value - then.low
    is_alone = now.high is None
    if not is_same and now.high is not None:
        allowed = math.hypot(allowed, now.high - now.value)
    yield _Comparison(name, now.value, then.value, allowed, is_alone)


def _row(comparison: _Comparison) -> dict[str, Any]:
    return {
        "metric": comparison.metric,
        "value": comparison.value,
        "released": comparison.released,
        "allowed_less": round(comparison.allowed, 6),
    }


def _is_same_test(release: Release, paths: Paths) -> bool:
    """Returns whether the released model was tested on the same posts and tags."""
    predictions = pl.scan_parquet(paths.evaluation / "predictions.parquet")
    test = predictions.filter(pl.col("split") == "test").select("post_id")
    posts = test.collect(engine="streaming")["post_id"]
    tags = parquet.read(paths.sample / "vocabulary.parquet", columns=["name"])["name"]
    digests = (releases.digest(posts), releases.digest(tags))
    return digests == (release.posts_digest, release.tags_digest)
