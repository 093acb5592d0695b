"""Section: from the posts of the snapshot to the records trained on, and the tags."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipeline.report import counts, data_plots
from pipeline.report.inputs import Inputs
from pipeline.report.sections.section import PageData, Values
from pipeline.schemas.reasons import KEPT, PostExclusion, RecordRejection, TagExclusion

TITLE = "Sample"
LINK = "Sample"

EXAMPLES = 12  # names shown of each kind of excluded tag


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """A line of the funnel: posts that are left (`kept`), or that went and why."""

    text: str
    posts: int
    kept: bool


def build(data: PageData) -> Values:
    """Returns the funnel, the excluded tags and the plots of the labels."""
    inputs = data.inputs
    requested, kept = image_counts(inputs)
    return {
        "funnel": funnel(inputs),
        "snapshot_posts": counts.snapshot_posts(inputs),
        "images_requested": requested,
        "images_kept": kept,
        "tags": inputs.vocabulary.height,
        "excluded_tags": excluded_tags(inputs),
        "unknown_tags": unknown_tags(inputs),
        "positives_plot": _positives_plot(data),
        "tags_plot": _tags_plot(inputs),
        "frequencies_plot": _frequencies_plot(inputs),
    }


def funnel(inputs: Inputs) -> list[FunnelStep]:
    """Returns the steps from the posts of the snapshot to the training records."""
    posts = counts.snapshot_posts(inputs)
    excluded = counts.excluded_posts(inputs)
    candidates = posts - sum(excluded.values())
    records = counts.records(inputs)

    steps = [FunnelStep("posts in the snapshot", posts, kept=True)]
    steps += _exclusion_steps(excluded)
    steps.append(FunnelStep("candidates", candidates, kept=True))
    unneeded = candidates - inputs.sampled
    text = "not needed to give every tag its positives"
    steps.append(FunnelStep(text, unneeded, kept=False))
    text = "sampled, and their images requested"
    steps.append(FunnelStep(text, inputs.sampled, kept=True))
    steps += _rejection_steps(inputs)
    total = sum(records.values())
    steps.append(FunnelStep("records in the shards", total, kept=True))
    for split, count in records.items():
        if split != "train":
            steps.append(FunnelStep(f"kept apart for {split}", count, kept=False))
    trained_on = records.get("train", 0)
    steps.append(FunnelStep("records trained on", trained_on, kept=True))
    return steps


def _exclusion_steps(excluded: Mapping[str, int]) -> list[FunnelStep]:
    """Returns a step for each reason that excludes posts, in the order of the rules."""
    present = [reason for reason in PostExclusion if reason in excluded]
    return [
        FunnelStep(reason.sentence, excluded[reason], kept=False) for reason in present
    ]


def _rejection_steps(inputs: Inputs) -> list[FunnelStep]:
    """Returns a step for each reason a sampled post has no record, commonest first."""
    by_reason = inputs.rejected.group_by("reason").len()
    ordered = by_reason.sort("len", "reason", descending=[True, False])
    steps = []
    for reason, posts in ordered.iter_rows():
        if reason in list(RecordRejection):
            text = RecordRejection(reason).sentence
        else:
            text = f"image {counts.humanize(reason)}"
        steps.append(FunnelStep(text, posts, kept=False))
    return steps


def image_counts(inputs: Inputs) -> tuple[int, int]:
    """Returns how many images were requested, and how many of them are stored."""
    outcomes = dict(inputs.outcomes.iter_rows())
    return sum(outcomes.values()), outcomes.get(KEPT, 0)


def excluded_tags(inputs: Inputs) -> list[tuple[str, int, list[str]]]:
    """Returns for each reason its sentence, how many tags, and the commonest of them.

    The names of a reason have the order of the table: commonest first.
    """
    by_reason: dict[str, list[str]] = {}
    for reason, name in inputs.excluded_tags.select("reason", "name").iter_rows():
        by_reason.setdefault(reason, []).append(name)
    rows = []
    for reason in TagExclusion:
        names = by_reason.get(reason)
        if names:
            rows.append((reason.sentence, len(names), names[:EXAMPLES]))
    return rows


def unknown_tags(inputs: Inputs) -> tuple[int, list[str]]:
    """Returns how many tag names the site's own list lacks, and the commonest."""
    table = inputs.unknown_tags
    commonest = table.sort("posts", "name", descending=[True, False])
    return table.height, commonest["name"].head(EXAMPLES).to_list()


def positives(inputs: Inputs, split: str) -> list[int]:
    """Returns the positives of every tag in the shards of a split, by label id."""
    shards = inputs.shards.filter(pl.col("split") == split)
    totals = [0] * inputs.vocabulary.height
    for label_counts in shards["label_counts"].to_list():
        for label, count in enumerate(label_counts):
            totals[label] += count
    return totals


def _positives_plot(data: PageData) -> str:
    minimum = data.params.sample.min_positives
    eval_minimum = data.params.sample.min_eval_positives
    train = positives(data.inputs, "train")
    test = positives(data.inputs, "test")
    return data_plots.positives(train, test, minimum, eval_minimum)


def _tags_plot(inputs: Inputs) -> str:
    training = inputs.records.filter(pl.col("split") == "train")
    return data_plots.tags_per_record(training["tags"].to_list())


def _frequencies_plot(inputs: Inputs) -> str | None:
    """Returns the shares of the tags before and after sampling.

    None without candidates or training images to count them on.
    """
    posts = counts.snapshot_posts(inputs)
    candidates = posts - sum(counts.excluded_posts(inputs).values())
    trained_on = counts.records(inputs).get("train", 0)
    if candidates <= 0 or not trained_on:
        return None
    before = [posts / candidates for posts in inputs.vocabulary["candidate_posts"]]
    after = [images / trained_on for images in positives(inputs, "train")]
    return data_plots.frequencies(before, after)
