"""Thresholds folded into probabilities, up to the ends of the scale."""

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.export import folding

FLAT = [pytest.param(0.35, id="tags"), pytest.param(0.85, id="characters")]


SIGMOID = """<ir_version: 8, opset_import: ["" : 17]>
sigmoid (float[N] logits) => (float[N] probabilities) {
    probabilities = Sigmoid (logits)
}"""


@functools.cache
def session() -> onnxruntime.InferenceSession:
    model = onnx.parser.parse_model(SIGMOID)
    return onnxruntime.InferenceSession(model.SerializeToString())


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """As the bundle's runtime computes it, which is not what NumPy does."""
    (found,) = session().run(None, {"logits": logits.astype(np.float32)})
    return np.asarray(found)


@pytest.mark.parametrize("flat", FLAT)
@given(
    logit=st.floats(-30, 30, width=32),
    threshold=st.floats(1e-3, 1 - 1e-3),
)
def test_a_tag_applies_as_at_its_own_threshold(
    flat: float, logit: float, threshold: float
) -> None:
    logits = np.array([logit], np.float32)
    own = sigmoid(logits)[0]
    if abs(own - threshold) < 1e-4:
        return  # rounding decides
    folded = sigmoid(logits + folding.shifts(np.array([threshold]), flat))[0]
    assert (folded >= np.float32(flat)) == (own >= threshold)
    assert 0 <= folded <= 1


@pytest.mark.parametrize("flat", FLAT)
@pytest.mark.parametrize(
    "threshold", [1e-6, 2.7e-5, 1e-3, 0.1, 0.35, 0.5, 0.9, 0.999, 0.99997, 0.999999]
)
def test_a_score_that_reaches_its_threshold_applies(
    flat: float, threshold: float
) -> None:
    """Every score near it, however ONNX Runtime rounds."""
    exact = np.log(threshold) - np.log1p(-threshold)
    logits = np.float32(exact) + np.linspace(-1, 1, 20_001, dtype=np.float32)
    is_reached = sigmoid(logits) >= threshold
    shift = folding.shifts(np.array([threshold]), flat)
    folded = sigmoid(logits + shift)
    assert (folded[is_reached] >= np.float32(flat)).all()
    # And nothing that is further below than rounding explains.
    error = 1e-4 + 4e-7 / (threshold * (1 - threshold))
    assert (folded[logits < exact - error] < np.float32(flat)).all()


@pytest.mark.parametrize("flat", FLAT)
def test_a_threshold_of_zero_is_reached_and_one_of_one_only_by_certainty(
    flat: float,
) -> None:
    logits = np.array([-100, -20, 0, 10, 30], np.float32)
    always = sigmoid(logits + folding.shifts(np.array([0.0]), flat))
    assert (always >= np.float32(flat)).all()
    surely = sigmoid(logits + folding.shifts(np.array([1.0]), flat))
    assert (surely >= np.float32(flat)).tolist() == [False] * 4 + [True]
    assert np.isfinite(always).all()
    assert np.isfinite(surely).all()
