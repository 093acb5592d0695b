"""Focal loss against its formula."""

import numpy as np
import pytest

from tests.builders import losses


def focal(alpha: float, gamma: float) -> losses.Reference:
    def reference(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        p = losses.sigmoid(logits)
        rest = losses.sigmoid(-logits)
        positive = alpha * rest**gamma * losses.softplus(-logits)
        negative = (1 - alpha) * p**gamma * losses.softplus(logits)
        return labels * positive + (1 - labels) * negative

    return reference


@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_the_formula(alpha: float, gamma: float) -> None:
    from pipeline.model.losses import focal as module

    losses.assert_sound(module.loss(alpha, gamma), focal(alpha, gamma))


def test_defaults_are_those_of_the_paper() -> None:
    from pipeline.model.losses import focal as module

    losses.assert_values(module.loss(), focal(0.25, 2.0))
