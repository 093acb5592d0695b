"""The heads that `train.head` chooses from, with their parameters.

The builder of a choice is the module of its name in this folder. Imports no Keras.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.param_models import Choice


class Pool(Choice):
    """Global average pooling and one linear layer (arXiv:1312.4400)."""

    name: Literal["pool"] = "pool"
    dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the pooled features left out at random while training, "
        "against overfitting",
    )


class Queries(Choice):
    """Learned queries that attend to the feature map (arXiv:2111.12933)."""

    name: Literal["queries"] = "queries"
    width: int = Field(
        default=128,
        ge=8,
        le=2_048,
        description="channels of a query, a multiple of heads",
    )
    heads: int = Field(default=4, ge=1, le=32, description="heads of the attention")
    most_queries: int = Field(
        default=256,
        ge=1,
        description="queries at most; where there are more tags, tags that follow each "
        "other share one",
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the pooled features and of each query's answer left out "
        "at random while training, against overfitting",
    )

    @model_validator(mode="after")
    def _width_for_every_head(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads: {self.width} is none of "
                f"{self.heads}"
            )
        return self


class AttentionResidual(Choice):
    """Attention and a dense map of all positions: few tags only (docs/heads.md)."""

    name: Literal["attention_residual"] = "attention_residual"
    join: Literal["sum", "concat"] = Field(
        default="sum",
        description="whether its two branches are added or set side by side",
    )


Head = Annotated[Pool | Queries | AttentionResidual, Field(discriminator="name")]
"""Any of the choices; a further one is joined by `|`."""
