"""The exported network says the scores that evaluate published."""

import keras
import numpy as np
import pytest

from pipeline.export import calibrated
from pipeline.metrics.calibration import Calibration, Method

BENT = Calibration(
    Method.ISOTONIC, slope=0.5, offset=-1.5, knots=(-2.0, 0.5), bends=(0.75, -0.9)
)
LINE = Calibration(Method.TEMPERATURE, slope=0.7)


def network(*, with_uncertainty: bool) -> keras.Model:
    images = keras.Input((3,))
    logits = keras.layers.Dense(4, name="tags")(images)
    outputs = [logits]
    if with_uncertainty:
        outputs.append(keras.layers.Dense(4, name="deviation")(images))
    return keras.Model(images, outputs, name="network")


@pytest.mark.parametrize("calibration", [BENT, LINE], ids=["isotonic", "temperature"])
@pytest.mark.parametrize("with_uncertainty", [True, False])
def test_a_wrapped_network_gives_calibrated_logits(
    calibration: Calibration, with_uncertainty: bool
) -> None:
    plain = network(with_uncertainty=with_uncertainty)
    wrapped = calibrated.wrap(plain, calibration)
    images = np.random.default_rng(1).normal(0, 4, (50, 3)).astype(np.float32)
    before = plain.predict_on_batch(images)
    after = wrapped.predict_on_batch(images)
    if with_uncertainty:
        assert np.array_equal(before[1], after[1])
        before, after = before[0], after[0]
    expected = calibration.apply(np.asarray(before))
    assert np.abs(expected - after).max() < 1e-5
    assert np.abs(expected - before).max() > 0.5


def test_without_calibration_the_network_stays_as_it_is() -> None:
    plain = network(with_uncertainty=False)
    assert calibrated.wrap(plain, Calibration(Method.NONE)) is plain
