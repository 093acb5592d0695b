"""From the network's logits to all that is published of them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline import files, parquet, progress
from pipeline.evaluate import groups, image_facts, predictions_table
from pipeline.evaluate.case import Case, Finding, ScoredSplit
from pipeline.evaluate.evaluators import (
    accuracy,
    calibration_error,
    curves,
    f1,
    implications,
    per_tag,
    ranking,
    reciprocal_rank,
    slices,
)
from pipeline.evaluate.evaluators.implications import Implications
from pipeline.evaluate.evaluators.originals import Originals
from pipeline.evaluate.evaluators.ranking import RankedTags
from pipeline.evaluate.informed import Informed
from pipeline.metrics import calibration, prior, thresholds
from pipeline.metrics.bootstrap import Resampling
from pipeline.metrics.calibration import Calibration, Method, Reliability
from pipeline.metrics.catalogue import HEADLINE, Metric
from pipeline.metrics.thresholds import Thresholds
from pipeline.params.evaluate import Evaluate
from pipeline.schemas.evaluation import CURVES, PER_TAG, SLICES

SLICED_SPLITS = ("test", "fresh")
_DECIMALS = 6  # of the metrics in JSON


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is known beside the model's answers.

    vocabulary: ordered by label id. positives: training images of each tag, int64
    [tags]; records: all of them. facts: of each split's images, in its order. fit:
    `shard.fit`.
    """

    vocabulary: pl.DataFrame
    positives: np.ndarray
    records: int
    facts: Mapping[str, pl.DataFrame]
    informed: Informed
    implications: Implications
    fit: str

    @property
    def shares(self) -> np.ndarray:
        """Share of the training images with each tag, float64 [tags]."""
        return np.asarray(self.positives / self.records)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The calibration, and the reliability of each tag by split, before and after."""

    calibration: Calibration
    before: dict[str, Reliability]
    after: dict[str, Reliability]


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """What was found of a split."""

    case: Case
    ranked: RankedTags
    resampling: Resampling
    metrics: dict[str, Metric]


def calibrate(params: Evaluate, splits: Mapping[str, ScoredSplit]) -> Calibrated:
    """Fits the calibration on validation, and makes logits into scores, in place."""
    raw = Calibration(Method.NONE)
    found = calibration.fit(Method(params.calibration), splits["validation"].scores)
    before, after = {}, {}
    for name, split in splits.items():
        before[name] = calibration.reliability(split.scores, raw)
        values = split.scores.values
        for tag in range(split.scores.tags):
            values[tag] = found.scores(values[tag])
        after[name] = calibration.reliability(split.scores)
    return Calibrated(found, before, after)


def write(
    params: Evaluate,
    inputs: Inputs,
    splits: Mapping[str, ScoredSplit],
    calibrated: Calibrated,
    originals: Originals,
    folder: Path,
) -> None:
    """Evaluates the splits and writes everything into the folder."""
    chosen = thresholds.choose(
        splits["validation"].scores,
        support=params.threshold_support,
        min_precision=params.min_precision,
    )
    found = {}
    for name, split in splits.items():
        progress.log(f"evaluate: {split.scores.images:,} images of {name}")
        reliability = calibrated.after[name]
        found[name] = _evaluate(params, inputs, split, chosen, reliability)
    test = found["test"]
    metrics = _metrics_tree(found)
    metrics["originals"] = _rounded(originals)
    metrics["implications"] = _implications_tree(test, inputs.implications)
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(folder / "headline.json", _headline(test.metrics))
    _write_thresholds(folder, params, inputs.vocabulary, chosen, calibrated)
    _write_tables(folder, inputs, found, calibrated)
    predictions_table.write(folder / "predictions.parquet", splits.values())
    _log_headline(test.metrics)


def _evaluate(
    params: Evaluate,
    inputs: Inputs,
    split: ScoredSplit,
    chosen: Thresholds,
    reliability: Reliability,
) -> _Evaluated:
    facts = inputs.facts[split.name]
    labels = split.scores.labels
    priors = {
        "blind": prior.blind(inputs.shares, labels),
        "informed": inputs.informed.prior(facts["rating"].to_list(), labels),
    }
    case = Case.build(split, facts, inputs.shares, priors, chosen)
    of_tags = groups.of_tags(inputs.vocabulary, inputs.positives)
    ranked = ranking.rank_tags(split.scores, of_tags)
    resampling = Resampling(
        split.scores.images, resamplings=params.bootstrap, seed=params.seed
    )
    metrics = {}
    for finding in _findings(case, ranked, reliability):
        metrics[finding.name] = _metric(finding, resampling)
    return _Evaluated(case, ranked, resampling, metrics)


def _findings(
    case: Case, ranked: RankedTags, reliability: Reliability
) -> Iterator[Finding]:
    """Yields what every evaluator finds."""
    yield from ranking.evaluate(case, ranked)
    yield from f1.evaluate(case)
    yield from reciprocal_rank.evaluate(case)
    yield from accuracy.evaluate(case)
    yield from calibration_error.evaluate(case, reliability)


def _metric(finding: Finding, resampling: Resampling) -> Metric:
    """Returns the metric with its interval."""
    estimate = finding.estimate
    metric = Metric(
        value=estimate.value,
        baseline=finding.baseline,
        informed_baseline=finding.informed_baseline,
        absent=estimate.absent,
    )
    if estimate.value is None or estimate.influence is None:
        return metric
    bounds = resampling.interval(estimate.value, estimate.influence)
    if bounds is None:
        return metric
    return replace(metric, low=bounds[0], high=bounds[1])


def _metrics_tree(found: Mapping[str, _Evaluated]) -> dict[str, Any]:
    """Returns the content of metrics.json, without what only test has."""
    splits = {}
    records = {}
    tags = {"vocabulary": found["test"].case.split.scores.tags}
    for name, evaluated in found.items():
        metrics = evaluated.metrics
        splits[name] = {key: _rounded(metric) for key, metric in metrics.items()}
        scores = evaluated.case.split.scores
        records[name] = scores.images
        missing = int(np.count_nonzero(scores.positives == 0))
        tags[f"without_positives_in_{name}"] = missing
    return {"splits": splits, "records": records, "tags": tags}


def _implications_tree(
    test: _Evaluated, relations: Implications
) -> dict[str, dict[str, float]]:
    modes = implications.evaluate(test.case, test.ranked, relations)
    tree = {}
    for mode, metrics in modes.items():
        tree[mode] = {name: round(one, _DECIMALS) for name, one in metrics.items()}
    return tree


def _headline(metrics: Mapping[str, Metric]) -> dict[str, dict[str, Any]]:
    """Returns the content of headline.json: few numbers, so that they fit a line."""
    tree = {}
    for name in HEADLINE:
        metric = metrics[name]
        tree[name] = _rounded(Metric(metric.value, metric.baseline))
    return tree


def _rounded(found: Metric | Originals) -> dict[str, Any]:
    """Returns what is known, by name."""
    tree: dict[str, Any] = {}
    for name, value in asdict(found).items():
        if isinstance(value, float):
            tree[name] = round(value, _DECIMALS)
        elif value is not None:
            tree[name] = value
    return tree


def _write_thresholds(
    folder: Path,
    params: Evaluate,
    vocabulary: pl.DataFrame,
    chosen: Thresholds,
    calibrated: Calibrated,
) -> None:
    """Writes thresholds.json and calibration.json."""
    names = vocabulary["name"].to_list()
    by_name = dict(zip(names, chosen.per_tag.tolist(), strict=True))
    files.write_json(folder / "thresholds.json", by_name)
    errors = {}
    for name, before in calibrated.before.items():
        errors[name] = {
            "before": _error(before),
            "after": _error(calibrated.after[name]),
        }
    tree = {
        "calibration": asdict(calibrated.calibration),
        "calibration_error": errors,
        "thresholds": {
            "break_even": chosen.break_even,
            "flat": thresholds.FLAT,
            "min_precision": params.min_precision,
            "precision_not_met": [names[tag] for tag in chosen.unmet],
            "shared": chosen.shared,
            "support": params.threshold_support,
        },
    }
    files.write_json(folder / "calibration.json", tree)
    if chosen.unmet:
        progress.log(
            f"evaluate: no threshold gives {len(chosen.unmet):,} tags a precision of "
            f"{params.min_precision} on validation: see calibration.json"
        )


def _error(reliability: Reliability) -> float:
    return round(float(reliability.total().error), _DECIMALS)


def _write_tables(
    folder: Path,
    inputs: Inputs,
    found: Mapping[str, _Evaluated],
    calibrated: Calibrated,
) -> None:
    """Writes per_tag, curves and slices."""
    test = found["test"]
    reliability = calibrated.after["test"]
    table = per_tag.table(
        inputs.vocabulary, inputs.positives, test.case, test.ranked, reliability
    )
    parquet.write(folder / "per_tag.parquet", table, PER_TAG)
    of_all_tags = {
        "calibration": reliability.total(),
        "calibration_before": calibrated.before["test"].total(),
    }
    points = curves.rows(test.case.split.scores, test.case.blind, of_all_tags)
    parquet.write(folder / "curves.parquet", points, CURVES)
    parquet.write(folder / "slices.parquet", _slices(inputs, found), SLICES)


def _slices(
    inputs: Inputs, found: Mapping[str, _Evaluated]
) -> Iterator[dict[str, Any]]:
    """Yields rows of schemas.SLICES."""
    of_tags = groups.of_tags(inputs.vocabulary, inputs.positives)
    for name in SLICED_SPLITS:
        if name in found:
            evaluated = found[name]
            case = evaluated.case
            dark = image_facts.of_the_image(
                case.split.dark_shares, case.facts, inputs.fit
            )
            of_images = groups.of_images(case.facts, dark)
            yield from slices.rows(
                case, evaluated.ranked, of_tags, of_images, evaluated.resampling
            )


def _log_headline(metrics: Mapping[str, Metric]) -> None:
    for name in HEADLINE:
        metric = metrics[name]
        if metric.value is not None:
            progress.log(
                f"evaluate: test {name} {metric.value:.4f}, image-blind "
                f"{metric.baseline:.4f}"
            )
