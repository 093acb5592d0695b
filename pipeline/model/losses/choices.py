"""The losses that `train.loss` chooses from, with their parameters.

The builder of a choice is the module of its name in this folder. `train.robust` chooses
how values of the loss count; its builders are the functions of `robust`. Imports no
Keras.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer

from pipeline.param_models import Choice, Share

NotNegative = Annotated[float, Field(ge=0)]


class SummedBinaryCrossEntropy(Choice):
    """Binary cross-entropy, summed over tags."""

    name: Literal["summed_binary_cross_entropy"] = "summed_binary_cross_entropy"


class Focal(Choice):
    """Focal loss: less weight for what is right already (arXiv:1708.02002)."""

    name: Literal["focal"] = "focal"
    alpha: Share = Field(
        default=0.25, description="weight of positives; negatives have 1 - alpha"
    )
    gamma: NotNegative = Field(
        default=2.0,
        description="the larger, the less weight examples have that are right already",
    )


class Asymmetric(Choice):
    """Asymmetric loss: another focus for negatives (arXiv:2009.14119)."""

    name: Literal["asymmetric"] = "asymmetric"
    gamma_positive: NotNegative = Field(
        default=0.0, description="focus on positives that are not yet right"
    )
    gamma_negative: NotNegative = Field(
        default=4.0, description="focus on negatives that are not yet right"
    )
    margin: Share = Field(
        default=0.05, description="probability below which a negative costs nothing"
    )


class Hill(Choice):
    """Hill loss, for labels of which many are missing (arXiv:2112.07368)."""

    name: Literal["hill"] = "hill"
    curvature: float = Field(
        default=1.5,
        ge=1,
        description="the paper's lambda; a negative costs (curvature - p) p^2, so that "
        "its gradient falls again where the model is sure of the tag",
    )
    margin: NotNegative = Field(
        default=1.0, description="subtracted from logits of positives"
    )
    gamma: NotNegative = Field(
        default=2.0, description="focus on positives that are not yet right"
    )


class SelfPacedLossCorrection(Choice):
    """SPLC: corrects labels that seem to be missing (arXiv:2112.07368)."""

    name: Literal["splc"] = "splc"
    threshold: Share = Field(
        default=0.6,
        description="probability above which a negative is taken for a missing label",
    )
    margin: NotNegative = Field(
        default=1.0, description="subtracted from logits of positives"
    )
    gamma: NotNegative = Field(
        default=2.0, description="focus on what is not yet right"
    )
    warmup_epochs: NotNegative = Field(
        default=1.0,
        description="epochs, also parts of one, before the first label is corrected",
    )

    def arguments(self) -> dict[str, Any]:
        """Returns what the builder takes; it counts the warm-up in steps."""
        return self.model_dump(exclude={"name", "warmup_epochs"})


Loss = Annotated[
    SummedBinaryCrossEntropy | Focal | Asymmetric | Hill | SelfPacedLossCorrection,
    Field(discriminator="name"),
]
"""Any of the choices; a further one is joined by `|`."""


class NotRobust(Choice):
    """Values count as they are."""

    name: Literal["none"] = "none"


class FixedRobust(Choice):
    """Barron's general robust loss of the values (arXiv:1701.03077)."""

    name: Literal["fixed"] = "fixed"
    alpha: float = Field(
        default=1.0,
        le=2,
        allow_inf_nan=True,  # -inf is a special case of the loss
        description="how much a large value counts: 2 as its square, 1 as itself, 0 as "
        "its logarithm, -.inf: hardly any more than a middling one",
    )
    scale: float = Field(
        default=1.0,
        gt=0,
        description="values below it count as their squares",
    )

    @field_serializer("alpha", when_used="json")
    def _alpha_as_json(self, alpha: float) -> float | str:
        """JSON has no infinities; as text, pydantic reads it again."""
        return alpha if math.isfinite(alpha) else "-Infinity"


class TrainedRobust(Choice):
    """Barron's robust loss, its alpha and scale learned by maximum likelihood."""

    name: Literal["trained"] = "trained"
    alpha: float = Field(
        default=1.0,
        gt=0.001,
        lt=1.999,
        description="where alpha starts; it stays in the same limits",
    )
    scale: float = Field(
        default=1.0,
        gt=0.01,
        description="where the scale starts; it stays above the same limit",
    )


Robust = Annotated[NotRobust | FixedRobust | TrainedRobust, Field(discriminator="name")]
"""Any of the choices; a further one is joined by `|`."""
