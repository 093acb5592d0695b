"""The parameters of `download`: how images are fetched."""

from typing import Literal

from pydantic import Field

from e6tag.image_files.damage import MAX_PIXELS
from pipeline.param_models import Section, Share


class Download(Section):
    """How images are fetched."""

    variant: Literal["original", "sample", "preview"] = Field(
        default="sample",
        description="which file of each post is fetched; sample: the shorter side has "
        "at most 850 pixels, preview: 256",
    )
    max_bytes: int = Field(
        default=52_428_800,
        ge=1024,
        description="bytes; larger images are rejected",
    )
    max_pixels: int = Field(
        default=100_000_000,
        ge=1,
        le=MAX_PIXELS,
        description="pixels; larger images are rejected as decompression bombs",
    )
    retries: int = Field(
        default=5,
        ge=0,
        le=20,
        description="further attempts after a temporary failure, with growing waits",
    )
    pack_images: int = Field(
        default=2_000,
        ge=1,
        le=100_000,
        description="images in a pack; decides how many are rewritten when one is "
        "removed",
    )
    max_rejected: Share = Field(
        default=0.02,
        description="share of the images that may be rejected before the stage fails",
    )
