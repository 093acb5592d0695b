"""Barron's general robust loss around any elementwise loss.

Barron 2019 (arXiv:1701.03077). `alpha` says how much a large value counts: 2 squares
it, 1 is smoothed absolute (Charbonnier), 0 its logarithm (Cauchy), -2 Geman-McClure,
-infinity Welsch, where a value much above `scale` has no gradient. Import only after
`backend.start`.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pipeline.model.losses.elementwise import ElementwiseLoss, LayerReference

# The trained range: the density exists from 0 on. The ends are left out as in Barron's
# code, for the formula divides by alpha and by 2 - alpha.
MIN_ALPHA = 0.001
MAX_ALPHA = 1.999

# x = sinh(t) spreads the density's tails, which fall as slowly as 1 / x^2, so that the
# trapezoidal rule over t has an error below 1e-6 in log Z for every alpha of the range.
_STEP = 0.125
_T = np.arange(0, 20 + _STEP, _STEP)
_NODES_SQUARED = np.square(np.sinh(_T)).astype(np.float32)
_LOG_WEIGHTS = np.log(2 * _STEP * np.cosh(_T))
# Both halves of the axis, which share their node at 0.
_LOG_WEIGHTS[0] = math.log(_STEP)
_LOG_WEIGHTS = _LOG_WEIGHTS.astype(np.float32)


def loss(
    base: ElementwiseLoss, alpha: float = 1.0, scale: float = 1.0
) -> ElementwiseLoss:
    """Returns the robust loss of the values of `base`, with fixed parameters.

    alpha: at most 2, may be -infinity. scale: above 0; values below it count as their
    squares.
    """
    return Robust(base, alpha, scale)


def trained_loss(
    base: ElementwiseLoss, parameters: "RobustParameters"
) -> ElementwiseLoss:
    """Returns the negative log-likelihood of the values of `base`.

    parameters: a layer of the network that is trained. Its variables are then among
    those of the optimizer, and the density's normalisation keeps `scale` from growing
    and `alpha` from falling without end.
    """
    return TrainedRobust(base, parameters)


@keras.saving.register_keras_serializable("e6tag")
class Robust(ElementwiseLoss):
    """See `loss`."""

    def __init__(self, base: ElementwiseLoss, alpha: float, scale: float) -> None:
        if not alpha <= 2:
            raise ValueError(f"alpha of the robust loss is {alpha}, must be at most 2")
        if not scale > 0:
            raise ValueError(f"scale of the robust loss is {scale}, must be above 0")
        super().__init__(name=f"robust_{base.name}")
        self.base = base
        self.alpha = alpha
        self.scale = scale

    def elements(
        self, labels: "keras.KerasTensor", logits: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns rho(value / scale) of the values of `base`."""
        values = self.base.elements(labels, logits)
        squared = ops.square(values / self.scale)
        if self.alpha == 2:
            return 0.5 * squared
        if self.alpha == 0:
            return ops.log1p(0.5 * squared)
        if self.alpha == -math.inf:
            return -ops.expm1(-0.5 * squared)
        return _rho(squared, self.alpha)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {
            "base": keras.saving.serialize_keras_object(self.base),
            "alpha": self.alpha,
            "scale": self.scale,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Robust":
        """Returns the loss of `get_config`."""
        base = keras.saving.deserialize_keras_object(config["base"])
        return cls(base, config["alpha"], config["scale"])


@keras.saving.register_keras_serializable("e6tag")
class RobustParameters(layers.Layer):
    """Holds `alpha` and `scale` as trained variables, and returns its input.

    A layer and not variables of the loss: Keras gives the optimizer the variables of
    layers only, and saves no others. alpha, scale: where they start; alpha stays
    between MIN_ALPHA and MAX_ALPHA, scale above `min_scale`, else one tag learnt to
    perfection drives it to 0 and the loss to -infinity. The variables themselves start
    at 0, so that weight decay, if it is not kept from them, pulls to the start.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        scale: float = 1.0,
        min_scale: float = 0.01,
        name: str = "robust_parameters",
        **options: Any,
    ) -> None:
        if not MIN_ALPHA < alpha < MAX_ALPHA:
            raise ValueError(
                f"alpha of the trained robust loss starts at {alpha}, must be between "
                f"{MIN_ALPHA} and {MAX_ALPHA}"
            )
        if not 0 < min_scale < scale:
            raise ValueError(
                f"scale of the trained robust loss starts at {scale}, must be above "
                f"min_scale, {min_scale}, and that above 0"
            )
        super().__init__(name=name, **{"dtype": "float32", **options})
        self.initial_alpha = alpha
        self.initial_scale = scale
        self.min_scale = min_scale
        self.alpha_offset = self.add_weight(
            shape=(), initializer="zeros", name="alpha_offset"
        )
        self.scale_offset = self.add_weight(
            shape=(), initializer="zeros", name="scale_offset"
        )

    def alpha(self) -> "keras.KerasTensor":
        """Returns alpha as the optimizer left it."""
        share = (self.initial_alpha - MIN_ALPHA) / (MAX_ALPHA - MIN_ALPHA)
        start = math.log(share / (1 - share))
        trained = ops.sigmoid(ops.convert_to_tensor(self.alpha_offset) + start)
        return MIN_ALPHA + (MAX_ALPHA - MIN_ALPHA) * trained

    def scale(self) -> "keras.KerasTensor":
        """Returns the scale as the optimizer left it."""
        above = self.initial_scale - self.min_scale
        # Inverse of softplus.
        start = above + math.log(-math.expm1(-above))
        trained = ops.softplus(ops.convert_to_tensor(self.scale_offset) + start)
        return self.min_scale + trained

    def call(self, inputs: "keras.KerasTensor") -> "keras.KerasTensor":
        """Returns the inputs."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        own = {
            "alpha": self.initial_alpha,
            "scale": self.initial_scale,
            "min_scale": self.min_scale,
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("e6tag")
class TrainedRobust(ElementwiseLoss):
    """See `trained_loss`. Its values may be negative."""

    def __init__(self, base: ElementwiseLoss, parameters: RobustParameters) -> None:
        super().__init__(name=f"trained_robust_{base.name}")
        self.base = base
        self.parameters = LayerReference(parameters)

    def elements(
        self, labels: "keras.KerasTensor", logits: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns rho(value / scale) + log scale + log Z(alpha)."""
        alpha = self.parameters.layer.alpha()
        scale = self.parameters.layer.scale()
        values = self.base.elements(labels, logits)
        rho = _rho(ops.square(values / scale), alpha)
        return rho + ops.log(scale) + log_partition(alpha)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        parameters = self.parameters.layer
        return {
            "base": keras.saving.serialize_keras_object(self.base),
            "parameters": keras.saving.serialize_keras_object(parameters),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TrainedRobust":
        """Returns the loss of `get_config`."""
        base = keras.saving.deserialize_keras_object(config["base"])
        # Within a saved network this is the network's own layer, not a copy.
        parameters = keras.saving.deserialize_keras_object(config["parameters"])
        return cls(base, parameters)


def log_partition(alpha: "keras.KerasTensor") -> "keras.KerasTensor":
    """Returns log Z(alpha), Z the integral of exp(-rho(x)) over the real axis.

    alpha: one number from MIN_ALPHA to MAX_ALPHA. Barron's code interpolates in a table
    instead; the sum over nodes needs none and has an exact gradient.
    """
    return ops.logsumexp(_LOG_WEIGHTS - _rho(_NODES_SQUARED, alpha))


def _rho(
    squared: "keras.KerasTensor", alpha: "float | keras.KerasTensor"
) -> "keras.KerasTensor":
    """Returns the general form, for any alpha but 2, 0 and -infinity.

    As expm1 and log1p: the paper's power minus 1 leaves no digits of small values.
    """
    width = 2 - alpha
    return width / alpha * ops.expm1(0.5 * alpha * ops.log1p(squared / width))
