"""Candidates: the posts that may be sampled, and why each other may not."""

from dataclasses import dataclass

import polars as pl

from pipeline import policy
from pipeline.params import Sample
from pipeline.sample.labels import Relations
from pipeline.schemas import Dropped


@dataclass(frozen=True, slots=True)
class Candidates:
    """Posts that may be sampled (schemas.POSTS), their tags (as `Relations.label`), schemas.DROPPED for the rest."""

    posts: pl.DataFrame
    tagged: pl.DataFrame
    dropped: pl.DataFrame


def choose(params: Sample, posts: pl.DataFrame, relations: Relations, names: policy.Names, since: str) -> Candidates:
    """Returns the candidates among `posts`, which are ordered by post_id. since: ISO date.

    What a post's own columns decide comes first, so that tags, forty a post, are only looked at where they may matter.
    """
    too_early = pl.col("created_at") < pl.lit(since).str.to_datetime(time_zone="UTC")
    by_column = (
        pl.when(~pl.col("rating").is_in(params.ratings))
        .then(pl.lit(Dropped.RATING.value))
        .when(too_early)
        .then(pl.lit(Dropped.BEFORE_SINCE.value))
    )
    judged = posts.select("post_id", reason=pl.coalesce(policy.verdict(names), by_column))
    left = posts.join(judged.filter(pl.col("reason").is_null()), on="post_id", how="semi")
    tagged = relations.label(left)
    by_tags = _by_tags(params, left, tagged, relations.resolve(params.exclude_tags))
    kept = left.join(by_tags, on="post_id", how="anti")
    return Candidates(
        kept.sort("post_id"),
        tagged.join(kept.select("post_id"), on="post_id", how="semi"),
        pl.concat([judged.filter(pl.col("reason").is_not_null()), by_tags]).sort("post_id"),
    )


def _by_tags(params: Sample, posts: pl.DataFrame, tagged: pl.DataFrame, excluded: list[str]) -> pl.DataFrame:
    """Returns post_id and reason of the posts that their tags keep out."""
    per_post = tagged.group_by("post_id").agg(tags=pl.len(), excluded=pl.col("name").is_in(excluded).any())
    reason = (
        pl.when(pl.col("excluded").fill_null(value=False))
        .then(pl.lit(Dropped.EXCLUDED_TAG.value))
        .when(pl.col("tags").fill_null(0) < params.min_tags)
        .then(pl.lit(Dropped.TOO_FEW_TAGS.value))
    )
    judged = posts.select("post_id").join(per_post, on="post_id", how="left").select("post_id", reason=reason)
    return judged.filter(pl.col("reason").is_not_null())
