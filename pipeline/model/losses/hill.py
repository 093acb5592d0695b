"""Hill loss of logits, for labels of which many are missing.

Zhang et al. 2021 (arXiv:2112.07368), section 3.2, with the focal margin loss of
positives from section 3.3. Import only after `backend.start`.
"""

from typing import Any

import keras
from keras import ops

from pipeline.model.losses.elementwise import ElementwiseLoss


def loss(
    curvature: float = 1.5, margin: float = 1.0, gamma: float = 2.0
) -> ElementwiseLoss:
    """Returns the loss; the defaults are the paper's.

    curvature: the paper's lambda, at least 1; a negative costs (curvature - p) p^2, so
    its gradient falls again where the model is sure of the tag, which is perhaps only
    missing. margin: subtracted from logits of positives. gamma: focus on positives that
    are not yet right.
    """
    return Hill(curvature, margin, gamma)


@keras.saving.register_keras_serializable("e6tag")
class Hill(ElementwiseLoss):
    """See `loss`."""

    def __init__(self, curvature: float, margin: float, gamma: float) -> None:
        super().__init__(name="hill")
        self.curvature = curvature
        self.margin = margin
        self.gamma = gamma

    def elements(
        self, labels: "keras.KerasTensor", logits: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns the focal margin loss of positives, (curvature - p) p^2 of others."""
        shifted = logits - self.margin
        focus = ops.exp(-self.gamma * ops.softplus(shifted))
        positive = labels * focus * ops.softplus(-shifted)
        # curvature - p with 1 - p as a probability of its own: at curvature 1 the
        # difference would leave no digits where p is near 1.
        slack = (self.curvature - 1) + ops.sigmoid(-logits)
        negative = (1 - labels) * slack * ops.square(ops.sigmoid(logits))
        return positive + negative

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {
            "curvature": self.curvature,
            "margin": self.margin,
            "gamma": self.gamma,
        }
