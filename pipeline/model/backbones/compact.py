"""A compact SiLU ResNet.

Residual blocks in the bottleneck-free form of He et al. 2016 (arXiv:1512.03385), SiLU
as activation (arXiv:1702.03118), shortcuts pooled before their 1 x 1 convolution
(ResNet-D, arXiv:1812.01187). Import only after `backend.start`.
"""

from collections.abc import Sequence

import keras
from keras import layers

# Share of the old batch statistics that each step keeps. Keras's 0.99 lags behind in
# runs of some 500 steps.
NORM_MOMENTUM = 0.9


def feature_map(
    images: "keras.KerasTensor", *, widths: Sequence[int], blocks: Sequence[int]
) -> "keras.KerasTensor":
    """Returns float32 [n, height, width, widths[-1]] of images scaled to -1 to 1.

    widths: channels per stage; blocks: residual blocks per stage. Each stage works at
    half the resolution of the one before it, the first at a quarter of the image's.
    """
    # Two small strides and not one 7 x 7 of stride 4: whiskers and collars are 2 to 3
    # pixels wide here. A first stage at size / 2 would see more still, at a third of
    # the speed (at 96 pixels: 255 against 740 images/s, 2 cores).
    x = _convolution(images, widths[0] // 2, "stem_1", strides=2)
    x = _convolution(x, widths[0], "stem_2", strides=2)
    for stage, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(depth):
            name = f"stage_{stage + 1}_{block + 1}"
            halve = stage > 0 and block == 0
            x = _residual_block(x, width, name, halve=halve)
    return x


def _residual_block(
    x: "keras.KerasTensor", width: int, name: str, *, halve: bool
) -> "keras.KerasTensor":
    shortcut = _shortcut(x, width, name, halve=halve)
    strides = 2 if halve else 1
    y = _convolution(x, width, f"{name}_a", strides=strides)
    convolution = layers.Conv2D(
        width, 3, padding="same", use_bias=False, name=f"{name}_b"
    )
    # The scale starts at zero, so that each block begins as the identity (Goyal et al.
    # 2017, arXiv:1706.02677, 5.1).
    norm = layers.BatchNormalization(
        momentum=NORM_MOMENTUM, gamma_initializer="zeros", name=f"{name}_b_norm"
    )
    y = norm(convolution(y))
    total = layers.Add(name=f"{name}_add")([y, shortcut])
    return layers.Activation("silu", name=f"{name}_out")(total)


def _shortcut(
    x: "keras.KerasTensor", width: int, name: str, *, halve: bool
) -> "keras.KerasTensor":
    shortcut = x
    if halve:
        pool = layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")
        shortcut = pool(x)
    if x.shape[-1] != width:
        project = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_project")
        norm = layers.BatchNormalization(
            momentum=NORM_MOMENTUM, name=f"{name}_project_norm"
        )
        shortcut = norm(project(shortcut))
    return shortcut


def _convolution(
    x: "keras.KerasTensor", width: int, name: str, *, strides: int
) -> "keras.KerasTensor":
    convolution = layers.Conv2D(
        width, 3, strides=strides, padding="same", use_bias=False, name=name
    )
    norm = layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}_norm")
    return layers.Activation("silu", name=f"{name}_silu")(norm(convolution(x)))
