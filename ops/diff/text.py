"""The comparison of two runs for a terminal of 80 columns."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table

from ops.diff import Report
from ops.diff.drift import LabelDrift
from ops.diff.metrics import MetricChange, MetricDiff
from ops.diff.posts import PostChange, PostDiff, Retagged
from ops.diff.tags import ChangedTag, TagDiff
from pipeline.metrics.catalogue import LABELS

SHOWN = 8
"""Rows of a list that are shown; the others are counted, and --json has them all."""


def render(report: Report) -> Iterator[RenderableType]:
    """Yields lines and tables."""
    yield f"{report.before} -> {report.after}"
    if report.is_without_change:
        compared = ["tags"]
        if report.posts is not None:
            compared += ["posts", "labels"]
        if report.metrics is not None:
            compared.append("metrics")
        yield f"Nothing differs: {', '.join(compared)} are the same."
    else:
        yield from _tags(report.tags)
        if report.posts is not None:
            yield from _posts(report.posts)
        if report.labels is not None:
            yield from _labels(report.labels)
        if report.metrics is not None:
            yield from _metrics(report.metrics)
    for section, why in report.absent.items():
        yield f"\n{section.capitalize()} are not compared: {why}."


def _table(*columns: str, texts: int = 1) -> Table:
    """Returns an empty table. texts: first columns that are not numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(columns):
        is_text = place < texts
        table.add_column(
            name,
            justify="left" if is_text else "right",
            overflow="fold" if is_text else "ellipsis",
            no_wrap=not is_text,
        )
    return table


def _rest(things: Sequence[object], kind: str) -> Iterator[str]:
    if len(things) > SHOWN:
        yield f"  and {len(things) - SHOWN:,} more {kind} (--json has all)"


def _tags(found: TagDiff) -> Iterator[RenderableType]:
    yield (
        f"\nTags: {found.before:,} -> {found.after:,}, {found.common:,} in both "
        f"({len(found.renamed):,} of them renamed), {len(found.new):,} new, "
        f"{len(found.gone):,} gone"
    )
    for title, tags in (("new", found.new), ("gone", found.gone)):
        if tags:
            yield _changed_tags(title, tags)
            yield from _rest(tags, "tags")
    if found.renamed:
        table = _table("renamed", "now", texts=2)
        for one in found.renamed[:SHOWN]:
            merged = " (was a tag already: both are one now)" if one.merged else ""
            table.add_row(one.old, f"{one.new}{merged}")
        yield table
        yield from _rest(found.renamed, "tags")


def _changed_tags(title: str, tags: Sequence[ChangedTag]) -> Table:
    other = "why not before" if title == "new" else "why no more"
    table = _table(title, "category", other, texts=3)
    for one in tags[:SHOWN]:
        table.add_row(one.name, one.category, one.reason or "not known")
    return table


def _posts(found: PostDiff) -> Iterator[RenderableType]:
    yield (
        f"\nPosts: {found.before:,} -> {found.after:,}, {found.common:,} in both: "
        f"{len(found.came):,} came, {len(found.went):,} went, "
        f"{len(found.retagged):,} retagged, {len(found.moved):,} in another split, "
        f"{len(found.replaced):,} with another file"
    )
    for title, posts in (("came", found.came), ("went", found.went)):
        if posts:
            yield _post_changes(title, posts)
    if found.retagged:
        yield from _retagged(found.retagged)


def _post_changes(title: str, posts: Sequence[PostChange]) -> Table:
    """Returns a row per reason, the commonest first, with the first few posts."""
    other = "why not before" if title == "came" else "why no more"
    table = _table(other, "posts", f"that {title}, such as")
    counts = Counter(one.why for one in posts)
    for why, count in counts.most_common(SHOWN):
        first = [str(one.post_id) for one in posts if one.why == why][:2]
        table.add_row(why, f"{count:,}", ", ".join(first))
    return table


def _retagged(posts: Sequence[Retagged]) -> Iterator[RenderableType]:
    """Yields a row per tag that posts got or lost, the most posts first."""
    got = Counter(tag for one in posts for tag in one.added)
    lost = Counter(tag for one in posts for tag in one.removed)
    changed = (got + lost).most_common()
    table = _table("retagged", "got it", "lost it", "such as")
    for tag, _ in changed[:SHOWN]:
        first = [str(one.post_id) for one in posts if tag in one.added + one.removed]
        table.add_row(tag, f"{got[tag]:,}", f"{lost[tag]:,}", ", ".join(first[:2]))
    yield table
    yield from _rest(changed, "tags")


def _labels(found: LabelDrift) -> Iterator[RenderableType]:
    was, now = found.labels_per_post
    yield (
        f"\nLabels of the training posts, of the tags in both: {was:.2f} -> {now:.2f} "
        "a post"
    )
    if found.divergence is not None:
        yield (
            f"Jensen-Shannon divergence of their mix: {found.divergence:.4f} bits "
            "(0: the same mix, 1: nothing in common)"
        )
    changed = [one for one in found.tags if one.change]
    if changed:
        table = _table("share of posts with", "before", "after", "points")
        for one in changed[:SHOWN]:
            change = f"{100 * one.change:+.2f}"
            table.add_row(one.name, f"{one.before:.2%}", f"{one.after:.2%}", change)
        yield table
        yield from _rest(changed, "tags")


def _metrics(found: MetricDiff) -> Iterator[RenderableType]:
    yield "\nMetrics on test, as each run has them on its own posts and tags"
    yield _metric_table("unpaired", found.reported)
    old, new, both = found.posts
    how = f"paired, on the {both:,} test posts of both"
    if not found.is_paired:
        how = f"unpaired: only {both:,} test posts are in both"
    yield f"\nOn the tags in both ({how}; {old:,} and {new:,} test posts)"
    yield _metric_table("mean over tags", found.common)
    yield from _per_tag(found.per_tag)


def _per_tag(per_tag: Sequence[MetricChange]) -> Iterator[RenderableType]:
    better = worse = 0
    for one in per_tag:
        better += one.is_beyond_chance and (one.change or 0) > 0
        worse += one.is_beyond_chance and (one.change or 0) < 0
    known = [one for one in per_tag if one.change is not None]
    if known:
        yield (
            f"\nAverage precision by tag: {better:,} better and {worse:,} worse beyond "
            f"their interval, of {len(known):,}; chance alone gives about "
            f"{0.05 * len(known):,.0f}"
        )
        yield _metric_table("tag", known[:SHOWN])
        yield from _rest(known, "tags")
    if len(known) < len(per_tag):
        lacking = len(per_tag) - len(known)
        yield f"  {lacking:,} tags cannot be ranked in one of the runs"


def _metric_table(title: str, changes: Sequence[MetricChange]) -> Table:
    table = _table(title, "before", "after", "change", "95 % interval")
    for one in changes:
        interval = "-"
        if one.low is not None:
            interval = f"{one.low:+.4f} to {one.high:+.4f}"
        numbers = [_number(one.before), _number(one.after), _signed(one.change)]
        table.add_row(LABELS.get(one.name, one.name), *numbers, interval)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"
