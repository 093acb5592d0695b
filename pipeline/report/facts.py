"""What the page says in words and numbers, worked out of the inputs.

Nothing here draws or formats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.params import Params
from pipeline.paths import DATASETS, SPLITS
from pipeline.report.inputs import Inputs
from pipeline.schemas.reasons import (
    PostExclusion,
    RecordRejection,
    TagExclusion,
    Takedown,
)

EXAMPLES = 12  # names shown of each kind of tag left out
EXTREMES = 8  # best and worst tags shown

METRICS: Mapping[str, tuple[str, str]] = {
    "macro_map": ("macro mAP", "each tag's share of positives, averaged"),
    "macro_auc": ("macro AUC", "any order that ignores the picture"),
    "macro_f1": ("macro F1", "saying every tag of every picture, averaged over tags"),
    "micro_auc": ("micro AUC", "ranking tags by how common they are"),
    "micro_f1": ("micro F1", "saying the same commonest tags of every picture"),
    "accuracy": ("accuracy", "saying of each tag what most pictures have: mostly no"),
}
"""Metrics by their names in metrics.json: what people call them.

And what their image-blind baseline does.
"""

DROPS: Mapping[PostExclusion, str] = {
    PostExclusion.DELETED: "deleted on the site",
    PostExclusion.WITHHELD: "withheld: the site gives no address for the file",
    PostExclusion.FORBIDDEN_YOUNG: "rated q or e and tagged young, or a tag that implies it",
    PostExclusion.OPTED_OUT: "the artist opted out",
    PostExclusion.NOT_STILL: "not a still picture",
    PostExclusion.RATING: "of a rating that was not asked for",
    PostExclusion.BEFORE_SINCE: "uploaded before the first day asked for",
    PostExclusion.EXCLUDED_TAG: "with a tag that was excluded",
    PostExclusion.TOO_FEW_TAGS: "with too few tags to be well described",
    PostExclusion.SPANS_SPLITS: "whose family (or artist) belongs to another split",
}

LEFT: Mapping[TagExclusion, str] = {
    TagExclusion.ALIASED: "only another spelling of a tag",
    TagExclusion.EXCLUDED: "excluded by sample.exclude_tags",
    TagExclusion.POLICY: "a name that the rules refuse to select posts by",
    TagExclusion.FILE_DERIVED: "says something about the file, not about the picture",
    TagExclusion.TOO_FEW_POSITIVES: "too few training pictures",
    TagExclusion.TOO_FEW_EVALUATION_POSITIVES: "too few validation or test pictures to be judged by",
    TagExclusion.INVALID: "of the site's category for tags that are not to be used",
    TagExclusion.TWO_CATEGORIES: "in two categories at once",
    TagExclusion.NOT_LISTED: "not in sample.tags_file",
    TagExclusion.OTHER_CATEGORY: "in sample.tags_file, but of a category that was not asked for",
    TagExclusion.UNKNOWN: "in sample.tags_file, but not in the snapshot",
    TagExclusion.PATTERN: "excluded by sample.exclude_patterns",
    TagExclusion.BEYOND_VOCABULARY_SIZE: "rarer than the tags that were taken",
}

TAKEDOWNS: Mapping[str, str] = {
    **{reason.value: words for reason, words in DROPS.items()},
    Takedown.REPLACED: "replaced by another file on the site",
    Takedown.EXPUNGED: "expunged: the site no longer has the post",
    Takedown.NOT_LISTED: "not found by the search any more: deleted, expunged, or no longer what the query asks for",
}

WAITS: Mapping[str, str] = {
    "rate_limit": "to keep within the rate",
    "retry_after": "because the site asked for patience",
    "backoff": "before another try",
}
"""Why requests waited, by the names in politeness.json."""

STRATEGIES: Mapping[str, str] = {
    "cover": "cover: few posts that serve every tag",
    "quota": "quota: the newest, each for its rarest tag",
    "natural": "natural: posts by chance",
    "sample": "the sample, as written",
    "board": "every candidate",
}
"""Rows of strategies.parquet in words."""

REJECTIONS: Mapping[str, str] = {
    RecordRejection.NEAR_DUPLICATE: "an evaluation picture that looks like one of an earlier split",
    RecordRejection.SAME_PICTURE: "another post of the sample holds the same picture",
}

RULES: Mapping[PostExclusion, int] = {
    PostExclusion.DELETED: 1,
    PostExclusion.FORBIDDEN_YOUNG: 2,
    PostExclusion.OPTED_OUT: 3,
    PostExclusion.WITHHELD: 4,
    PostExclusion.NOT_STILL: 5,
}
"""Rules of pipeline/policy.py that posts are dropped by.

