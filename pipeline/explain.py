"""Explain: why a tag is learnt or not, why a post was chosen or excluded.

It reads the tables and answers in a second at any size.

Reads       data/snapshot/*.parquet, data/sample/*.parquet; of large files only the row
            groups that may hold the answer
Writes      nothing
Guarantees  every line comes from the tables, or follows from the parameters that they
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
from pipeline.params import Params
from pipeline.params.sample import CATEGORIES, Sample
from pipeline.paths import SPLITS, Paths
from pipeline.sample import DECIDED_BY, splits
from pipeline.sample.label_matrix import TARGET_SPLITS
from pipeline.schemas.reasons import PostExclusion, TagExclusion

SHOWN = 12  # names in a line

TAG_REASONS = {
    TagExclusion.ALIASED: "it is only another spelling",
    TagExclusion.TWO_CATEGORIES: "the snapshot has it in two categories",
    TagExclusion.INVALID: "its category is the site's for tags that are not to be used",
    TagExclusion.NOT_LISTED: "sample.tags_file {params.tags_file} does not list it",
    TagExclusion.OTHER_CATEGORY: (
        "sample.tags_file lists it, but its category is none of sample.categories"
    ),
    TagExclusion.UNKNOWN: "sample.tags_file lists it, but the snapshot has no such tag",
    TagExclusion.EXCLUDED: "sample.exclude_tags names it",
    TagExclusion.PATTERN: "it matches a pattern of sample.exclude_patterns",
    TagExclusion.POLICY: "the policy does not select posts by it",
    TagExclusion.FILE_DERIVED: "it describes the file, not the image",
    TagExclusion.TOO_FEW_POSITIVES: (
        "{train_posts:,} training posts are fewer than sample.min_positives "
        "{params.min_positives:,}"
    ),
    TagExclusion.TOO_FEW_EVALUATION_POSITIVES: (
        "{validation_posts:,} validation and {test_posts:,} test posts are too few: "
        "sample.min_eval_positives {params.min_eval_positives:,}"
    ),
    TagExclusion.LACKS_RESERVE: (
        "{train_posts:,} training, {validation_posts:,} validation and {test_posts:,} "
        "test posts are enough, but not with sample.reserve {params.reserve:g} beyond "
        "sample.min_positives {params.min_positives:,} and min_eval_positives "
        "{params.min_eval_positives:,}"
    ),
    TagExclusion.BEYOND_VOCABULARY_SIZE: (
        "sample.vocabulary_size {params.vocabulary_size:,} tags are commoner"
    ),
}
"""Why a tag is left out, in words.

