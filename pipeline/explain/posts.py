"""Why a post is in the sample, in which split, or why it is in none."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from pipeline import policy
from pipeline.explain.tables import effective, find_row, join_names, read_rows
from pipeline.params import Params
from pipeline.params.sample import Sample
from pipeline.paths import SPLITS, Paths
from pipeline.sample import splits
from pipeline.schemas.reasons import PostExclusion

NOT_CHOSEN = {
    "cover": "all its tags have their positives without it",
    "quota": (
        "it has too few labels, is one of the newest posts that sample.quota_offset "
        "skips, or newer posts filled the quota of all its labels"
    ),
    "natural": "the random sample took others",
}
"""Why a candidate is not in the sample, by sample.strategy."""

WITH_TAGS = (
    PostExclusion.FORBIDDEN_YOUNG,
    PostExclusion.OPTED_OUT,
    PostExclusion.EXCLUDED_TAG,
)
"""Reasons that a post has because of its tags."""


def explain_post(params: Params, paths: Paths, post: dict[str, Any]) -> Iterator[str]:
    """Yields lines on a post. post: its row of posts.parquet."""
    post_id = post["post_id"]
    yield _post_line(post)
    excluded = find_row(paths.sample / "excluded_posts.parquet", "post_id", post_id)
    if excluded is not None:
        why = why_excluded(params, paths, post, excluded)
        yield f"excluded: {excluded['reason']}. {why}"
        return
    home = _home(params.sample, post)
    sampled = find_row(paths.sample / "posts.parquet", "post_id", post_id)
    if sampled is None:
        yield f"not chosen: {home}, but {NOT_CHOSEN[params.sample.strategy]}"
        return
    everything = pl.lit(value=True)
    vocabulary = read_rows(paths.sample / "vocabulary.parquet", everything, ["name"])
    names = vocabulary["name"].to_list()
    yield f"chosen for {sampled['split']}: {_why_chosen(params.sample, sampled, names)}"
    if sampled["group_id"] != post_id:
        home += f"; its family is that of post {sampled['group_id']}"
    yield home
    yield from _label_lines(sampled, names)


def _post_line(post: dict[str, Any]) -> str:
    line = (
        f"post {post['post_id']}: rated {post['rating']}, {post['ext']}, "
        f"{len(post['tags'])} tags, uploaded {post['created_at']:%Y-%m-%d}"
    )
    if post["parent_id"] is not None:
        line += f", parent {post['parent_id']}"
    return line


def _label_lines(sampled: dict[str, Any], names: list[str]) -> Iterator[str]:
    """Yields the labels that people gave, then those that follow from them."""
    given: list[str] = []
    implied: list[str] = []
    for label in sampled["label_ids"]:
        labels = given if label in sampled["explicit_label_ids"] else implied
        labels.append(names[label])
    yield f"labels: {join_names(given)}"
    if implied:
        yield f"implied: {join_names(implied)}"


def _why_chosen(params: Sample, sampled: dict[str, Any], names: list[str]) -> str:
    label = sampled["selected_for"]
    if label is not None:
        return f"strategy {params.strategy} took it for {names[label]}"
    if sampled["split"] == "fresh":
        return "all candidates after sample.fresh_after are"
    return "by chance, with the shares of the whole board"


def why_excluded(
    params: Params, paths: Paths, post: dict[str, Any], excluded: dict[str, Any]
) -> str:
    """Returns what the reason refers to in this post. excluded: its row."""
    reason = PostExclusion(excluded["reason"])
    if reason is PostExclusion.SPANS_SPLITS:
        return _why_in_two_splits(params.sample, post, excluded)
    if reason in WITH_TAGS:
        names = _responsible_tags(params.sample, paths, post, reason)
        return f"It has {join_names(names) or 'a tag that implies one'}"
    sentences = {
        PostExclusion.DELETED: "The site deleted it",
        PostExclusion.WITHHELD: "The site gives no URL for its file",
        PostExclusion.NOT_STILL: (
            f"It is {post['ext']}, or has tags or a duration of an animation"
        ),
        PostExclusion.RATING: (
            f"It is rated {post['rating']}; sample.ratings are "
            f"{', '.join(params.sample.ratings)}"
        ),
        PostExclusion.BEFORE_SINCE: (
            f"It was uploaded before sample.since {params.sample.since}"
        ),
        PostExclusion.TOO_FEW_TAGS: (
            f"It has fewer than sample.min_tags {params.sample.min_tags}, implied "
            "ones included"
        ),
    }
    return sentences[reason]


def _why_in_two_splits(
    params: Sample, post: dict[str, Any], excluded: dict[str, Any]
) -> str:
    home = _home(params, post)
    sentence = home[0].upper() + home[1:]
    return (
        f"{sentence}, its family of post {excluded['group_id']} (or an artist, or a "
        "possible artist) to another split"
    )


def _responsible_tags(
    params: Sample, paths: Paths, post: dict[str, Any], reason: PostExclusion
) -> list[str]:
    """Returns the post's tags that are the reason, or imply a tag that is."""
    roots = {
        PostExclusion.FORBIDDEN_YOUNG: policy.YOUNG,
        PostExclusion.OPTED_OUT: policy.OPT_OUT,
        PostExclusion.EXCLUDED_TAG: frozenset(params.exclude_tags),
    }
    implications = effective(paths, "implications")
    aliases = effective(paths, "aliases")
    responsible = policy.tags_implying(roots[reason], implications, aliases)
    names = list(post["tags"])
    if reason is PostExclusion.OPTED_OUT:
        names += post["locked_tags"]
    return [name for name in names if name in responsible]


def _home(params: Sample, post: dict[str, Any]) -> str:
    """Returns in words which split a post belongs to by itself."""
    if _is_fresh(params, post):
        return (
            f"uploaded from sample.fresh_after {params.fresh_after} on, it belongs "
            "to fresh"
        )
    if params.group_by_artist:
        return (
            "it belongs to the split of its artists, or by its id where none is named"
        )
    ids = np.array([post["post_id"]])
    split = SPLITS[int(splits.split_of_id(ids, params)[0])]
    position = splits.unit_hash(ids)[0]
    return f"its id falls on {position:.4f} of 0 to 1, and so belongs to {split}"


def _is_fresh(params: Sample, post: dict[str, Any]) -> bool:
    if params.fresh_after is None:
        return False
    start = datetime.combine(params.fresh_after, datetime.min.time(), UTC)
    return bool(post["created_at"] >= start)