The other reasons are choices in params.yaml.
"""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric on test beside what a model that never looks at the picture reaches.

    `interval`: 95 %, if worked out.
    """

    name: str
    value: float
    baseline: float
    blind: str
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """A line of the funnel: posts that are left (`kept`), or that went and why."""

    text: str
    posts: int
    kept: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate in one line."""

    dataset: str
    rows: int
    expectations: int
    hold: int
    noted: int
    success: bool


@dataclass(frozen=True, slots=True)
class RequestCount:
    """What one stage asked of the site, of one kind.

    Requests by status or error, commonest first, and bytes.
    """

    stage: str
    kind: str
    requests: int
    answers: str
    bytes: int


@dataclass(frozen=True, slots=True)
class WaitTime:
    """How long a stage waited for one reason.

    And under which rate it last ran (requests/s), if any.
    """

    stage: str
    why: str
    seconds: float
    rate: float | None


def metrics(found: Inputs, names: tuple[str, ...], split: str = "test") -> list[Metric]:
    """Returns metrics in the order of `names`."""
    tree = found.metrics[split]
    return [
        Metric(
            METRICS[name][0],
            *_pair(tree[name]),
            METRICS[name][1],
            _interval(tree[name]),
        )
        for name in names
    ]


def splits(found: Inputs) -> list[tuple[str, list[Metric]]]:
    """Returns each split that was evaluated, with all metrics that this page knows."""
    return [
        (split, metrics(found, names, split))
        for split in SPLITS
        if (
            names := tuple(
                name
                for name in METRICS
                if {"value", "baseline"} <= _tree(found, split, name).keys()
            )
        )
    ]


def _tree(found: Inputs, split: str, name: str) -> Mapping[str, Any]:
    return dict(found.metrics.get(split, {}).get(name, {}))


def _pair(tree: Mapping[str, Any]) -> tuple[float, float]:
    return float(tree["value"]), float(tree["baseline"])


def _interval(tree: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = tree.get("low"), tree.get("high")
    return None if low is None or high is None else (float(low), float(high))


def gates(found: Inputs) -> list[Gate]:
    """Returns every gate, in the order of the stages."""
    return [_gate(name, found.verdicts[name]) for name in DATASETS]


def _gate(dataset: str, verdict: Mapping[str, Any]) -> Gate:
    told = verdict["expectations"]
    hold = sum(bool(one["success"]) for one in told)
    noted = sum(not one["success"] and one["severity"] != "critical" for one in told)
    return Gate(
        dataset,
        sum(verdict["rows"].values()),
        len(told),
        hold,
        noted,
        bool(verdict["success"]),
    )


def snapshot_posts(found: Inputs) -> int:
    """Returns how many posts the snapshot holds, as its gate counted them."""
    return int(found.verdicts["snapshot"]["rows"].get("posts.parquet", 0))


def records(found: Inputs) -> dict[str, int]:
    """Returns the records of each split's shards, splits without any left out."""
    counted = dict(
        found.shards.group_by("split").agg(pl.col("records").sum()).iter_rows()
    )
    return {split: counted[split] for split in SPLITS if counted.get(split)}


def funnel(found: Inputs) -> list[FunnelStep]:
    """Returns the way from the posts of the snapshot to the records of the training shards."""
    posts, dropped = snapshot_posts(found), dict(found.dropped.iter_rows())
    candidates = posts - sum(dropped.values())
    refused = dict(
        found.rejected.group_by("reason")
        .len()
        .sort("len", "reason", descending=[True, False])
        .iter_rows()
    )
    kept = records(found)
    apart = {
        f"kept apart for {split}": count
        for split, count in kept.items()
        if split != "train"
    }
    return [
        FunnelStep("posts in the snapshot", posts, True),
        *(FunnelStep(DROPS[reason], dropped[reason],
        False) for reason in PostExclusion if reason in dropped),
        FunnelStep("candidates", candidates, True),
        FunnelStep("not needed to give every tag its positives",
        candidates - found.sampled, False),
        FunnelStep("sampled, and their pictures asked for", found.sampled, True),
        *(FunnelStep(REJECTIONS.get(reason, f"picture {humanize(reason)}"),
        refused[reason], False) for reason in refused),
        FunnelStep("records in the shards", sum(kept.values()), True),
        *(FunnelStep(text, count, False) for text, count in apart.items()),
        FunnelStep("records trained on", kept.get("train", 0), True),
    ]  # fmt: skip


def humanize(reason: str) -> str:
    """Returns a reason as words: not_found is 'not found'."""
    return reason.replace("_", " ")


def left_out(found: Inputs) -> list[tuple[str, int, list[str]]]:
    """Returns each reason for which tags were left out, how many.

    And the commonest of them.
    """
    names = (
        found.left_out.group_by("reason", maintain_order=True)
        .agg("name")
        .rows_by_key("reason")
    )
    told = {
        reason: [name for (some,) in rows for name in some]
        for reason, rows in names.items()
    }
    return [
        (LEFT[reason], len(told[reason]), told[reason][:EXAMPLES])
        for reason in TagExclusion
        if reason in told
    ]


