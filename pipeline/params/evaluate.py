"""The parameters of `evaluate`, and what its gate demands of a model."""

from typing import Literal

from pydantic import Field

from pipeline.param_models import Section, Share


class Regression(Section):
    """What a model must reach, or `export` does not run."""

    margin_over_baseline: Share = Field(
        default=0.02,
        description="by how much the macro mAP on test must be above that of the "
        "image-blind baseline, at the low end of its interval",
    )


class Evaluate(Section):
    """How the model is evaluated."""

    bootstrap: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="resamplings of the images behind each confidence interval; 0: no "
        "intervals",
    )
    seed: int = Field(
        default=621, ge=0, lt=2**31, description="random seed of the resamplings"
    )
    originals: int = Field(
        default=1_000,
        ge=200,
        description="test images that are also predicted from their original files, as "
        "users of the bundle do; all where there are fewer",
    )
    calibration: Literal["none", "temperature", "isotonic"] = Field(
        default="isotonic",
        description="map of the logits, fitted on validation, that makes scores "
        "probabilities: none; temperature: divided by one number; isotonic: increasing "
        "and linear between a few points. Thresholds and bundle have it too",
    )
    threshold_support: int = Field(
        default=40,
        ge=0,
        description="images: the threshold of a tag that so many validation images "
        "have is drawn half way from its own best F1 to the one threshold that is best "
        "for all tags together, those of rarer tags further; 0: none is drawn",
    )
    min_precision: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="least precision on validation that each tag's threshold is raised "
        "to; a tag that reaches it nowhere gets its most precise threshold and is "
        "listed in calibration.json; null: none",
    )
    regression: Regression = Field(
        default=Regression(),
        description="what a model must reach, or its gate fails and nothing is "
        "exported; margin_over_baseline: by how much the macro mAP on test must be "
        "above that of the image-blind baseline, at the low end of its interval. It "
        "must also not be worse than the release that export.previous names",
    )
