"""The parameters of `export`: what the bundle holds."""

from pathlib import PurePosixPath
from typing import Self

from pydantic import Field, model_validator

from pipeline.param_models import Section

# of export.tolerance: what the bundle promises, and its gate demands
LARGEST_TOLERANCE = 1e-4
# of export.compared, or all test images where there are fewer
FEWEST_COMPARED = 256

# folder of export.previous; a dep of `export` in dvc.yaml, so that a change is seen
RELEASES = "releases"


class Export(Section):
    """What the bundle holds."""

    name: str = Field(
        default="e6tag",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="name of the model in the model card",
    )
    license: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9.-]+$",
        description="license of the weights in the model card, by the name that hubs "
        "of models give it, such as mit; null: the card names none",
    )
    contact: str | None = Field(
        default=None,
        pattern=r"^[^\n:/]+$",
        description="whom to write to about an image or an artist in the data, a name "
        "or a mail address, in both cards; null: the cards name nobody",
    )
    fold_thresholds: bool = Field(
        default=True,
        description="shift the probabilities of model.onnx so that each tag's own "
        "threshold is at the 0.35 (characters: 0.85) that clients of the WD taggers "
        "use for all; its output scores is as evaluate gives it",
    )
    tolerance: float = Field(
        default=LARGEST_TOLERANCE,
        gt=0,
        le=LARGEST_TOLERANCE,
        description="largest difference allowed between ONNX and Keras probabilities "
        "on test images; a larger one fails the stage",
    )
    compared: int = Field(
        default=FEWEST_COMPARED,
        ge=FEWEST_COMPARED,
        description="test images that are compared; all where there are fewer",
    )
    previous: str | None = Field(
        default=None,
        min_length=1,
        description="a folder below releases/ with the thresholds.csv and the "
        "metrics.json of the bundle that was released last: its tags that the site has "
        "renamed since are listed, and a model that is worse beyond its interval is "
        "not exported; null: neither",
    )

    @model_validator(mode="after")
    def _the_release_is_where_dvc_sees_it(self) -> Self:
        if self.previous is None:
            return self
        parts = PurePosixPath(self.previous).parts
        if parts[0] != RELEASES or len(parts) < 2 or ".." in parts:
            raise ValueError(
                f"previous {self.previous} is not below {RELEASES}/, the folder in "
                f"which DVC sees changes: put the bundle there, as {RELEASES}/first"
            )
        return self
