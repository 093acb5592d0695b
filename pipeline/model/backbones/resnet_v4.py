"""The residual network of DeepDanbooru, `create_resnet_custom_v4`.

Bottleneck blocks of He et al. 2016 (arXiv:1512.03385, figure 5) in six stages, with the
details of github.com/KichangKim/DeepDanbooru (`deepdanbooru/model`): convolutions
without bias, each followed by batch normalization; the stride on the 3 x 3 convolution;
a shortcut of a strided 1 x 1 convolution in the first block of every stage; weights
after He et al. 2015 (arXiv:1502.01852). Import only after `backend.start`.
"""

from typing import Literal

import keras
from keras import layers

# Channels and blocks of each stage at width and depth 1.
WIDTHS = (256, 512, 1_024, 1_024, 1_024, 2_048)
BLOCKS = (3, 8, 11, 11, 11, 3)

# A quarter of it, the inner width, stays a multiple of 8: tensor cores need that.
WIDTH_STEP = 32  # channels

STEM_STRIDE = 4  # of the convolution and the max pool together

# As in `compact`: Keras's 0.99 lags behind in runs of some 500 steps.
NORM_MOMENTUM = 0.9

Activation = Literal["silu", "relu"]
Stride = Literal[16, 32, 64, 128]


def feature_map(
    images: "keras.KerasTensor",
    *,
    width: float = 1.0,
    depth: float = 1.0,
    last_stride: Stride = 32,
    activation: Activation = "silu",
) -> "keras.KerasTensor":
    """Returns [n, height, width, channels] of images scaled to -1 to 1.

    width and depth multiply the channels and the blocks of every stage; see
    `stage_widths` and `stage_blocks`. The map has one position per `last_stride` x
    `last_stride` pixels, rounded up. The original halves the resolution in every stage
    from the second on and ends at 128, 2 x 2 positions of an image of 224 pixels. A
    smaller last stride leaves out the last halvings: with 16, stages 4 to 6 work at the
    resolution of stage 3; with 32, stages 5 and 6 at that of stage 4; with 64, stage 6
    at that of stage 5. Neither weights nor their shapes depend on it.
    """
    widths = stage_widths(width)
    blocks = stage_blocks(depth)
    x = _convolution(images, widths[0] // 4, 7, "stem", strides=2)
    x = layers.Activation(activation, name=f"stem_{activation}")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    stride = STEM_STRIDE
    for stage, channels in enumerate(widths):
        halve = stage > 0 and stride < last_stride
        if halve:
            stride *= 2
        for block in range(blocks[stage]):
            name = f"stage_{stage + 1}_{block + 1}"
            strides = 2 if halve and block == 0 else 1
            shortcut = x
            if block == 0:
                shortcut = _convolution(
                    x, channels, 1, f"{name}_project", strides=strides
                )
            y = _bottleneck(x, channels, name, activation, strides=strides)
            total = layers.Add(name=f"{name}_add")([y, shortcut])
            x = layers.Activation(activation, name=f"{name}_out")(total)
    return x


def stage_widths(width: float) -> list[int]:
    """Returns channels per stage: multiples of WIDTH_STEP, at least one of them."""
    widths = []
    for channels in WIDTHS:
        steps = max(1, round(width * channels / WIDTH_STEP))
        widths.append(steps * WIDTH_STEP)
    return widths


def stage_blocks(depth: float) -> list[int]:
    """Returns blocks per stage, rounded, at least one."""
    return [max(1, round(depth * blocks)) for blocks in BLOCKS]


def _bottleneck(
    x: "keras.KerasTensor",
    channels: int,
    name: str,
    activation: Activation,
    *,
    strides: int,
) -> "keras.KerasTensor":
    """Returns what a block adds to its shortcut: zeros before it has learnt."""
    inner = channels // 4
    y = _convolution(x, inner, 1, f"{name}_a")
    y = layers.Activation(activation, name=f"{name}_a_{activation}")(y)
    y = _convolution(y, inner, 3, f"{name}_b", strides=strides)
    y = layers.Activation(activation, name=f"{name}_b_{activation}")(y)
    # The scale starts at zero, so that each block begins as the identity (Goyal et al.
    # 2017, arXiv:1706.02677, 5.1).
    return _convolution(y, channels, 1, f"{name}_c", scale="zeros")


def _convolution(
    x: "keras.KerasTensor",
    channels: int,
    side: int,
    name: str,
    *,
    strides: int = 1,
    scale: Literal["ones", "zeros"] = "ones",
) -> "keras.KerasTensor":
    """Returns a normalized convolution. scale: what the norm multiplies with at first.

    side: of the kernel, in positions.
    """
    convolution = layers.Conv2D(
        channels,
        side,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )
    norm = layers.BatchNormalization(
        momentum=NORM_MOMENTUM, gamma_initializer=scale, name=f"{name}_norm"
    )
    return norm(convolution(x))