def strategies(found: Inputs) -> list[dict[str, Any]]:
    """Returns what each strategy would take, with `words`, in the order of STRATEGIES."""
    rows = {row["strategy"]: row for row in found.strategies.to_dicts()}
    return [
        {"words": words, **rows[name]}
        for name, words in STRATEGIES.items()
        if name in rows
    ]


def rules(found: Inputs) -> list[tuple[int, str, int]]:
    """Returns number, words and posts kept out of each rule that chooses posts."""
    dropped = dict(found.dropped.iter_rows())
    return [
        (number, DROPS[reason], dropped.get(reason, 0))
        for reason, number in RULES.items()
    ]


def takedowns(found: Inputs) -> list[tuple[str, str, int]]:
    """Returns snapshot, reason in words and pictures of what was taken down, as long as it stays forbidden."""
    return [
        (moment, TAKEDOWNS.get(reason, humanize(reason)), count)
        for moment, reason, count in found.takedowns.rows()
    ]


def unknown_tags(found: Inputs) -> tuple[int, list[str]]:
    """Returns how many tag names the site's own list lacks.

    And those on the most posts.
    """
    commonest = found.unknown_tags.sort("posts", "name", descending=[True, False])[
        "name"
    ]
    return found.unknown_tags.height, commonest.head(EXAMPLES).to_list()


def requests(found: Inputs) -> list[RequestCount]:
    """Returns what every stage asked of the site, by kind of request."""
    return [
        RequestCount(
            stage,
            kind,
            sum(answers.values()),
            _answers(answers),
            int(figures.get("bytes", {}).get(kind, 0)),
        )
        for stage, figures in sorted(found.politeness.items())
        for kind, answers in sorted(figures.get("requests", {}).items())
    ]


def _answers(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{name}: {count:,}"
        for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    )


def waits(found: Inputs) -> list[WaitTime]:
    """Returns how long every stage waited, by reason."""
    return [
        WaitTime(
            stage,
            WAITS.get(reason, humanize(reason)),
            float(seconds),
            figures.get("rate_limit_per_second"),
        )
        for stage, figures in sorted(found.politeness.items())
        for reason, seconds in sorted(figures.get("seconds_waited", {}).items())
    ]


def agents(found: Inputs) -> list[str]:
    """Returns every User-Agent that requests were made with."""
    return sorted(
        {
            agent
            for figures in found.politeness.values()
            for agent in figures.get("agents", {})
        }
    )


def outcomes(found: Inputs) -> tuple[int, int]:
    """Returns how many pictures were wanted, and how many of them are there."""
    counted = dict(found.outcomes.iter_rows())
    return sum(counted.values()), counted.get("kept", 0)


def positives(found: Inputs, split: str) -> list[int]:
    """Returns the positives of every tag in the shards of a split."""
    counts = found.shards.filter(pl.col("split") == split)["label_counts"].to_list()
    return [sum(column) for column in zip(*counts, strict=True)] or [
        0
    ] * found.vocabulary.height


def best_and_worst_tags(
    found: Inputs,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the tags whose average precision goes furthest.

    And least far, from the prevalence towards 1.
    """
    blind = pl.col("baseline_average_precision")
    judged = found.per_tag.filter(
        pl.col("average_precision").is_not_null() & blind.is_not_null() & (blind < 1)
    )
    ranked = judged.with_columns(
        way=(pl.col("average_precision") - blind) / (1 - blind)
    ).sort("way", "name", descending=[True, False])
    best = ranked.head(min(EXTREMES, (ranked.height + 1) // 2)).to_dicts()
    worst = ranked.tail(min(EXTREMES, ranked.height // 2)).reverse().to_dicts()
    return best, worst


def parameters(found: Inputs, params: Params) -> dict[str, dict[str, Any]]:
    """Returns every parameter that shaped the model, by section.

    What the bundle says of itself goes first.

    Where a thing ran, and who asked (`site`, `cluster`), is not among them.
    """
    ours = params.model_dump(mode="json", exclude={"site", "cluster"})
    said = found.lineage["parameters"] | {"train": found.training["params"]}
    return {
        section: _flat(said.get(section) or values) for section, values in ours.items()
    }


def _flat(tree: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= (
            _flat(value, f"{under}{key}.")
            if isinstance(value, dict)
            else {f"{under}{key}": value}
        )
    return flat


def pinned(found: Inputs) -> str | None:
    """Returns which moment of the site is pinned, in words, or None where the lineage does not tell."""
    pin = found.lineage["pin"]
    if search := pin.get("search"):
        return f"change {search['change']:,}"
    posts = (pin.get("exports") or {}).get("posts") or {}
    if not posts.get("updated_at"):
        return None
    day = str(posts["updated_at"])[:10]
    return (
        f"{day}, with changes to {pin['delta']['change']:,}"
        if pin.get("delta")
        else day
    )
