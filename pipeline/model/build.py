"""A compact SiLU ResNet in backend-neutral Keras: pictures in, one logit per tag out.

Residual blocks in the bottleneck-free form of He et al. 2016 (arXiv:1512.03385), SiLU
as activation (arXiv:1702.03118), shortcuts pooled before their 1 x 1 convolution
(ResNet-D, arXiv:1812.01187). Import only after `backend.start`.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

# Share of the old batch statistics kept per step; Keras's 0.99 lags behind in runs of
# some 500 steps
FORGETTING = 0.9


def build(
    size: int,
    widths: Sequence[int],
    blocks: Sequence[int],
    dropout: float,
    bias: np.ndarray,
) -> keras.Model:
    """Returns the network: RGB float32 [n, size, size, 3], 0 to 255, to logits float32 [n, tags].

    widths: channels per stage; blocks: residual blocks per stage; each stage works at half the resolution of the one
    before it, the first at size / 4. `bias`, float32 [tags], is what the network says before it has learnt.
    """
    pictures = keras.Input((size, size, 3), name="picture")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="normalise")(pictures)
    # Two small strides and not one 7 x 7 of stride 4: whiskers and collars are 2 to 3
    # pixels wide here. A first stage at size / 2 would see more still, at a third of
    # the speed (at 96 pixels: 255 against 740 pictures/s, 2 cores).
    x = _convolved(x, widths[0] // 2, "stem_1", strides=2)
    x = _convolved(x, widths[0], "stem_2", strides=2)
    for stage, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(depth):
            x = _residual(
                x,
                width,
                f"stage_{stage + 1}_{block + 1}",
                halve=stage > 0 and block == 0,
            )
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    # The bias starts at each tag's log-odds, else the many negatives own the first
    # steps (Lin et al. 2017, arXiv:1708.02002, 3.3).
    tags = layers.Dense(len(bias), dtype="float32", name="tags")
    model = keras.Model(pictures, tags(x), name="e6tag")
    tags.bias.assign(
        bias
    )  # and not an initializer, which would be saved with the network's description
    return model


def log_odds(positives: np.ndarray, records: int) -> np.ndarray:
    """Returns log(p / (1 - p)) of each tag, float32 [tags], as if one more record had it and one more had not."""
    share = (positives + 1) / (records + 2)
    return np.log(share / (1 - share)).astype(np.float32)


def _residual(
    x: "keras.KerasTensor", width: int, name: str, *, halve: bool
) -> "keras.KerasTensor":
    shortcut = (
        layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")(x)
        if halve
        else x
    )
    if x.shape[-1] != width:
        shortcut = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_project")(
            shortcut
        )
    y = _convolved(x, width, f"{name}_a", strides=2 if halve else 1)
    y = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_b")(y)
    # Scale starts at zero: each block begins as the identity (Goyal et al. 2017,
    # arXiv:1706.02677, 5.1).
    y = layers.BatchNormalization(
        momentum=FORGETTING, gamma_initializer="zeros", name=f"{name}_b_norm"
    )(y)
    return layers.Activation("silu", name=f"{name}_out")(
        layers.Add(name=f"{name}_add")([y, shortcut])
    )


def _convolved(
    x: "keras.KerasTensor", width: int, name: str, *, strides: int
) -> "keras.KerasTensor":
    x = layers.Conv2D(
        width, 3, strides=strides, padding="same", use_bias=False, name=name
    )(x)
    x = layers.BatchNormalization(momentum=FORGETTING, name=f"{name}_norm")(x)
    return layers.Activation("silu", name=f"{name}_silu")(x)
