"""The rules of data/sample, which is compared with data/snapshot.

Labels are checked in `sample_labels.py`, the tables that explain the sample in
`sample_explanations.py`, the policy in `policy_checks.py`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

import polars as pl

from pipeline import parquet, policy
from pipeline.params import Params
from pipeline.params.sample import CATEGORIES
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.reasons import PostExclusion, TagExclusion
from pipeline.validate import (
    columns,
    policy_checks,
    sample_explanations,
    sample_labels,
    tag_closure,
)
from pipeline.validate.checks import (
    Check,
    MeasuredTable,
    RowChecks,
    between,
    columns_equal,
    findings_table,
    matches,
    no_violations,
    one_of,
)
from pipeline.validate.columns import NAME
from pipeline.validate.label_counts import (
    COUNTED_SPLITS,
    count_positives,
    rename_splits,
    with_counts,
)
from pipeline.validate.policy_checks import Relations, posts_with_tag
from pipeline.validate.violations import (
    NONE,
    Violations,
    duplicates,
    in_several_splits,
    violations,
)

TAG = ("label_id", "tag_id", "name", "category")
"""Columns that are shown of a tag of the vocabulary."""

PSEUDO_ARTISTS = frozenset(
    {
        "unknown_artist",
        "unknown_artist_signature",
        "anonymous_artist",
        "anonymous_artist_(artist)",
        "conditional_dnp",
        "avoid_posting",
        "sound_warning",
        "epilepsy_warning",
        "third-party_edit",
        "edit",
        "unknown_colorist",
    }
)
"""Tags of category artist that name nobody. Repeated and not imported: gates do not
depend on the code whose results they check."""


def row_checks(params: Params, labels: int, /) -> RowChecks:
    """Returns the checks of single rows."""
    return {
        "vocabulary": list(_vocabulary(params, labels)),
        "posts": list(_posts(params, labels)),
        "excluded_tags": list(_excluded_tags()),
        "excluded_posts": list(_excluded_posts()),
        **sample_explanations.row_checks(),
    }


def _vocabulary(params: Params, labels: int) -> Iterator[Check]:
    sample = params.sample
    yield columns.label_id(labels)
    yield matches("name", NAME, "tag names are not empty and hold no white space")
    description = "tags are of the categories that sample.categories asks for"
    yield one_of("category", sample.categories, description)
    description = "every tag has its training positives, and the reserve beyond them"
    least = _with_reserve(sample.min_positives, sample.reserve)
    yield between("train_positives", description, low=least)
    few = _with_reserve(sample.min_eval_positives, sample.reserve)
    description = "enough validation positives, and the reserve beyond them"
    yield between("validation_positives", description, low=few)
    description = "enough test positives, and the reserve beyond them"
    yield between("test_positives", description, low=few)


def _with_reserve(minimum: int, reserve: float) -> int:
    """Returns the positives that a tag needs before any image is lost.

    Counted in decimals: 50 * 1.1 is more than 55 in binary.
    """
    share = 1 + Decimal(str(reserve))
    return math.ceil(round(minimum * share, 6))


def _posts(params: Params, labels: int) -> Iterator[Check]:
    sample = params.sample
    yield from columns.identity()
    still = sorted(policy.STILL_FORMATS)
    yield one_of("ext", still, "only still images (policy rule 5)")
    yield ratings(params)
    yield from columns.size()
    yield between("file_size", "files are not empty", low=1)
    since = _midnight(params.sample.since)
    yield between("created_at", "no post is older than sample.since", low=since)
    yield columns.split_name()
    description = "every post has at least sample.min_tags tags"
    yield between("tag_count", description, low=sample.min_tags)
    description = "what a post was taken for is a tag of the vocabulary"
    yield between("selected_for", description, low=0, high=labels - 1)
    yield from columns.labels_and_given(labels)


def ratings(params: Params) -> Check:
    """Checks the rating against the parameters."""
    description = "only ratings that sample.ratings names"
    return one_of("rating", params.sample.ratings, description)


def _excluded_tags() -> Iterator[Check]:
    yield one_of("reason", list(TagExclusion), "the reason is a value of TagExclusion")
    yield matches("name", NAME, "tag names are not empty")


def _excluded_posts() -> Iterator[Check]:
    yield one_of(
        "reason", list(PostExclusion), "the reason is a value of PostExclusion"
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    """The sample, and what the snapshot holds of it."""

    params: Params
    posts: pl.LazyFrame
    source: pl.LazyFrame  # the posts of the snapshot with the same ids
    excluded_posts: pl.LazyFrame
    vocabulary: pl.DataFrame
    excluded_tags: pl.DataFrame
    tags: pl.DataFrame  # of the snapshot
    relations: Relations
    posts_per_split: dict[str, int]
    checked: int  # sampled posts

    @classmethod
    def read(cls, params: Params, paths: Paths) -> "_Sample":
        posts = pl.scan_parquet(paths.sample / "posts.parquet")
        ids = posts.select("post_id")
        source = pl.scan_parquet(paths.snapshot / "posts.parquet")
        counts = _posts_per_split(posts)
        return cls(
            params=params,
            posts=posts,
            source=source.join(ids, on="post_id", how="semi"),
            excluded_posts=pl.scan_parquet(paths.sample / "excluded_posts.parquet"),
            vocabulary=parquet.read(paths.sample / "vocabulary.parquet"),
            excluded_tags=parquet.read(paths.sample / "excluded_tags.parquet"),
            tags=parquet.read(paths.snapshot / "tags.parquet"),
            relations=Relations.read(paths),
            posts_per_split=counts,
            checked=sum(counts.values()),
        )


def _posts_per_split(posts: pl.LazyFrame) -> dict[str, int]:
    counts = dict.fromkeys(SPLITS, 0)
    found = posts.group_by("split").len().collect(engine="streaming")
    counts.update(found.iter_rows())
    return counts


def measure(params: Params, paths: Paths, /) -> list[MeasuredTable]:
    """Measures the sample against the snapshot."""
    sample = _Sample.read(params, paths)
    relations = sample.relations
    findings = [
        *policy_checks.sampled_posts(
            sample.posts, sample.source, relations, sample.checked
        ),
        *_forbidden_tags(sample),
        *_groups(sample),
        *_vocabulary_tags(sample),
        *sample_labels.checks(
            sample.posts, sample.source, sample.vocabulary, relations, sample.checked
        ),
        *_choice_of_posts(sample),
        *sample_explanations.findings(params, paths, sample.vocabulary),
    ]
    counted = count_positives(sample.posts)
    counted = rename_splits(counted, "counted_{}")
    return [
        findings_table(findings),
        _figures(sample),
        _positives(sample.vocabulary, counted),
        sample_explanations.chosen(paths, sample.posts_per_split, counted),
    ]


def _forbidden_tags(sample: _Sample) -> Iterator[Check]:
    """Checks that no tag is in the vocabulary that must not be selected by."""
    vocabulary = sample.vocabulary
    relations = sample.relations
    policy_tags = pl.concat([relations.young, relations.opt_out])
    found = _vocabulary_tags_among(vocabulary, policy_tags)
    description = "no tag is in the vocabulary that the policy refuses to select by"
    yield no_violations("policy_tag", description, found)

    names = sample.params.sample.exclude_tags
    excluded = pl.DataFrame({"name": names}, schema={"name": pl.String})
    found = _vocabulary_tags_among(vocabulary, excluded)
    description = "no tag of sample.exclude_tags is in the vocabulary"
    yield no_violations("excluded_tag", description, found)


def _vocabulary_tags_among(vocabulary: pl.DataFrame, names: pl.DataFrame) -> Violations:
    found = vocabulary.join(names, on="name", how="semi")
    return violations(found.select(TAG), vocabulary.height)


def _groups(sample: _Sample) -> Iterator[Check]:
    """Checks that posts are sampled once, and related posts are in one split."""
    posts = sample.posts
    checked = sample.checked
    found = duplicates(posts, "post_id", "md5", checked)
    yield no_violations("post_id_twice", "a post is sampled once", found)

    found = in_several_splits(posts, "md5", checked)
    description = "no image (md5) is in two splits"
    yield no_violations("md5_in_two_splits", description, found, severity="warning")

    found = in_several_splits(posts, "group_id", checked)
    description = "no family of parents and children spans splits"
    yield no_violations("group_in_two_splits", description, found)

    separated = _separated_children(posts, sample.source)
    found = violations(separated, checked)
    description = "a post and its sampled parent have one group_id"
    yield no_violations("parted_family", description, found)

    ids = posts.select("post_id")
    both = sample.excluded_posts.join(ids, on="post_id", how="semi")
    found = violations(both, checked)
    description = "no post is both sampled and excluded"
    yield no_violations("sampled_and_excluded", description, found)


def _separated_children(posts: pl.LazyFrame, source: pl.LazyFrame) -> pl.LazyFrame:
    """Returns sampled posts whose group is not that of their sampled parent."""
    groups = posts.select("post_id", "group_id")
    parents = source.select("post_id", "parent_id").drop_nulls()
    children = groups.join(parents, on="post_id")
    pairs = children.join(
        groups, left_on="parent_id", right_on="post_id", suffix="_of_parent"
    )
    return pairs.filter(pl.col("group_id") != pl.col("group_id_of_parent"))


def _vocabulary_tags(sample: _Sample) -> Iterator[Check]:
    """Checks that the vocabulary holds tags of the snapshot, numbered, each once."""
    vocabulary = sample.vocabulary
    height = vocabulary.height
    numbered = vocabulary.with_row_index("row")
    misnumbered = numbered.filter(pl.col("row") != pl.col("label_id"))
    found = violations(misnumbered.select("row", "label_id", "name"), height)
    description = "label ids are the row numbers of the vocabulary"
    yield no_violations("label_id_not_row", description, found)

    found = _repeated_tags(vocabulary, sample.excluded_tags)
    description = "a tag is in the vocabulary once, and not also left out"
    yield no_violations("tag_twice", description, found)

    known = sample.tags.select("tag_id", "name", category=_category_name())
    same = ["tag_id", "name", "category"]
    unknown = vocabulary.select(TAG).join(known, on=same, how="anti")
    found = violations(unknown, height)
    description = "every tag of the vocabulary is in the snapshot, in its category"
    yield no_violations("tag_unknown", description, found)


def _repeated_tags(vocabulary: pl.DataFrame, excluded_tags: pl.DataFrame) -> Violations:
    """Counts tags that are in the vocabulary twice, or in both tables."""
    selected = vocabulary.select("label_id", "name")
    no_label = pl.lit(None, pl.Int32)
    excluded = excluded_tags.select(label_id=no_label, name="name")
    in_vocabulary = pl.col("name").is_in(vocabulary["name"].implode())
    names = pl.concat([selected, excluded]).filter(in_vocabulary)
    return duplicates(names.lazy(), "name", "label_id", vocabulary.height)


def _category_name() -> pl.Expr:
    """Returns the name of a category for its number, "" for an unknown number."""
    names = dict(enumerate(CATEGORIES))
    category = pl.col("category")
    return category.replace_strict(names, default="", return_dtype=pl.String)


def _choice_of_posts(sample: _Sample) -> Iterator[Check]:
    """Checks that the posts are those that the parameters ask for."""
    params = sample.params
    posts = sample.posts
    too_old = _posts_before_fresh(posts, params)
    found = violations(too_old, sample.posts_per_split["fresh"])
    description = "posts of the fresh split are not older than sample.fresh_after"
    yield no_violations("fresh_too_old", description, found)

    excluded = sample.relations.tags_implying(params.sample.exclude_tags)
    found = violations(posts_with_tag(sample.source, excluded), sample.checked)
    description = (
        "no post is sampled that has a tag of sample.exclude_tags, "
        "or one that leads to it"
    )
    yield no_violations("excluded_post", description, found)

    found = violations(_selected_for_other_label(posts), sample.checked)
    description = "a post was taken for one of its own labels"
    yield no_violations("selected_for_no_label", description, found)

    found = NONE
    if params.sample.group_by_artist:
        found = _artists_in_several_splits(sample)
    description = (
        "with sample.group_by_artist, no artist is in two of train, validation and test"
    )
    yield no_violations("artist_in_two_splits", description, found)


def _posts_before_fresh(posts: pl.LazyFrame, params: Params) -> pl.LazyFrame:
    """Returns posts of the split `fresh` that are too old for it."""
    fresh = posts.filter(pl.col("split") == "fresh").select("post_id", "created_at")
    fresh_after = params.sample.fresh_after
    if fresh_after is None:
        return fresh
    return fresh.filter(pl.col("created_at") < _midnight(fresh_after))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _selected_for_other_label(posts: pl.LazyFrame) -> pl.LazyFrame:
    """Returns posts that were selected for a label that they do not have."""
    label = pl.col("selected_for")
    has_label = pl.col("label_ids").list.contains(label)
    wrong = posts.filter(label.is_not_null() & ~has_label)
    return wrong.select("post_id", "selected_for")


def _artists_in_several_splits(sample: _Sample) -> Violations:
    """Counts artists whose posts are in more than one of the counted splits."""
    final = tag_closure.canonical(sample.relations.aliases)
    tags = sample.source.select("post_id", name="tags").explode("name")
    resolved = tags.join(final.lazy(), on="name", how="left")
    names = resolved.select("post_id", name=pl.coalesce("final", "name"))
    artists = _artist_names(sample.tags, final)
    by_artist = names.join(artists.lazy(), on="name", how="semi").unique()
    is_counted = pl.col("split").is_in(COUNTED_SPLITS)
    splits = sample.posts.filter(is_counted).select("post_id", "split")
    rows = by_artist.join(splits, on="post_id")
    return in_several_splits(rows, "name", artists.height)


def _artist_names(tags: pl.DataFrame, final: pl.DataFrame) -> pl.DataFrame:
    """Returns `name` of all artists. final: name, final of aliased names."""
    pseudo = final.filter(pl.col("name").is_in(PSEUDO_ARTISTS))
    nobody = pl.concat([pl.Series("name", sorted(PSEUDO_ARTISTS)), pseudo["final"]])
    is_artist = pl.col("category") == CATEGORIES.index("artist")
    is_pseudo = pl.col("name").is_in(nobody.implode())
    return tags.filter(is_artist & ~is_pseudo).select("name")


def _figures(sample: _Sample) -> MeasuredTable:
    """Counts the tags, and the posts of each split."""
    figures = {"tags": sample.vocabulary.height, **sample.posts_per_split}
    checks = list(_figure_checks(sample.params))
    return MeasuredTable("figures", pl.DataFrame([figures]), checks)


def _figure_checks(params: Params) -> Iterator[Check]:
    most = params.sample.vocabulary_size
    description = "there are 2 to sample.vocabulary_size tags"
    yield between("tags", description, low=2, high=most)
    yield between("train", "there are training posts", low=1)
    remedy = (
        "else raise sample.min_eval_positives or sample.size, and give the split a "
        "share in sample.split"
    )
    description = f"there are validation posts; {remedy}"
    yield between("validation", description, low=1)
    yield between("test", f"there are test posts; {remedy}", low=1)


def _positives(vocabulary: pl.DataFrame, counted: pl.DataFrame) -> MeasuredTable:
    """Returns the positives in the vocabulary beside those that the posts hold."""
    claimed = vocabulary.select("label_id", "name", "^.*_positives$")
    rows = with_counts(claimed, counted)
    checks = []
    for split in COUNTED_SPLITS:
        description = f"{split} positives are what the posts hold"
        claim = f"{split}_positives"
        checks.append(columns_equal(claim, f"counted_{split}", description))
    return MeasuredTable("tags", rows, checks)
