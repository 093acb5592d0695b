"""Self-paced loss correction (SPLC) of logits, for labels of which many are missing.

Zhang et al. 2021 (arXiv:2112.07368), section 3.4, with the focal margin loss of section
3.3. Import only after `backend.start`.
"""

from typing import Any

import keras
from keras import layers, ops

from pipeline.model.losses.elementwise import ElementwiseLoss, LayerReference


def loss(
    threshold: float = 0.6,
    margin: float = 1.0,
    gamma: float = 2.0,
    counter: "StepCounter | None" = None,
    warmup_steps: int = 0,
) -> ElementwiseLoss:
    """Returns the loss; the defaults are the paper's.

    threshold: a negative with a larger probability is taken for a missing label and
    costs what a positive costs. margin: subtracted from logits of positives. gamma:
    focus on what is not yet right. counter: a layer of the network that is trained; no
    label is corrected in its first `warmup_steps` steps (in the paper one epoch).
    Without a counter, labels are corrected from the first step, which is safe only
    where the network starts at each tag's frequency.
    """
    return SelfPacedLossCorrection(threshold, margin, gamma, counter, warmup_steps)


@keras.saving.register_keras_serializable("e6tag")
class StepCounter(layers.Layer):
    """Counts training steps, and returns its input.

    A layer and not a variable of the loss: Keras saves the variables of layers and, on
    JAX, updates no others.
    """

    def __init__(self, name: str = "step_counter", **options: Any) -> None:
        # In mixed precision the layer would round its input, the logits.
        super().__init__(name=name, **{"dtype": "float32", **options})
        # On several devices each has a copy of the variable, all of them the same.
        self.steps = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            aggregation="only_first_replica",
            name="steps",
        )

    def call(
        self, inputs: "keras.KerasTensor", training: bool | None = None
    ) -> "keras.KerasTensor":
        """Returns the inputs."""
        if training:
            self.steps.assign_add(1)
        return inputs

    def current(self) -> "keras.KerasTensor":
        """Returns the steps so far, int32, the one in progress included."""
        return ops.convert_to_tensor(self.steps)


@keras.saving.register_keras_serializable("e6tag")
class SelfPacedLossCorrection(ElementwiseLoss):
    """See `loss`."""

    def __init__(
        self,
        threshold: float,
        margin: float,
        gamma: float,
        counter: StepCounter | None,
        warmup_steps: int,
    ) -> None:
        super().__init__(name="splc")
        self.threshold = threshold
        self.margin = margin
        self.gamma = gamma
        self.counter = LayerReference(counter) if counter else None
        self.warmup_steps = warmup_steps

    def elements(
        self, labels: "keras.KerasTensor", logits: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns the focal margin loss, of corrected labels."""
        positive = labels * self._positive(logits - self.margin)
        # As in the authors' code, a corrected label's logit has no margin.
        corrected = self._positive(logits)
        uncorrected = self._positive(-logits)
        is_missing = self._is_missing(logits)
        negative = (1 - labels) * ops.where(is_missing, corrected, uncorrected)
        return positive + negative

    def _positive(self, logits: "keras.KerasTensor") -> "keras.KerasTensor":
        """Returns -(1 - p)^gamma log p; of -logits, it is the loss of negatives."""
        return ops.exp(-self.gamma * ops.softplus(logits)) * ops.softplus(-logits)

    def _is_missing(self, logits: "keras.KerasTensor") -> "keras.KerasTensor":
        is_confident = ops.sigmoid(logits) > self.threshold
        if self.counter is None:
            return is_confident
        is_warm = self.counter.layer.current() > self.warmup_steps
        return ops.logical_and(is_confident, is_warm)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        counter = self.counter.layer if self.counter else None
        return {
            "threshold": self.threshold,
            "margin": self.margin,
            "gamma": self.gamma,
            "counter": keras.saving.serialize_keras_object(counter),
            "warmup_steps": self.warmup_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SelfPacedLossCorrection":
        """Returns the loss of `get_config`."""
        counter = keras.saving.deserialize_keras_object(config["counter"])
        return cls(**{**config, "counter": counter})
