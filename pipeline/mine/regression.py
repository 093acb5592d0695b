"""How well each tag fits a record, by what the other records say.

A linear regression of every tag on the network's features and on the other labels of
the record. A record is scored by the regression of the other folds, so that its own
labels are not among what was learnt; the network, whose features these are, has seen
them all the same where it was trained on the record.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline import progress
from pipeline.mine.labels import Labels

if TYPE_CHECKING:
    pass

RIDGE = 100.0
"""Penalty of the squared weights, of features with deviation 1. Of 1, 10, 100 and 300,
100 and 300 find missing labels of the sandbox best (bench/results/mining.md)."""

CHUNK = 4_096  # records at once; of 9,000 tags 150 MB

_CONSTANT = 1e-6  # penalty of the constant: next to none


@dataclass(frozen=True)
class _Inputs:
    """What a tag is regressed on: a constant, the features, the labels."""

    features: NDArray[np.float32]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    labels: Labels
    fold: NDArray[np.int64]  # of each record
    folds: int

    @property
    def first_label(self) -> int:
        """Place of the first label among the inputs."""
        return 1 + len(self.mean)

    @property
    def width(self) -> int:
        """Number of inputs."""
        return self.first_label + self.labels.vocabulary

    def chunks(self, fold: int) -> Iterator[NDArray[np.int64]]:
        """Yields the rows of a fold, CHUNK at a time."""
        rows = np.flatnonzero(self.fold == fold)
        for start in range(0, len(rows), CHUNK):
            yield rows[start : start + CHUNK]

    def dense(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns constant and features of rows."""
        values = (self.features[rows] - self.mean) / self.scale
        return np.concatenate([np.ones((len(rows), 1)), values], axis=1)


def score(
    features: NDArray[np.float32],
    labels: Labels,
    fold: NDArray[np.int64],
    path: Path,
) -> NDArray[np.float16]:
    """Returns a score per record and column of `labels`, an array on disk.

    A score is the expected value of the label, 0 to 1 and a little beyond. fold: of
    each record, from 0.
    """
    mean, scale = _moments(features)
    inputs = _Inputs(features, mean, scale, labels, fold, int(fold.max()) + 1)
    moments = [_fold_moments(inputs, number) for number in range(inputs.folds)]
    total = sum(moments[1:], start=moments[0])
    scores = np.lib.format.open_memmap(path, "w+", np.float16, labels.given.shape)
    with progress.meter("mine", unit="folds", total=inputs.folds) as meter:
        for number in range(inputs.folds):
            weights = _weights(total - moments[number], inputs)
            for rows in inputs.chunks(number):
                scores[rows] = _apply(weights, inputs, rows)
            meter.advance(1)
    return scores


def _moments(
    features: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and deviation of each feature, the latter never 0."""
    mean = np.zeros(features.shape[1])
    square = np.zeros(features.shape[1])
    for start in range(0, len(features), CHUNK):
        part = features[start : start + CHUNK].astype(np.float64)
        mean += part.sum(axis=0)
        square += (part**2).sum(axis=0)
    mean /= len(features)
    variance = np.maximum(square / len(features) - mean**2, 0)
    return mean, np.sqrt(variance) + 1e-6


def _fold_moments(inputs: _Inputs, fold: int) -> NDArray[np.float64]:
    """Returns the sums of products of all inputs with all inputs, then with rare tags.

    Float64 [inputs, inputs + rare tags], over the records of one fold.
    """
    first = inputs.first_label
    given = inputs.labels.given
    moments = np.zeros((inputs.width, first + given.shape[1]))
    for rows in inputs.chunks(fold):
        dense = inputs.dense(rows)
        tags = given[rows]
        moments[:first, :first] += dense.T @ dense
        moments[:first, first:] += (tags.T @ dense).T
        learnt = tags[:, : inputs.labels.vocabulary]
        moments[first:, first:] += (learnt.T @ tags).toarray()
    moments[first:, :first] = moments[:first, first : inputs.width].T
    return moments


def _weights(moments: NDArray[np.float64], inputs: _Inputs) -> NDArray[np.float64]:
    """Returns the weight of each input for each column, [inputs, columns].

    A label is regressed on all inputs but itself. All these regressions follow from one
    inverse, as in EASE (arXiv:1905.03375, equation 8). Rare tags are no inputs.
    """
    penalty = np.full(inputs.width, RIDGE)
    penalty[0] = _CONSTANT
    gram = moments[:, : inputs.width] + np.diag(penalty)
    inverse = np.linalg.inv(gram)
    first = inputs.first_label
    own = np.arange(first, inputs.width)
    learnt = -inverse[:, own] / inverse[own, own]
    learnt[own, np.arange(len(own))] = 0
    rare = inverse @ moments[:, inputs.width :]
    return np.concatenate([learnt, rare], axis=1)


def _apply(
    weights: NDArray[np.float64], inputs: _Inputs, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    first = inputs.first_label
    from_features = inputs.dense(rows) @ weights[:first]
    return from_features + inputs.labels.learnt[rows] @ weights[first:]


def folds_of(labels: Labels, folds: int, seed: int) -> NDArray[np.int64]:
    """Returns the fold of each record, at random; families of posts stay together."""
    groups, place = np.unique(
        labels.records["group_id"].to_numpy(), return_inverse=True
    )
    drawn = np.random.default_rng(seed).permutation(len(groups)) % folds
    return drawn[place]
