"""Ridge regression on embeddings (Hoerl and Kennard 1970, Technometrics 12, 55)."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

# Of features with variance 1: from next to none to more than any image can outweigh.
STRENGTHS = np.logspace(-2, 6, 17)


@dataclass(frozen=True, slots=True)
class Ridge:
    """A linear function of features: `weights` float64 [channels] and `bias`.

    strength: of the regularisation, one of STRENGTHS.
    """

    weights: np.ndarray
    bias: float
    strength: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Returns float64 [n] of features [n, channels]."""
        return features.astype(np.float64) @ self.weights + self.bias


def fit(features: np.ndarray, targets: np.ndarray) -> Ridge:
    """Fits targets [n] to features [n, channels].

    The strength is the one whose squared error is smallest when each image in turn is
    left out, which RidgeCV computes in closed form.
    """
    scaler = StandardScaler().fit(features.astype(np.float64))
    model = RidgeCV(STRENGTHS).fit(scaler.transform(features), targets)
    weights = model.coef_ / scaler.scale_
    bias = float(model.intercept_ - weights @ scaler.mean_)
    return Ridge(weights, bias, float(model.alpha_))
