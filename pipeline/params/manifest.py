"""The parameters of `manifest`: what becomes of duplicates."""

from pydantic import Field

from pipeline.param_models import Section


class Manifest(Section):
    """What becomes of duplicates."""

    near_duplicate_distance: int = Field(
        default=6,
        ge=0,
        le=16,
        description="bits of 64 in which two perceptual hashes may differ and still "
        "be one image",
    )
