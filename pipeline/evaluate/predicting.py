"""The network's pass over a split, into matrices on disk.

Import only after `backend.start`.
"""

from pathlib import Path

import keras
import numpy as np

from pipeline import progress
from pipeline.data import loader
from pipeline.data.shards import Split
from pipeline.errors import BadInput
from pipeline.evaluate import image_facts, matrices
from pipeline.evaluate.case import ScoredSplit
from pipeline.metrics.tag_scores import TagScores, sparse_rows
from pipeline.model.predict import BATCH_SIZE, outputs


def predict(network: keras.Model, split: Split, size: int, folder: Path) -> ScoredSplit:
    """Returns the split with logits in the place of scores.

    size: pixels, the network's input. folder: on whose disk the matrices are. Raises
    BadInput where an output is not a finite number.
    """
    answers = _Answers(split, folder)
    label = f"evaluate: {split.name}"
    with progress.meter(label, unit="images", total=split.records) as meter:
        for batch in loader.batches(split, size, BATCH_SIZE):
            answers.add(batch, *outputs(network, batch.images))
            meter.advance(len(batch.md5s))
    return answers.joined()


class _Answers:
    """The outputs of the network for the images of a split, as they come."""

    def __init__(self, split: Split, folder: Path) -> None:
        self._split = split
        self._folder = folder
        self._logits = matrices.new(folder, split.tags, split.records)
        self._uncertainty: np.ndarray | None = None
        self._post_ids: list[np.ndarray] = []
        self._md5s: list[str] = []
        self._dark_shares: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._not_finite = 0

    def add(
        self, batch: loader.Batch, logits: np.ndarray, uncertainty: np.ndarray | None
    ) -> None:
        """Adds a batch. logits, uncertainty: float32 [n, tags]."""
        first = len(self._md5s)
        place = slice(first, first + len(logits))
        self._not_finite += int((~np.isfinite(logits)).any(axis=1).sum())
        self._logits[:, place] = logits.T
        if uncertainty is not None:
            if self._uncertainty is None:
                shape = self._logits.shape
                self._uncertainty = matrices.new(self._folder, *shape)
            self._uncertainty[:, place] = uncertainty.T
        self._post_ids.append(batch.post_ids)
        self._md5s += batch.md5s
        self._dark_shares.append(image_facts.dark_shares(batch.images))
        for labels in batch.labels:
            self._labels.append(np.flatnonzero(labels).astype(np.int32))

    def joined(self) -> ScoredSplit:
        """Returns the whole split; raises BadInput."""
        split = self._split
        if self._not_finite:
            raise BadInput(
                f"data/model/model.keras gives outputs that are not finite numbers for "
                f"{self._not_finite:,} of {split.records:,} images of {split.name}. "
                "Lower the learning rate of train.schedule and train again."
            )
        by_tag = sparse_rows(self._labels, split.tags).T.tocsr()
        by_tag.sort_indices()
        return ScoredSplit(
            name=split.name,
            post_ids=np.concatenate(self._post_ids),
            md5s=self._md5s,
            scores=TagScores(by_tag, self._logits),
            uncertainty=self._uncertainty,
            dark_shares=np.concatenate(self._dark_shares),
        )
