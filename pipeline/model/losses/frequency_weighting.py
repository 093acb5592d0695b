"""Weights tags by their frequency, around any elementwise loss.

The class-balanced weights of Cui et al. 2019 (arXiv:1901.05555). Import only after
`backend.start`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from pipeline.model.losses.elementwise import ElementwiseLoss


def loss(
    base: ElementwiseLoss, positives: Sequence[int], beta: float = 0.999
) -> ElementwiseLoss:
    """Returns `base` with a weight per tag.

    positives: records that have each tag, in the order of the tags. beta: from 0, where
    all tags weigh the same, to just below 1, where a tag weighs as the inverse of its
    frequency. Positives and negatives of a tag have the same weight, so that its
    probabilities stay calibrated.
    """
    return FrequencyWeighting(base, positives, beta)


def weights(positives: Sequence[int], beta: float) -> np.ndarray:
    """Returns (1 - beta) / (1 - beta^positives), scaled to mean 1; float32 [tags].

    A tag without positives weighs as one with a single positive.
    """
    counts = np.maximum(np.asarray(positives, np.float64), 1)
    effective = 1 - np.power(np.float64(beta), counts)
    inverse = 1 / effective
    return (inverse / inverse.mean()).astype(np.float32)


@keras.saving.register_keras_serializable("e6tag")
class FrequencyWeighting(ElementwiseLoss):
    """See `loss`."""

    def __init__(
        self, base: ElementwiseLoss, positives: Sequence[int], beta: float
    ) -> None:
        super().__init__(name=f"frequency_weighted_{base.name}")
        self.base = base
        self.positives = [int(count) for count in positives]
        self.beta = beta
        self._weights = weights(self.positives, beta)

    def elements(
        self, labels: "keras.KerasTensor", logits: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns the values of `base` times the weights of their tags."""
        return self.base.elements(labels, logits) * self._weights

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {
            "base": keras.saving.serialize_keras_object(self.base),
            "positives": self.positives,
            "beta": self.beta,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FrequencyWeighting":
        """Returns the loss of `get_config`."""
        base = keras.saving.deserialize_keras_object(config["base"])
        return cls(**{**config, "base": base})
