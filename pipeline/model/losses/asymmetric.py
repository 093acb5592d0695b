"""Asymmetric loss of logits (Ridnik et al. 2021, arXiv:2009.14119).

Import only after `backend.start`.
"""

from typing import Any

import keras
from keras import ops

from pipeline.model.losses.elementwise import ElementwiseLoss


def loss(
    gamma_positive: float = 0.0, gamma_negative: float = 4.0, margin: float = 0.05
) -> ElementwiseLoss:
    """Returns the loss; the defaults are the paper's.

    gamma_positive, gamma_negative: focus on positives and negatives that are wrong, at
    least 0. margin: probability, 0 to 1, below which a negative costs nothing.
    """
    return Asymmetric(gamma_positive, gamma_negative, margin)


@keras.saving.register_keras_serializable("e6tag")
class Asymmetric(ElementwiseLoss):
    """See `loss`.

    The gradient runs through the focusing weights too, as the paper's formula has it.
    """

    def __init__(
        self, gamma_positive: float, gamma_negative: float, margin: float
    ) -> None:
        super().__init__(name="asymmetric")
        self.gamma_positive = gamma_positive
        self.gamma_negative = gamma_negative
        self.margin = margin

    def elements(
        self, labels: "keras.KerasTensor", logits: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns -(1 - p)^gamma_positive log p, or the same of a shifted negative."""
        focus = ops.exp(-self.gamma_positive * ops.softplus(logits))
        positive = labels * focus * ops.softplus(-logits)
        negative = (1 - labels) * self._negative(logits)
        return positive + negative

    def _negative(self, logits: "keras.KerasTensor") -> "keras.KerasTensor":
        """Returns -q^gamma_negative log(1 - q) with q = max(p - margin, 0)."""
        if self.margin == 0:
            focus = ops.exp(-self.gamma_negative * ops.softplus(-logits))
            return focus * ops.softplus(logits)
        # 1 - q is at least the margin: its logarithm needs no epsilon.
        # Below the margin it is above 1, where the power is 0.
        complement = ops.sigmoid(-logits) + self.margin
        shifted = ops.sigmoid(logits) - self.margin
        return -_power(shifted, self.gamma_negative) * ops.log(complement)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {
            "gamma_positive": self.gamma_positive,
            "gamma_negative": self.gamma_negative,
            "margin": self.margin,
        }


def _power(base: "keras.KerasTensor", exponent: float) -> "keras.KerasTensor":
    """Returns max(base, 0)^exponent, with a finite gradient at 0 for any exponent."""
    is_positive = base > 0
    # The inner choice keeps 0 from the power, whose gradient there may be infinite, and
    # infinity times 0 is not a number.
    power = ops.power(ops.where(is_positive, base, 1.0), exponent)
    return ops.where(is_positive, power, 0.0)
