"""The backbones that `train.backbone` chooses from, with their parameters.

The builder of a choice is the module of its name in this folder. Imports no Keras.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.param_models import Choice

StageSizes = Annotated[
    list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=6)
]
Widths = Annotated[list[Annotated[int, Field(ge=8)]], Field(min_length=1, max_length=6)]


class Compact(Choice):
    """A compact SiLU ResNet of basic blocks (arXiv:1512.03385)."""

    name: Literal["compact"] = "compact"
    widths: Widths = Field(
        default=[32, 64, 128, 256],
        description="channels per stage of the network; each stage works at half the "
        "resolution of the one before, the first at size / 4",
    )
    blocks: StageSizes = Field(
        default=[1, 1, 1, 1],
        description="residual blocks per stage, as many numbers as widths",
    )

    @model_validator(mode="after")
    def _a_depth_for_every_width(self) -> Self:
        if len(self.widths) != len(self.blocks):
            raise ValueError(
                "widths and blocks must have the same length: one entry per stage of "
                "the network"
            )
        return self


Application = Literal[
    "ConvNeXtBase",
    "ConvNeXtSmall",
    "ConvNeXtTiny",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "EfficientNetV2B0",
    "EfficientNetV2B1",
    "EfficientNetV2B2",
    "EfficientNetV2B3",
    "EfficientNetV2M",
    "EfficientNetV2S",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "ResNet50V2",
    "ResNet101V2",
    "ResNet152V2",
    "Xception",
]
"""Networks of keras.applications whose input needs no other scaling than we give."""


class KerasApplications(Choice):
    """A network of keras.applications without its classifier."""

    name: Literal["keras_applications"] = "keras_applications"
    model: Application = Field(
        default="EfficientNetV2B0", description="name of the network in Keras"
    )
    weights: str | None = Field(
        default=None,
        description="imagenet: downloaded by Keras, once per machine; or the path of a "
        "file that holds weights of this network without its classifier; null: none",
    )

    @property
    def smallest_size(self) -> int:
        """Pixels of a side that the network needs."""
        return 71 if self.model == "Xception" else 32


class ResnetV4(Choice):
    """DeepDanbooru's residual network of 160 layers, heavy on a CPU."""

    name: Literal["resnet_v4"] = "resnet_v4"
    width: float = Field(
        default=1.0,
        gt=0,
        le=4,
        description="factor of the channels of every stage, which has 256 to 2,048; "
        "parameters and time grow with its square",
    )
    depth: float = Field(
        default=1.0,
        gt=0,
        le=4,
        description="factor of the residual blocks of every stage, which has 3 to 11",
    )
    last_stride: Literal[16, 32, 64, 128] = Field(
        default=32,
        description="pixels of a side that a position of the last feature map stands "
        "for; the original has 128, smaller ones keep details and take longer",
    )
    activation: Literal["silu", "relu"] = Field(
        default="silu", description="non-linearity after every normalisation"
    )


Backbone = Annotated[
    Compact | KerasApplications | ResnetV4, Field(discriminator="name")
]
"""Any of the choices; a further one is joined by `|`."""
