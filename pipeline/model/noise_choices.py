"""The models of label noise that `train.noise` chooses from, with their parameters.

Their builders are the functions of `noise`. Imports no Keras.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pipeline.param_models import Choice


def _known_temperature(value: Any) -> Any:
    """Raises ValueError in one sentence; pydantic's own has one for each member."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "learned" or (is_number and 0 < value < math.inf):
        return value
    raise ValueError("must be a number above 0, or learned")


Temperature = Annotated[
    Annotated[float, Field(gt=0)] | Literal["learned"],
    BeforeValidator(_known_temperature),
]


class NoNoise(Choice):
    """Labels are taken as they are."""

    name: Literal["none"] = "none"


class Diagonal(Choice):
    """Logits are normal, each tag's noise for itself (arXiv:2105.10305)."""

    name: Literal["diagonal"] = "diagonal"
    temperature: Temperature = Field(
        default="learned",
        description="divides the logits: a number, or `learned`, from 1 on, between "
        "0.05 and 5",
    )


class LowRank(Choice):
    """Logits are normal, with noise that tags share too (arXiv:2105.10305)."""

    name: Literal["low_rank"] = "low_rank"
    rank: int = Field(
        default=8,
        ge=1,
        le=256,
        description="factors of the noise that tags share; the weights are channels x "
        "tags x rank",
    )
    temperature: Temperature = Field(
        default="learned",
        description="divides the logits: a number, or `learned`, from 1 on, between "
        "0.05 and 5",
    )
    joint: bool = Field(
        default=True,
        description="train the likelihood of all labels of an image together, by "
        "samples: nothing else trains the correlations. false: train.loss, of each "
        "tag's own probability",
    )
    samples: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="joint only: draws of the logits per image; memory and time grow "
        "with it",
    )


Noise = Annotated[NoNoise | Diagonal | LowRank, Field(discriminator="name")]
"""Any of the choices; a further one is joined by `|`."""