Formatted with its row of excluded_tags.parquet and the parameters.
"""

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


def run(params: Params, paths: Paths, subject: str) -> None:
    """Prints what the tables have on a post or a tag.

    subject: the id of a post, the name of a tag, or both at once, since a tag may be
    named like a number.
    """
    used = _used_params(params, paths)
    if used != params:
        print(
            "params.yaml says otherwise by now: the lines below follow from the "
            "parameters that data/sample was made with. Run dvc repro."
        )
    lines: list[str] = []
    post = _find_post(paths, subject)
    if post is not None:
        lines += explain_post(used, paths, post)
    tag = _row(paths.snapshot / "tags.parquet", "name", subject)
    if post is None or tag is not None:
        lines += explain_tag(used, paths, subject)
    print("\n".join(lines))


def _used_params(params: Params, paths: Paths) -> Params:
    """Returns the parameters, with those that data/sample was made with."""
    path = paths.sample / "vocabulary.parquet"
    if not path.exists():
        return params
    recorded = parquet.metadata(path).get(DECIDED_BY)
    if recorded is None:
        return params
    tree = params.model_dump(mode="json")
    for section, values in json.loads(recorded).items():
        tree[section].update(values)
    try:
        return Params.model_validate(tree)
    except ValidationError:  # made by a version with other parameters
        return params


def _find_post(paths: Paths, subject: str) -> dict[str, Any] | None:
    if not subject.isdecimal():
        return None
    return _row(paths.snapshot / "posts.parquet", "post_id", int(subject))


def explain_tag(params: Params, paths: Paths, name: str) -> Iterator[str]:
    """Yields lines on a tag.

    Raises BadParameter if the snapshot does not have the name.
    """
    aliases = _effective(paths, "aliases")
    implications = _effective(paths, "implications")
    targets = dict(aliases.select("antecedent", "consequent").iter_rows())
    final = _end(targets, name)
    if final != name:
        yield f"{name} is an alias of {final}: posts that carry it count for {final}"
    tag = _row(paths.snapshot / "tags.parquet", "name", final)
    if tag is None:
        if final == name and name not in implications["antecedent"]:
            raise _unknown_error(name)
        yield f"{final} is not in the tags of the snapshot: posts lose it"
        return
    yield _tag_line(tag)
    yield from _implication_lines(_resolve(implications, targets), final)
    yield from _vocabulary_lines(params.sample, paths, final)
    refused = policy.PolicyTags.read(implications, aliases)
    if final in refused.young:
        yield "policy rule 2: posts rated q or e that have it are never selected"
    if final in refused.opt_out:
        yield "policy rule 3: posts that have it are never selected"


def _unknown_error(name: str) -> BadParameter:
    kind = "post or tag" if name.isdecimal() else "tag"
    return BadParameter(
        f"the snapshot has no {kind} {name}. Write it as the site does, such as "
        "white_background."
    )


def _tag_line(tag: dict[str, Any]) -> str:
    category = "invalid"
    if 0 <= tag["category"] < len(CATEGORIES):
        category = CATEGORIES[tag["category"]]
    return (
        f"{tag['name']}: category {category}, tag id {tag['tag_id']}, on "
        f"{tag['post_count']:,} posts as the site counts"
    )


def _resolve(implications: pl.DataFrame, targets: dict[str, str]) -> pl.DataFrame:
    """Returns the implications with every alias replaced by its final name."""
    for side in ("antecedent", "consequent"):
        names = [_end(targets, name) for name in implications[side]]
        implications = implications.with_columns(pl.Series(side, names, pl.String))
    return implications


def _implication_lines(implications: pl.DataFrame, name: str) -> Iterator[str]:
    """Yields what a tag implies and what implies it, directly or through others.

    implications: without aliases.
    """
    reversed_ = implications.select(
        antecedent="consequent", consequent="antecedent", status="status"
    )
    no_aliases = implications.clear()
    itself = frozenset({name})
    implied = policy.tags_implying(itself, reversed_, no_aliases) - itself
    if implied:
        yield f"implies {_listed(sorted(implied))}"
    implying = policy.tags_implying(itself, implications, no_aliases) - itself
    if implying:
        yield f"is implied by {_listed(sorted(implying))}"


def _vocabulary_lines(params: Sample, paths: Paths, name: str) -> Iterator[str]:
    """Yields whether a tag is in the vocabulary, or why it is not."""
    label = _row(paths.sample / "vocabulary.parquet", "name", name)
    if label is not None:
        yield _label_line(params, label)
        return
    excluded = _row(paths.sample / "excluded_tags.parquet", "name", name)
    if excluded is not None:
        yield _excluded_line(params, excluded)
        return
    yield f"not requested: sample.categories are {', '.join(params.categories)}"


def _label_line(params: Sample, label: dict[str, Any]) -> str:
    found = (
        f"in the vocabulary as label {label['label_id']}: "
        f"{label['snapshot_posts']:,} posts of the snapshot have it, "
        f"{label['candidate_posts']:,} of them candidates"
    )
    sampled = (
        f"sampled were {label['train_positives']:,} for training, "
        f"{label['validation_positives']:,} for validation, "
        f"{label['test_positives']:,} for test"
    )
    wanted = (
        f"wanted: {params.min_positives:,}, {params.min_eval_positives:,}, "
        f"{params.min_eval_positives:,}, and {params.reserve:.0%} of reserve"
    )
    return f"{found}; {sampled} ({wanted})"


def _excluded_line(params: Sample, excluded: dict[str, Any]) -> str:
    reason = excluded["reason"]
    why = TAG_REASONS[TagExclusion(reason)].format(params=params, **excluded)
    counts = [f"{excluded[f'{split}_posts']:,} {split}" for split in TARGET_SPLITS]
    return (
        f"left out ({reason}): {why}; {excluded['snapshot_posts']:,} posts of the "
        f"snapshot have it, {excluded['candidate_posts']:,} of them candidates "
        f"({', '.join(counts)})"
    )


def explain_post(params: Params, paths: Paths, post: dict[str, Any]) -> Iterator[str]:
    """Yields lines on a post. post: its row of posts.parquet."""
    post_id = post["post_id"]
    yield _post_line(post)
    excluded = _row(paths.sample / "excluded_posts.parquet", "post_id", post_id)
    if excluded is not None:
        why = _why_excluded(params, paths, post, excluded)
        yield f"excluded: {excluded['reason']}. {why}"
        return
    home = _home(params.sample, post)
    sampled = _row(paths.sample / "posts.parquet", "post_id", post_id)
    if sampled is None:
        yield f"not chosen: {home}, but {NOT_CHOSEN[params.sample.strategy]}"
        return
    everything = pl.lit(value=True)
    vocabulary = _read(paths.sample / "vocabulary.parquet", everything, ["name"])
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
    yield f"labels: {_listed(given)}"
    if implied:
        yield f"implied: {_listed(implied)}"


def _why_chosen(params: Sample, sampled: dict[str, Any], names: list[str]) -> str:
    label = sampled["selected_for"]
    if label is not None:
        return f"strategy {params.strategy} took it for {names[label]}"
    if sampled["split"] == "fresh":
        return "all candidates after sample.fresh_after are"
    return "by chance, with the shares of the whole board"


def _why_excluded(
    params: Params, paths: Paths, post: dict[str, Any], excluded: dict[str, Any]
) -> str:
    """Returns what the reason refers to in this post. excluded: its row."""
    reason = PostExclusion(excluded["reason"])
    if reason is PostExclusion.SPANS_SPLITS:
        return _why_in_two_splits(params.sample, post, excluded)
    if reason in WITH_TAGS:
        names = _responsible_tags(params.sample, paths, post, reason)
        return f"It has {_listed(names) or 'a tag that implies one'}"
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
    implications = _effective(paths, "implications")
    aliases = _effective(paths, "aliases")
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
    import numpy as np

    ids = np.array([post["post_id"]])
    split = SPLITS[int(splits.split_of_id(ids, params)[0])]
    position = splits.unit_hash(ids)[0]
    return f"its id falls on {position:.4f} of 0 to 1, and so belongs to {split}"


def _is_fresh(params: Sample, post: dict[str, Any]) -> bool:
    if params.fresh_after is None:
        return False
    start = datetime.combine(params.fresh_after, datetime.min.time(), UTC)
    return bool(post["created_at"] >= start)


def _effective(paths: Paths, name: str) -> pl.DataFrame:
    """Returns the aliases or implications that the site applies."""
    is_effective = pl.col("status").is_in(sorted(policy.EFFECTIVE))
    columns = ["antecedent", "consequent", "status"]
    return _read(paths.snapshot / f"{name}.parquet", is_effective, columns)


def _end(targets: dict[str, str], name: str) -> str:
    """Returns the last name of a chain of aliases, as tag_graph does.

    A cycle ends where it closes. targets: each aliased name and what it is an alias of.
    """
    seen = {name}
    reached = targets.get(name, name)
    while reached in targets and reached not in seen:
        seen.add(reached)
        reached = targets[reached]
    return reached


def _row(path: Path, key: str, value: int | str) -> dict[str, Any] | None:
    """Returns the one row with this key.

    Reads only the row groups that may hold it by their statistics.
    """
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
        if columns:
            rows = rows.select(columns)
        return rows.collect()
    except (pl.exceptions.ComputeError, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error


def _listed(names: list[str]) -> str:
    """Returns the first names, and how many more there are."""
    text = ", ".join(names[:SHOWN])
    if len(names) > SHOWN:
        text += f" and {len(names) - SHOWN:,} more"
    return text
