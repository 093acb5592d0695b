"""How values per tag become one number."""

import numpy as np


def test_a_loss_is_the_sum_over_tags_and_the_mean_over_images() -> None:
    from pipeline.model.losses import summed_binary_cross_entropy

    loss = summed_binary_cross_entropy.loss()
    for images, tags in ((1, 1), (7, 1), (1, 5), (7, 5)):
        zeros = np.zeros((images, tags), np.float32)
        np.testing.assert_allclose(loss(zeros, zeros), tags * np.log(2), rtol=1e-6)


def test_weights_of_images_are_respected() -> None:
    from pipeline.model.losses import summed_binary_cross_entropy

    loss = summed_binary_cross_entropy.loss()
    zeros = np.zeros((2, 3), np.float32)
    found = loss(zeros, zeros, sample_weight=np.array([1.0, 0.0]))
    np.testing.assert_allclose(found, 3 * np.log(2) / 2, rtol=1e-6)
