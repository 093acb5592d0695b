"""Explain: why a tag is learnt or not, why a post was chosen or dropped.

From the tables, in a second at any size.

Reads       data/snapshot/*.parquet, data/sample/*.parquet; of large files only the row
            groups that may hold the answer
Writes      nothing
Guarantees  every line is what the tables say, or follows from the parameters that they
            were made with; nothing is computed over all posts.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from pipeline import parquet, policy
from pipeline.errors import BadParameter
from pipeline.params import Params, Sample
from pipeline.paths import Paths
from pipeline.sample import DECIDED_BY, splits
from pipeline.sample.tag_graph import CATEGORIES
from pipeline.schemas.reasons import PostExclusion, TagExclusion

SHOWN = 12  # names in a line

TAG_REASONS = {
    TagExclusion.ALIASED: "it is only another spelling",
    TagExclusion.TWO_CATEGORIES: "the snapshot has it in two categories",
    TagExclusion.INVALID: "its category is the site's for tags that are not to be used",
    TagExclusion.NOT_LISTED: "sample.tags_file {params.tags_file} does not list it",
    TagExclusion.OTHER_CATEGORY: "sample.tags_file lists it, but its category is none of sample.categories",
    TagExclusion.UNKNOWN: "sample.tags_file lists it, but the snapshot has no such tag",
    TagExclusion.EXCLUDED: "sample.exclude_tags names it",
    TagExclusion.PATTERN: "a pattern of sample.exclude_patterns fits it",
    TagExclusion.POLICY: "the policy refuses to select posts by it",
    TagExclusion.FILE_DERIVED: "it says something about the file, not about the picture",
    TagExclusion.TOO_FEW_POSITIVES: "{train_posts:,} training posts are fewer than sample.min_positives "
    "{params.min_positives:,}",
    TagExclusion.TOO_FEW_EVALUATION_POSITIVES: "{validation_posts:,} validation and {test_posts:,} test posts are too few: "
    "sample.min_eval_positives {params.min_eval_positives:,}",
    TagExclusion.BEYOND_VOCABULARY_SIZE: "sample.vocabulary_size {params.vocabulary_size:,} tags are commoner",
}
"""Why a tag is left out, in words.

