"""How far predicted numbers are from true ones, beside a constant."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score

RESAMPLINGS = 1_000  # of the images behind each interval
LEVEL = 0.95  # share of resamplings inside an interval
_SEED = 621

Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True, slots=True)
class RegressionMetric:
    """A value with its interval, and what the best constant of train reaches.

    The constant is the median for the absolute error and the mean for R2; a constant
    ranks nothing, so its rank correlation is 0.
    """

    value: float
    low: float
    high: float
    baseline: float

    def text(self) -> str:
        """Returns the metric as a person reads it."""
        return (
            f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f}), "
            f"a constant {self.baseline:.4f}"
        )


def compute_metrics(
    train: np.ndarray, truth: np.ndarray, predicted: np.ndarray
) -> dict[str, RegressionMetric]:
    """Returns mean absolute error, R2 and Spearman's rank correlation.

    train: true values of the training images; truth, predicted: of the test images.
    """
    median = np.full(len(truth), np.median(train))
    mean = np.full(len(truth), np.mean(train))
    measures: dict[str, tuple[Measure, float]] = {
        "mae": (mean_absolute_error, float(mean_absolute_error(truth, median))),
        "r2": (r2_score, float(r2_score(truth, mean))),
        "spearman": (_spearman, 0.0),
    }
    found = {}
    for name, (measure, baseline) in measures.items():
        low, high = _interval(measure, truth, predicted)
        value = float(measure(truth, predicted))
        found[name] = RegressionMetric(value, low, high, baseline)
    return found


def _spearman(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the rank correlation; 0 where one side is constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        correlation = float(stats.spearmanr(truth, predicted).statistic)
    return correlation if np.isfinite(correlation) else 0.0


def _interval(
    measure: Measure, truth: np.ndarray, predicted: np.ndarray
) -> tuple[float, float]:
    """Returns the percentile interval over resamplings of the images."""
    random = np.random.default_rng(_SEED)
    found = []
    for _ in range(RESAMPLINGS):
        drawn = random.integers(0, len(truth), len(truth))
        # R2 is not defined where a resampling holds one value only.
        if np.ptp(truth[drawn]) > 0:
            found.append(measure(truth[drawn], predicted[drawn]))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(found, [tail, 1 - tail]).tolist()
    return low, high
