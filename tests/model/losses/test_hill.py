"""Hill loss against its formula."""

import numpy as np
import pytest

from tests.builders import losses


def hill(curvature: float, margin: float, gamma: float) -> losses.Reference:
    def reference(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        shifted = logits - margin
        positive = losses.sigmoid(-shifted) ** gamma * losses.softplus(-shifted)
        slack = curvature - 1 + losses.sigmoid(-logits)
        negative = slack * losses.sigmoid(logits) ** 2
        return labels * positive + (1 - labels) * negative

    return reference


@pytest.mark.parametrize("curvature", [1.0, 1.5])
@pytest.mark.parametrize("margin", [0.0, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_hill_loss_is_the_formula(
    curvature: float, margin: float, gamma: float
) -> None:
    from pipeline.model.losses import hill as module

    numbers = (curvature, margin, gamma)
    losses.assert_sound(module.loss(*numbers), hill(*numbers))


def test_defaults_are_those_of_the_paper() -> None:
    from pipeline.model.losses import hill as module

    losses.assert_values(module.loss(), hill(1.5, 1.0, 2.0))


def test_a_negative_that_looks_like_a_positive_is_hardly_pushed() -> None:
    from pipeline.model.losses import hill as module

    logits = np.array([[0.0, 5.0]])
    pushes = losses.gradients(module.loss(), np.zeros_like(logits), logits)
    assert pushes[0, 1] < 0.05 * pushes[0, 0]
