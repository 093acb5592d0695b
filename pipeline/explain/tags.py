"""Why a tag is in the vocabulary or not, and what implies it."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from pipeline import policy
from pipeline.errors import BadParameter
from pipeline.explain.tables import effective, find_row, join_names
from pipeline.params import Params
from pipeline.params.sample import CATEGORIES, Sample
from pipeline.paths import Paths
from pipeline.sample.label_matrix import TARGET_SPLITS
from pipeline.schemas.reasons import TagExclusion

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


def explain_tag(params: Params, paths: Paths, name: str) -> Iterator[str]:
    """Yields lines on a tag.

    Raises BadParameter if the snapshot does not have the name.
    """
    aliases = effective(paths, "aliases")
    implications = effective(paths, "implications")
    targets = dict(aliases.select("antecedent", "consequent").iter_rows())
    final = final_name(targets, name)
    if final != name:
        yield f"{name} is an alias of {final}: posts that carry it count for {final}"
    tag = find_row(paths.snapshot / "tags.parquet", "name", final)
    if tag is None:
        if final == name and name not in implications["antecedent"]:
            raise _unknown_error(name)
        yield f"{final} is not in the tags of the snapshot: posts lose it"
        return
    yield tag_line(tag)
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


def tag_line(tag: dict[str, Any]) -> str:
    """Returns what the site says of a tag. tag: its row of tags.parquet."""
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
        names = [final_name(targets, name) for name in implications[side]]
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
        yield f"implies {join_names(sorted(implied))}"
    implying = policy.tags_implying(itself, implications, no_aliases) - itself
    if implying:
        yield f"is implied by {join_names(sorted(implying))}"


def _vocabulary_lines(params: Sample, paths: Paths, name: str) -> Iterator[str]:
    """Yields whether a tag is in the vocabulary, or why it is not."""
    label = find_row(paths.sample / "vocabulary.parquet", "name", name)
    if label is not None:
        yield _label_line(params, label)
        return
    excluded = find_row(paths.sample / "excluded_tags.parquet", "name", name)
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


def final_name(targets: dict[str, str], name: str) -> str:
    """Returns the last name of a chain of aliases, as tag_graph does.

    A cycle ends where it closes. targets: each aliased name and what it is an alias of.
    """
    seen = {name}
    reached = targets.get(name, name)
    while reached in targets and reached not in seen:
        seen.add(reached)
        reached = targets[reached]
    return reached
