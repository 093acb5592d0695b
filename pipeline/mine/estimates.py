"""The estimates of all tags, and with them the probability of every label."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

from pipeline.mine import noise_model
from pipeline.mine.histograms import ABSENT, HELD_OUT, PRESENT, TRAINED, Histograms
from pipeline.mine.labels import Labels
from pipeline.mine.noise_model import Curve

_FACTORS = (1.0, 10.0)
"""Bounds of how many times more labels are missing than training records show."""

_SHARES = (0.002, 0.6)
"""Bounds of the share of missing labels that is expected of a tag."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """What the curves say.

    curves: by column, None where there is no estimate; missing, wrong: float32 [part,
    columns, bins]: the probability that an absent label is missing, and that a present
    one is wrong.
    """

    curves: list[Curve | None]
    missing: NDArray[np.float32]
    wrong: NDArray[np.float32]

    @classmethod
    def empty(cls, columns: int, bins: int) -> "Estimates":
        """Returns no estimate of any column."""
        shape = (2, columns, bins)
        zeros = np.zeros(shape, np.float32)
        return cls([None] * columns, zeros, zeros.copy())

    def wrong_share(self, histograms: Histograms, column: int) -> float:
        """Returns the share of the records with a tag that it is untrue of."""
        present = histograms.counts[:, PRESENT, column]
        return float((present * self.wrong[:, column]).sum() / present.sum())


def estimate(histograms: Histograms, vocabulary: int) -> Estimates:
    """Fits every column; the first `vocabulary` columns are what the network learnt."""
    columns, bins = histograms.counts.shape[2:]
    found = Estimates.empty(columns, bins)
    usable = np.flatnonzero(_can_be_estimated(histograms.counts)).tolist()
    # Threads cost ten times what they save in steps of four parameters.
    with threadpool_limits(1, user_api="blas"):
        learnt = [column for column in usable if column < vocabulary]
        _estimate_learnt(found, histograms, learnt)
        curves = [found.curves[column] for column in learnt]
        shares = [curve.missing for curve in curves if curve is not None]
        typical = float(np.mean(shares)) if shares else 0.05
        for column in usable:
            if column >= vocabulary:
                _estimate_rare(found, histograms, column, typical)
    return found


def _estimate_learnt(
    found: Estimates, histograms: Histograms, columns: list[int]
) -> None:
    """Fits training records and the others, and the others again with both."""
    trained = {}
    held_out = {}
    for column in columns:
        trained[column] = fit_column(histograms, column, TRAINED)
        held_out[column] = fit_column(histograms, column, HELD_OUT)
    factor = _factor(trained.values(), held_out.values())
    for column, curve in trained.items():
        score = histograms.scaled(column)
        prior = _prior(factor * curve.missing, noise_model.POOLED_WEIGHT)
        final = fit_column(histograms, column, HELD_OUT, prior=prior)
        found.curves[column] = final
        found.missing[HELD_OUT, column] = final.missing_given_absent(score)
        counts = histograms.counts[TRAINED, :, column]
        found.missing[TRAINED, column] = _tilted(curve, final.missing, score, counts)
        found.wrong[HELD_OUT, column] = final.wrong_given_present(score)
        found.wrong[TRAINED, column] = curve.wrong_given_present(score)


def _estimate_rare(
    found: Estimates, histograms: Histograms, column: int, typical: float
) -> None:
    """Fits all records alike: the network has not seen whether they have the tag.

    typical: the share of missing labels of the other tags. From few positives it cannot
    be told from that of images that look the same (a hoodie, another jacket).
    """
    prior = _prior(typical, noise_model.TYPICAL_WEIGHT)
    curve = fit_column(histograms, column, TRAINED, HELD_OUT, prior=prior)
    score = histograms.scaled(column)
    found.curves[column] = curve
    found.missing[:, column] = curve.missing_given_absent(score)
    found.wrong[:, column] = curve.wrong_given_present(score)


def _prior(share: float, weight: float) -> tuple[float, float]:
    """Returns the weights of a share of missing labels that is expected."""
    expected = float(np.clip(share, *_SHARES))
    return weight * expected, weight * (1 - expected)


def _can_be_estimated(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    present = counts[:, PRESENT].sum(axis=(0, 2))
    absent = counts[:, ABSENT].sum(axis=(0, 2))
    return (present >= noise_model.MIN_POSITIVES) & (absent > 0)


def fit_column(
    histograms: Histograms,
    column: int,
    *parts: int,
    prior: tuple[float, float] = noise_model.MISSING_PRIOR,
) -> Curve:
    """Returns the curve of a column, by the records of these parts together."""
    counts = histograms.counts[list(parts), :, column].sum(axis=0).astype(np.float64)
    score = histograms.scaled(column)
    return noise_model.fit(score, counts[PRESENT], counts[ABSENT], prior)


def _factor(trained: Iterable[Curve], held_out: Iterable[Curve]) -> float:
    """Returns how many times more labels are missing than training records show."""
    shown = sum(curve.missing for curve in trained)
    found = sum(curve.missing for curve in held_out)
    return float(np.clip(found / max(shown, 1e-9), *_FACTORS))


def _tilted(
    curve: Curve,
    missing: float,
    score: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Returns the probabilities of training records, with the share that is missing."""
    odds = logit(curve.missing_given_absent(score))
    expected = missing / (1 - missing) * float(counts[PRESENT].sum())
    absent = counts[ABSENT].astype(np.float64)
    return np.asarray(expit(odds + noise_model.tilt(odds, absent, expected)))


def table(estimates: Estimates, histograms: Histograms, labels: Labels) -> pl.DataFrame:
    """Returns schemas.LABEL_NOISE."""
    positives = labels.learnt.sum(axis=0).astype(np.int64)
    records = labels.records.height
    rows = []
    for column in range(labels.vocabulary):
        curve = estimates.curves[column]
        row = {
            "label_id": column,
            "name": labels.names[column],
            "positives": int(positives[column]),
            "missing_share": None,
            "missing_low": None,
            "missing_high": None,
            "wrong_share": None,
            "absent": _absent(int(positives[column]), records),
        }
        if curve is not None:
            row["missing_share"] = curve.missing
            row["wrong_share"] = estimates.wrong_share(histograms, column)
            if np.isfinite(curve.low):
                row["missing_low"], row["missing_high"] = curve.low, curve.high
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def _absent(positives: int, records: int) -> str | None:
    if positives < noise_model.MIN_POSITIVES:
        return (
            f"{positives:,} records have the label, of {noise_model.MIN_POSITIVES} "
            "that an estimate needs"
        )
    if positives == records:
        return "every record has the label"
    return None
