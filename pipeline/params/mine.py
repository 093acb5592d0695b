"""The parameters of `mine`: which labels people are asked to look at again."""

from pydantic import Field

from pipeline.param_models import Section, Share


class Mine(Section):
    """Which labels people are asked to look at again."""

    proposals: int = Field(
        default=5_000,
        ge=0,
        description="labels that are proposed at most, the likeliest ones",
    )
    per_tag: int = Field(
        default=500,
        ge=1,
        description="of these, labels of one tag at most",
    )
    min_probability: Share = Field(
        default=0.5,
        description="a label is proposed that is missing, or wrong, with at least this "
        "probability",
    )
    min_rare_posts: int = Field(
        default=20,
        ge=2,
        description="records that a tag outside the vocabulary must be on, so that it "
        "is proposed for others",
    )
    max_rare_tags: int = Field(
        default=1_000,
        ge=0,
        description="tags outside the vocabulary that are proposed, the most frequent "
        "ones; 0: none",
    )
    folds: int = Field(
        default=5,
        ge=2,
        le=20,
        description="parts of the records; what is said of one part is learnt from the "
        "others",
    )
    seed: int = Field(
        default=621,
        ge=0,
        lt=2**31,
        description="random seed of the parts",
    )
