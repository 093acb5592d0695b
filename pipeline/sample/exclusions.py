"""Why posts are no candidates: by the policy, by their own columns, by their tags."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline import policy
from pipeline.params.sample import Sample
from pipeline.sample.tag_codes import ANIMATED, OPT_OUT, YOUNG
from pipeline.schemas.reasons import PostExclusion

REASONS = tuple(reason.value for reason in PostExclusion)
CANDIDATE = len(REASONS)  # in place of a reason


def exclude_by_columns(
    params: Sample, columns: pl.DataFrame, meaning: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Returns the reason by which the policy or its own columns exclude a post.

    meaning: what the names on each post mean to the policy.
    """
    bits = pl.Series(meaning)
    by_policy = policy.exclusion_reason_from_flags(
        young=pl.lit((bits & YOUNG) > 0),
        opted_out=pl.lit((bits & OPT_OUT) > 0),
        animated=pl.lit((bits & ANIMATED) > 0),
    )
    first_day = pl.lit(params.since).cast(pl.Datetime("us", "UTC"))
    by_column = (
        pl.when(~pl.col("rating").is_in(params.ratings))
        .then(pl.lit(PostExclusion.RATING.value))
        .when(pl.col("created_at") < first_day)
        .then(pl.lit(PostExclusion.BEFORE_SINCE.value))
    )
    name = pl.coalesce(by_policy, by_column).cast(pl.Enum(REASONS))
    index = columns.select(name).to_series().to_physical().cast(pl.UInt8)
    return index.fill_null(CANDIDATE).to_numpy().copy()


def exclude_by_tags(
    params: Sample,
    reason: NDArray[np.uint8],
    tag_count: NDArray[np.int32],
    has_excluded_tag: NDArray[np.bool_],
) -> None:
    """Sets the reason of candidates with too few tags, or with an excluded one."""
    remains = reason == CANDIDATE
    has_too_few = tag_count < params.min_tags
    too_few_tags = REASONS.index(PostExclusion.TOO_FEW_TAGS.value)
    reason[remains & has_too_few] = too_few_tags
    excluded_tag = REASONS.index(PostExclusion.EXCLUDED_TAG.value)
    reason[remains & has_excluded_tag] = excluded_tag
