"""The parameters of `shard`: the form in which images are trained on."""

from typing import Literal

from pydantic import Field

from pipeline.param_models import Section, Share


class Shard(Section):
    """The form in which images are trained on."""

    shards: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="training shards; each other split gets an eighth as many",
    )
    size: int = Field(
        default=256,
        ge=32,
        le=1024,
        description="pixels of a side of the square images",
    )
    fit: Literal["pad", "crop", "stretch"] = Field(
        default="pad",
        description="how an image becomes square; pad: white borders keep the aspect "
        "ratio, crop: the centre is taken",
    )
    quality: int = Field(
        default=90,
        ge=30,
        le=100,
        description="JPEG quality of the stored images",
    )
    max_rejected: Share = Field(
        default=0.01,
        description="share of the images that may turn out broken before the stage "
        "fails",
    )
