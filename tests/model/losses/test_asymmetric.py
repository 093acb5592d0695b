"""Asymmetric loss against its formula."""

import numpy as np
import pytest

from tests.builders import losses


def asymmetric(
    gamma_positive: float, gamma_negative: float, margin: float
) -> losses.Reference:
    def reference(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        focus = losses.sigmoid(-logits) ** gamma_positive
        positive = focus * losses.softplus(-logits)
        shifted = np.maximum(losses.sigmoid(logits) - margin, 0)
        complement = np.minimum(losses.sigmoid(-logits) + margin, 1)
        negative = -(shifted**gamma_negative) * np.log(complement)
        return labels * positive + (1 - labels) * negative

    return reference


@pytest.mark.parametrize("gamma_positive", [0.0, 1.0])
@pytest.mark.parametrize("gamma_negative", [0.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2])
def test_asymmetric_loss_is_the_formula(
    gamma_positive: float, gamma_negative: float, margin: float
) -> None:
    from pipeline.model.losses import asymmetric as module

    numbers = (gamma_positive, gamma_negative, margin)
    losses.assert_sound(module.loss(*numbers), asymmetric(*numbers))


def test_defaults_are_those_of_the_paper() -> None:
    from pipeline.model.losses import asymmetric as module

    losses.assert_values(module.loss(), asymmetric(0.0, 4.0, 0.05))


def test_negatives_below_the_margin_cost_nothing() -> None:
    from pipeline.model.losses import asymmetric as module

    loss = module.loss(margin=0.2)
    probabilities = np.array([[0.01, 0.1, 0.19]])
    logits = np.log(probabilities / (1 - probabilities))
    labels = np.zeros_like(logits)
    assert (losses.values(loss, labels, logits) == 0).all()
    assert (losses.gradients(loss, labels, logits) == 0).all()
