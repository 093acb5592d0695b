"""Focal loss of logits (Lin et al. 2017, arXiv:1708.02002).

Import only after `backend.start`.
"""

from typing import Any

import keras
from keras import ops

from pipeline.model.losses.elementwise import ElementwiseLoss


def loss(alpha: float = 0.25, gamma: float = 2.0) -> ElementwiseLoss:
    """Returns the loss.

    alpha: weight of positives, 0 to 1; negatives have 1 - alpha. gamma: at least 0; the
    larger, the less weight examples have that are already right.
    """
    return Focal(alpha, gamma)


@keras.saving.register_keras_serializable("e6tag")
class Focal(ElementwiseLoss):
    """See `loss`."""

    def __init__(self, alpha: float, gamma: float) -> None:
        super().__init__(name="focal")
        self.alpha = alpha
        self.gamma = gamma

    def elements(
        self, labels: "keras.KerasTensor", logits: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns -alpha_t (1 - p_t)^gamma log p_t."""
        positive_entropy = ops.softplus(-logits)
        negative_entropy = ops.softplus(logits)
        # (1 - p)^gamma and p^gamma as exponentials of logarithms: the power's own
        # gradient is infinite at 0 where gamma is below 1.
        positive = ops.exp(-self.gamma * negative_entropy) * positive_entropy
        negative = ops.exp(-self.gamma * positive_entropy) * negative_entropy
        weighted_positive = self.alpha * labels * positive
        weighted_negative = (1 - self.alpha) * (1 - labels) * negative
        return weighted_positive + weighted_negative

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {"alpha": self.alpha, "gamma": self.gamma}
