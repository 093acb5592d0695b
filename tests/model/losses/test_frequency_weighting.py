"""Weights of tags around other losses."""

import numpy as np
import pytest

from tests.builders import losses

POSITIVES = (0, 10, 100_000)


def expected_weights(beta: float) -> np.ndarray:
    raw = np.array([(1 - beta) / (1 - beta ** max(n, 1)) for n in POSITIVES])
    return raw / raw.mean()


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.99999])
def test_each_tag_has_its_weight(beta: float) -> None:
    from pipeline.model.losses import (
        frequency_weighting,
        summed_binary_cross_entropy,
    )

    def reference(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return losses.cross_entropy(labels, logits) * expected_weights(beta)

    base = summed_binary_cross_entropy.loss()
    losses.assert_sound(frequency_weighting.loss(base, POSITIVES, beta), reference)


def test_rare_tags_weigh_more_and_the_mean_is_one() -> None:
    from pipeline.model.losses.frequency_weighting import weights

    found = weights(POSITIVES, 0.999)
    assert found[0] > found[1] > found[2]
    assert found.mean() == pytest.approx(1)
    assert weights(POSITIVES, 0.0) == pytest.approx([1, 1, 1])
    assert np.isfinite(weights(POSITIVES, 1 - 1e-12)).all()


@pytest.mark.parametrize("name", ["focal", "asymmetric", "hill", "splc", "robust"])
def test_any_loss_can_be_weighted(name: str) -> None:
    from pipeline.model.losses import (
        asymmetric,
        focal,
        frequency_weighting,
        hill,
        robust,
        splc,
    )

    bases = {
        "focal": focal.loss(),
        "asymmetric": asymmetric.loss(),
        "hill": hill.loss(),
        "splc": splc.loss(),
        "robust": robust.loss(focal.loss()),
    }
    loss = frequency_weighting.loss(bases[name], POSITIVES)
    labels, logits = losses.grid()
    weighted = losses.values(loss, labels, logits)
    plain = losses.values(bases[name], labels, logits)
    expected = plain * expected_weights(0.999)
    np.testing.assert_allclose(weighted, expected, rtol=1e-5, atol=1e-30)
    losses.assert_survives_saving(loss)
