"""The rules of data/snapshot.

Columns, types and missing values are checked once per file (`dataset_files.py`): what a
schema excludes has no rule here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from pipeline.params import Params
from pipeline.params.sample import CATEGORIES
from pipeline.paths import Paths
from pipeline.validate import columns, dataset_files, tag_closure
from pipeline.validate.checks import (
    Check,
    MeasuredTable,
    RowChecks,
    between,
    findings_table,
    matches,
    no_violations,
    one_of,
)
from pipeline.validate.columns import NAME
from pipeline.validate.violations import duplicates, out_of_order, violations

STATUS = "^(?:active|pending|deleted|retired|queued|processing|error: .*)$"
EXPORTS = ("posts", "tags", "tag_aliases", "tag_implications")


MAX_UNREADABLE = 0.01
"""Share of the records of the exports. Above it the format of the exports has changed;
below it they are merely untidy."""


def row_checks(_params: Params, _labels: int, /) -> RowChecks:
    """Returns the checks of single rows."""
    return {
        "posts": list(_posts()),
        "tags": list(_tags()),
        "aliases": list(_relations()),
        "implications": list(_relations()),
        "rejected": list(_rejected()),
        "unknown_tags": list(_unknown_tags()),
    }


def _posts() -> Iterator[Check]:
    yield from columns.identity()
    yield between("change_seq", "change counters are not negative", low=0)
    description = "the extension is a short lower-case word"
    yield matches("ext", "^[a-z0-9]{1,8}$", description, severity="warning")
    description = "the rating is s, q or e; posts of another one are never sampled"
    yield one_of("rating", ["s", "q", "e"], description, severity="warning")
    yield from columns.size(severity="warning")
    yield between("file_size", "files are not empty", low=1, severity="warning")
    description = "durations are not negative"
    yield between("duration", description, low=0, severity="warning")
    description = "no tag name is empty or holds a space"
    yield between("tags:blank", description, high=0)
    description = "a post names each tag once"
    yield one_of("tags:unique", [True], description, severity="warning")
    description = "no locked tag name is empty or holds a space"
    yield between("locked_tags:blank", description, high=0)


def _tags() -> Iterator[Check]:
    yield between("tag_id", "tag ids are positive", low=1)
    yield matches("name", NAME, "tag names are not empty and hold no space")
    description = "categories are the nine known ones; tags of others are not learnt"
    last = len(CATEGORIES) - 1
    yield between("category", description, low=0, high=last, severity="warning")


def _relations() -> Iterator[Check]:
    yield between("relation_id", "ids are positive", low=1)
    yield matches("antecedent", NAME, "the antecedent is a tag name")
    yield matches("consequent", NAME, "the consequent is a tag name")
    description = "the status is one that the site documents"
    yield matches("status", STATUS, description, severity="warning")


def _rejected() -> Iterator[Check]:
    yield one_of("export", EXPORTS, "the export is one of the four")
    description = "rows are numbered from 1; 0 stands for the export as a whole"
    yield between("row", description, low=0)
    yield matches("reason", r"\S", "every rejected record has a reason")


def _unknown_tags() -> Iterator[Check]:
    yield matches("name", NAME, "tag names are not empty and hold no space")
    yield between("posts", "an unknown tag is on a post", low=1)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The tables of the snapshot, not yet read, and their rows in the footers."""

    posts: pl.LazyFrame
    tags: pl.LazyFrame
    aliases: pl.LazyFrame
    implications: pl.LazyFrame
    listed_unknown: pl.LazyFrame  # name
    rows: dict[str, int]

    @classmethod
    def scan(cls, paths: Paths) -> "_Snapshot":
        folder = paths.snapshot
        return cls(
            posts=pl.scan_parquet(folder / "posts.parquet"),
            tags=pl.scan_parquet(folder / "tags.parquet"),
            aliases=pl.scan_parquet(folder / "aliases.parquet"),
            implications=pl.scan_parquet(folder / "implications.parquet"),
            listed_unknown=pl.scan_parquet(folder / "unknown_tags.parquet"),
            rows=dataset_files.rows_by_stem("snapshot", paths),
        )


def measure(_params: Params, paths: Paths, /) -> list[MeasuredTable]:
    """Measures the snapshot."""
    snapshot = _Snapshot.scan(paths)
    findings = [
        *_identities_of_posts(snapshot),
        *_unique_ids(snapshot),
        *_circular_relations(snapshot),
        *_tags_of_posts(snapshot),
    ]
    return [findings_table(findings), _figures(snapshot)]


def _identities_of_posts(snapshot: _Snapshot) -> Iterator[Check]:
    """Checks that posts are told apart by their ids, and by their md5."""
    posts = snapshot.posts
    rows = snapshot.rows["posts"]
    found = duplicates(posts, "post_id", "change_seq", rows)
    yield no_violations("post_id_twice", "post ids are unique", found)
    found = duplicates(posts.drop_nulls("md5"), "md5", "post_id", rows)
    description = "an md5 belongs to one post"
    yield no_violations("md5_twice", description, found, severity="warning")

    found = violations(_unidentified_posts(posts), rows)
    description = "a post without an md5 is deleted or withheld: it is never fetched"
    yield no_violations("md5_missing", description, found)

    found = out_of_order(posts, "post_id", rows)
    yield no_violations("posts_out_of_order", "posts are ordered by post_id", found)


