"""What all losses share that have one value per image and tag.

Import only after `backend.start`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import keras
from keras import layers, ops


class ElementwiseLoss(keras.losses.Loss, ABC):
    """Sums the values of an image's tags, then takes the mean over images.

    Not the mean over tags: the gradient of a tag would shrink as the vocabulary grows,
    and learning rates and epsilons would not carry over. A subclass has `elements`, and
    a `get_config` that returns what its constructor takes. Labels are 0 or 1, or
    between them where images were mixed.
    """

    @abstractmethod
    def elements(
        self, labels: "keras.KerasTensor", logits: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns float32 [n, tags], of labels and logits of that shape."""

    def call(
        self, y_true: "keras.KerasTensor", y_pred: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        """Returns the sum over tags, float32 [n]. Keras takes the mean of it."""
        return ops.sum(self.elements(y_true, y_pred), axis=-1)


@dataclass(frozen=True, slots=True)
class LayerReference:
    """A layer of the network whose variables a loss reads.

    Held by this and not directly: Keras would save the variables of a layer that is an
    attribute of a loss with the loss, and look for them in the network on loading.

    Keras reads a compiled network with a loss that has a layer of its own. So load it
    with `compile=False`, and compile it with a loss of the network's layer.
    """

    layer: layers.Layer