Filled with its row of left_out.parquet and the parameters.
"""

NOT_CHOSEN = {
    "cover": "all its tags have their positives without it",
    "quota": "it has too few labels, is of the newest that sample.quota_offset passes "
    "over, or all its labels were "
    "charged their positives by newer posts",
    "natural": "chance took others",
}
"""Why a candidate is not in the sample, by sample.strategy."""


def run(params: Params, paths: Paths, subject: str) -> None:
    """Prints what the tables say of a post (a number that is a post's id), of a tag of this name, or of both."""
    decided = _as_decided(params, paths)
    if decided != params:
        print(
            "params.yaml says otherwise by now: what follows is what data/sample was "
            "made with. Run dvc repro."
        )
        params = decided
    post = (
        _row(paths.snapshot / "posts.parquet", "post_id", int(subject))
        if subject.isdecimal()
        else None
    )
    lines = list(explain_post(params, paths, post)) if post else []
    if post is None or _row(
        paths.snapshot / "tags.parquet", "name", subject
    ):  # tags too may be named like a number
        lines += explain_tag(params, paths, subject)
    print("\n".join(lines))


def explain_tag(params: Params, paths: Paths, name: str) -> Iterator[str]:
    """Yields lines on a tag.

    Raises BadParameter where the snapshot does not know the name.
    """
    aliases, implications = (
        _in_force(paths, table) for table in ("aliases", "implications")
    )
    step = dict(aliases.select("antecedent", "consequent").iter_rows())
    final = _end(step, name)
    tag = _row(paths.snapshot / "tags.parquet", "name", final)
    if final != name:
        yield f"{name} is an alias of {final}: posts that carry it count for {final}"
    if tag is None and (final != name or name in implications["antecedent"]):
        yield f"{final} is not in the tags of the snapshot: posts lose it"
        return
    if tag is None:
        kind = "post or tag" if name.isdecimal() else "tag"
        raise BadParameter(
            f"the snapshot has no {kind} {name}. Write it as the site does, such as "
            "white_background."
        )
    category = (
        CATEGORIES[tag["category"]]
        if 0 <= tag["category"] < len(CATEGORIES)
        else "invalid"
    )
    yield f"{final}: category {category}, tag id {tag['tag_id']}, on {tag['post_count']:,} posts as the site counts"
    resolved = implications.with_columns(
        pl.Series(side, [_end(step, one) for one in implications[side]], pl.String)
        for side in ("antecedent", "consequent")
    )
    turned = resolved.select(
        antecedent="consequent", consequent="antecedent", status="status"
    )
    if implied := policy.tags_implying(frozenset({final}), turned, aliases.clear()) - {
        final
    }:
        yield f"implies {_listed(sorted(implied))}"
    if implying := policy.tags_implying(
        frozenset({final}), resolved, aliases.clear()
    ) - {final}:
        yield f"is implied by {_listed(sorted(implying))}"
    yield from _chosen_or_not(params.sample, paths, final)
    refused = policy.PolicyTags.read(implications, aliases)
    if final in refused.young:
        yield "policy rule 2: posts rated q or e that have it are never selected"
    if final in refused.opt_out:
        yield "policy rule 3: posts that have it are never selected"


def explain_post(params: Params, paths: Paths, post: dict[str, Any]) -> Iterator[str]:
    """Yields lines on a post of the snapshot."""
    number = post["post_id"]
    facts = f"rated {post['rating']}, {post['ext']}, {len(post['tags'])} tags, uploaded {post['created_at']:%Y-%m-%d}"
    yield f"post {number}: {facts}" + (
        f", parent {post['parent_id']}" if post["parent_id"] is not None else ""
    )
    if dropped := _row(paths.sample / "dropped.parquet", "post_id", number):
        yield f"dropped: {dropped['reason']}. {_why_dropped(params, paths, post, dropped)}"
        return
    home = _home(params.sample, post)
    sampled = _row(paths.sample / "posts.parquet", "post_id", number)
    if sampled is None:
        yield f"not chosen: {home}, but {NOT_CHOSEN[params.sample.strategy]}"
        return
    names = _read(paths.sample / "vocabulary.parquet", pl.lit(value=True), ["name"])[
        "name"
    ]
    yield f"chosen for {sampled['split']}: {_taken_for(params.sample, sampled, names)}"
    yield home + (
        f"; its family is that of post {sampled['group_id']}"
        if sampled["group_id"] != number
        else ""
    )
    given = set(sampled["given_ids"])
    yield f"labels: {_listed([names[label] for label in sampled['label_ids'] if label in given])}"
    if implied := [
        names[label] for label in sampled["label_ids"] if label not in given
    ]:
        yield f"implied: {_listed(implied)}"


def _as_decided(params: Params, paths: Paths) -> Params:
    """Returns the parameters with those of the tables in data/sample in place of what params.yaml has by now."""
    path = paths.sample / "vocabulary.parquet"
    if not path.exists() or (noted := parquet.metadata(path).get(DECIDED_BY)) is None:
        return params
    tree = params.model_dump(mode="json")
    for section, values in json.loads(noted).items():
        tree[section].update(values)
    try:
        return Params.model_validate(tree)
    except ValidationError:  # made by a version with other parameters
        return params


def _chosen_or_not(params: Sample, paths: Paths, name: str) -> Iterator[str]:
    if row := _row(paths.sample / "vocabulary.parquet", "name", name):
        yield (
            f"in the vocabulary as label {row['label_id']}: {row['snapshot_posts']:,} "
            "posts of the snapshot have it, "
            f"{row['candidate_posts']:,} of them candidates; "
            f"sampled were {row['train_positives']:,} for training, "
            f"{row['validation_positives']:,} for validation, "
            f"{row['test_positives']:,} for test (wanted: {params.min_positives:,}, "
            f"{params.min_eval_positives:,}, "
            f"{params.min_eval_positives:,}, and {params.reserve:.0%} of reserve)"
        )
    elif left_out := _row(paths.sample / "left_out.parquet", "name", name):
        counts = ", ".join(
            f"{left_out[f'{split}_posts']:,} {split}"
            for split in ("train", "validation", "test")
        )
        why = TAG_REASONS[TagExclusion(left_out["reason"])].format(
            params=params, **left_out
        )
        yield (
            f"left out ({left_out['reason']}): {why}; {left_out['snapshot_posts']:,} "
            "posts of the snapshot have it, "
            f"{left_out['candidate_posts']:,} of them candidates ({counts})"
        )
    else:
        yield f"not asked for: sample.categories are {', '.join(params.categories)}"


def _taken_for(params: Sample, sampled: dict[str, Any], names: pl.Series) -> str:
    if sampled["taken_for"] is not None:
        return f"strategy {params.strategy} took it for {names[sampled['taken_for']]}"
    if sampled["split"] == "fresh":
        return "all candidates after sample.fresh_after are"
    return "by chance, as the board is"


def _why_dropped(
    params: Params, paths: Paths, post: dict[str, Any], dropped: dict[str, Any]
) -> str:
    """Returns what of the post led to the reason."""
    reason = PostExclusion(dropped["reason"])
    if reason is PostExclusion.SPANS_SPLITS:
        home = _home(params.sample, post)
        family = f"its family of post {dropped['group_id']} (or an artist, or what may be one)"
        return f"{home[0].upper()}{home[1:]}, {family} to another split"
    if reason in (
        PostExclusion.FORBIDDEN_YOUNG,
        PostExclusion.OPTED_OUT,
        PostExclusion.EXCLUDED_TAG,
    ):
        return (
            "It has "
            f"{_listed(_leading(params.sample, paths, post, reason)) or 'a tag that leads to one'}"
        )
    told = {
        PostExclusion.DELETED: "The site deleted it",
        PostExclusion.WITHHELD: "The site gives no address for its file",
        PostExclusion.NOT_STILL: f"It is {post['ext']}, or its tags or its duration say that it moves",
        PostExclusion.RATING: f"It is rated {post['rating']}; sample.ratings are {', '.join(params.sample.ratings)}",
        PostExclusion.BEFORE_SINCE: f"It was uploaded before sample.since {params.sample.since}",
        PostExclusion.TOO_FEW_TAGS: f"sample.min_tags are {params.sample.min_tags}, implied ones counted",
    }
    return told[reason]


def _leading(
    params: Sample, paths: Paths, post: dict[str, Any], reason: PostExclusion
) -> list[str]:
    """Returns the post's tags that led to a reason."""
    roots = {
        PostExclusion.FORBIDDEN_YOUNG: policy.YOUNG,
        PostExclusion.OPTED_OUT: policy.OPT_OUT,
        PostExclusion.EXCLUDED_TAG: frozenset(params.exclude_tags),
    }
    names = policy.tags_implying(
        roots[reason], _in_force(paths, "implications"), _in_force(paths, "aliases")
    )
    locked = post["locked_tags"] if reason is PostExclusion.OPTED_OUT else []
    return [name for name in [*post["tags"], *locked] if name in names]


def _home(params: Sample, post: dict[str, Any]) -> str:
    """Returns in words which split a post belongs to by itself."""
    start = params.fresh_after and datetime.combine(
        params.fresh_after, datetime.min.time(), UTC
    )
    if start and post["created_at"] >= start:
        return (
            f"uploaded from sample.fresh_after {params.fresh_after} on, it belongs "
            "to fresh"
        )
    if params.group_by_artist:
        return (
            "it belongs to the split of its artists, or by its id where none is named"
        )
    import numpy as np

    number = np.array([post["post_id"]])
    split = ("train", "validation", "test")[int(splits.split_of_id(number, params)[0])]
    return (
        f"its id falls on {splits.unit_hash(number)[0]:.4f} of 0 to 1, and so belongs "
        f"to {split}"
    )


def _in_force(paths: Paths, name: str) -> pl.DataFrame:
    effective = pl.col("status").is_in(sorted(policy.EFFECTIVE))
    return _read(
        paths.snapshot / f"{name}.parquet",
        effective,
        ["antecedent", "consequent", "status"],
    )


def _end(step: dict[str, str], name: str) -> str:
    """Returns what a name finally stands for, as sample.labels has it.

    A circle ends where it closes.
    """
    seen, reached = {name}, step.get(name, name)
    while reached in step and reached not in seen:
        seen.add(reached)
        reached = step[reached]
    return reached


def _row(path: Path, key: str, value: int | str) -> dict[str, Any] | None:
    """Returns the one row with this key, reading only the row groups whose statistics allow it."""
    rows = _read(path, pl.col(key) == value).to_dicts()
    return rows[0] if rows else None


def _read(
    path: Path, condition: pl.Expr, columns: list[str] | None = None
) -> pl.DataFrame:
    """Returns the rows that fulfil the condition.

    By Polars alone: PyArrow's filters import pandas, half a second.
    """
    try:
        rows = pl.scan_parquet(path).filter(condition)
        return (rows.select(columns) if columns else rows).collect()
    except (pl.exceptions.ComputeError, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
