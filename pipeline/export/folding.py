"""Thresholds of single tags, folded into probabilities that share one threshold.

    s' = sigmoid(logit s - logit t + logit f)

is f where s is at the tag's own threshold t, grows with s, and stays within 0 and 1.
The network gives logits, so that logit s is at hand even where s is 0 or 1 in float32.
"""

import numpy as np

# Where a threshold of 1 or 0 counts as one: half a unit in the last place of float32
# below 1, and the smallest float32.
_NEAREST_ONE = 1 - 2.0**-25
_NEAREST_ZERO = 2.0**-149

# Thresholds are scores of images: rounding must not push the image that gave one below
# it. In logits, for the sums in float32:
_MARGIN = 1e-5
# The sigmoid of ONNX Runtime 1.23 on CPUs is off by up to 1.7e-7: it is 1 from a logit
# of 15.8 on and 0 below -15.8. Near 0 and 1 that is much in logits.
_SIGMOID_ERROR = 2e-7
_LARGEST_MARGIN = 2.0


def shifts(thresholds: np.ndarray, flat: np.ndarray | float) -> np.ndarray:
    """Returns what is added to each tag's logit, float32 [tags].

    thresholds: 0 to 1, float64 [tags]; flat: the threshold that the result has.
    """
    inside = np.clip(thresholds, _NEAREST_ZERO, _NEAREST_ONE)
    shared = logit(np.asarray(flat, np.float64))
    error_in_logits = _SIGMOID_ERROR / (inside * (1 - inside))
    margins = np.minimum(_MARGIN + error_in_logits, _LARGEST_MARGIN)
    return np.asarray(shared - logit(inside) + margins, np.float32)


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Returns log(p / (1 - p)) in float64; p above 0 and below 1."""
    return np.asarray(np.log(probabilities) - np.log1p(-probabilities))
