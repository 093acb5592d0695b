"""Summed binary cross-entropy against its formula."""

import numpy as np

from tests.builders import losses


def test_cross_entropy_is_the_formula() -> None:
    from pipeline.model.losses import summed_binary_cross_entropy

    losses.assert_sound(summed_binary_cross_entropy.loss(), losses.cross_entropy)


def test_well_learnt_positives_keep_their_digits() -> None:
    from pipeline.model.losses import summed_binary_cross_entropy

    loss = summed_binary_cross_entropy.loss()
    found = losses.values(loss, np.ones((1, 1)), np.full((1, 1), 50.0))
    np.testing.assert_allclose(found, np.exp(-50), rtol=1e-5)
