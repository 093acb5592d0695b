"""Global average pooling, dropout and one linear layer.

Import only after `backend.start`.
"""

import keras
import numpy as np
from keras import layers

# Axis that counts the tags, by the path of a weight.
TAG_AXES = {"tags/kernel": 1, "tags/bias": 0}


def logits(
    features: "keras.KerasTensor", *, dropout: float, bias: np.ndarray
) -> "keras.KerasTensor":
    """Returns logits, float32 [n, tags], of a feature map.

    dropout: share of the pooled features left out while training. `bias`, float32
    [tags], is the network's output before it has learnt: the log-odds of each tag, else
    the many negatives dominate the first steps (Lin et al. 2017, arXiv:1708.02002,
    3.3).
    """
    x = layers.GlobalAveragePooling2D(name="pool")(features)
    x = layers.Dropout(dropout, name="dropout")(x)
    tags = layers.Dense(len(bias), dtype="float32", name="tags")
    outputs = tags(x)
    # Assigned, since an initializer would be saved with the network's description.
    tags.bias.assign(bias)
    return outputs