def _unidentified_posts(posts: pl.LazyFrame) -> pl.LazyFrame:
    """Returns posts that may be sampled, and have no md5 to be fetched by."""
    is_visible = ~pl.col("is_deleted") & ~pl.col("is_withheld")
    unidentified = posts.filter(pl.col("md5").is_null() & is_visible)
    return unidentified.select("post_id", "change_seq")


def _unique_ids(snapshot: _Snapshot) -> Iterator[Check]:
    """Checks that ids and names of tags, aliases and implications occur once."""
    tags = snapshot.tags
    rows = snapshot.rows["tags"]
    found = duplicates(tags, "tag_id", "name", rows)
    yield no_violations("tag_id_twice", "tag ids are unique", found)
    found = duplicates(tags, "name", "tag_id", rows)
    description = "tag names are unique; of those that are not the oldest counts"
    yield no_violations("tag_name_twice", description, found, severity="warning")

    rows = snapshot.rows["aliases"]
    found = duplicates(snapshot.aliases, "relation_id", "antecedent", rows)
    yield no_violations("alias_id_twice", "alias ids are unique", found)
    rows = snapshot.rows["implications"]
    found = duplicates(snapshot.implications, "relation_id", "antecedent", rows)
    yield no_violations("implication_id_twice", "implication ids are unique", found)


def _circular_relations(snapshot: _Snapshot) -> Iterator[Check]:
    """Checks that aliases and implications in force have an end."""
    rows = snapshot.rows["aliases"]
    is_in_force = pl.col("status").is_in(tag_closure.IN_FORCE)
    in_force = snapshot.aliases.filter(is_in_force)
    is_circular = pl.col("antecedent") == pl.col("consequent")
    found = violations(in_force.filter(is_circular), rows)
    description = "no tag in force is an alias of itself; one that is stays a tag"
    yield no_violations("alias_to_itself", description, found, severity="warning")

    found = duplicates(in_force, "antecedent", "consequent", rows)
    description = "a tag in force is an alias of one tag only"
    yield no_violations("alias_of_two", description, found, severity="warning")

    circles = tag_closure.in_circles(snapshot.implications.collect())
    found = violations(circles, snapshot.rows["implications"])
    name = "implication_in_a_circle"
    description = "implications in force lead to no circle"
    yield no_violations(name, description, found, severity="warning")


def _tags_of_posts(snapshot: _Snapshot) -> Iterator[Check]:
    """Checks that the tags of posts are known, or listed as unknown."""
    names = snapshot.posts.select(name="tags").explode("name").drop_nulls().unique()
    total = names.select(pl.len()).collect(engine="streaming").item()
    unknown = names.join(snapshot.tags.select("name"), on="name", how="anti")
    # The exports are made one after another (contract section 1.3): a few unknown tags
    # are normal.
    found = violations(unknown, total)
    description = "every tag on a post is in tags.parquet"
    yield no_violations("unknown_tag", description, found, severity="warning")

    listed = snapshot.listed_unknown.select("name")
    missing = unknown.join(listed, on="name", how="anti")
    extra = listed.join(unknown, on="name", how="anti")
    found = violations(pl.concat([missing, extra]), total)
    description = (
        "unknown_tags.parquet names the tags of posts that tags.parquet lacks, "
        "and no others"
    )
    yield no_violations("unknown_tags_differ", description, found)


def _figures(snapshot: _Snapshot) -> MeasuredTable:
    """Measures totals and shares."""
    rows = snapshot.rows
    is_visible = ~pl.col("is_deleted") & ~pl.col("is_withheld")
    visible = snapshot.posts.filter(is_visible).select(pl.len())
    total = sum(rows.values())
    unreadable = rows["rejected"]
    figures = {
        "posts": rows["posts"],
        "visible_posts": visible.collect(engine="streaming").item(),
        "tags": rows["tags"],
        "unreadable": unreadable,
        "unreadable_share": unreadable / total if total else 0.0,
    }
    return MeasuredTable("figures", pl.DataFrame([figures]), list(_figure_checks()))


def _figure_checks() -> Iterator[Check]:
    yield between("posts", "there are posts", low=1)
    description = (
        "there are posts that are neither deleted nor withheld (policy rules 1, 4)"
    )
    yield between("visible_posts", description, low=1)
    yield between("tags", "there are tags", low=1)
    description = f"at most {MAX_UNREADABLE:.0%} of the records were unreadable"
    yield between("unreadable_share", description, high=MAX_UNREADABLE)
    description = "every record of the exports could be read"
    yield between("unreadable", description, high=0, severity="warning")
