"""Checks rules 1 to 5 of the policy again, on what the snapshot holds of each post.

Deliberately not the code of `pipeline/policy.py`, which chose the posts: only its lists
of names are shared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from pipeline import parquet, policy
from pipeline.paths import Paths
from pipeline.validate import tag_closure
from pipeline.validate.checks import Check, no_violations
from pipeline.validate.violations import Violations, violations

IDENTITY = ("post_id", "md5", "split")

SENSITIVE = sorted(policy.SENSITIVE_RATINGS)

COPIED = (
    "change_seq",
    "md5",
    "ext",
    "rating",
    "width",
    "height",
    "file_size",
    "created_at",
)
"""Columns that the sample copies from the snapshot."""

COPIED_SHOWN = COPIED[:4]


@dataclass(frozen=True, slots=True)
class Relations:
    """Aliases and implications of a snapshot, and the names in the policy's rules."""

    aliases: pl.DataFrame
    implications: pl.DataFrame
    young: pl.DataFrame  # name
    opt_out: pl.DataFrame  # name

    @classmethod
    def read(cls, paths: Paths) -> "Relations":
        """Reads the relations of the snapshot."""
        aliases = parquet.read(paths.snapshot / "aliases.parquet")
        implications = parquet.read(paths.snapshot / "implications.parquet")
        young = tag_closure.tags_implying(policy.YOUNG, aliases, implications)
        opt_out = tag_closure.tags_implying(policy.OPT_OUT, aliases, implications)
        return cls(aliases, implications, young, opt_out)

    def tags_implying(self, names: list[str]) -> pl.DataFrame:
        """Returns `name`: these names and all that imply one of them."""
        wanted = frozenset(names)
        return tag_closure.tags_implying(wanted, self.aliases, self.implications)


def posts_with_tag(posts: pl.LazyFrame, names: pl.DataFrame) -> pl.LazyFrame:
    """Returns post_id and the first of these names for every post that has one.

    posts: post_id, tags; names: name.
    """
    tags = posts.select("post_id", name="tags").explode("name")
    found = tags.join(names.lazy(), on="name", how="semi")
    return found.group_by("post_id").agg(pl.col("name").min())


def sampled_posts(
    posts: pl.LazyFrame, source: pl.LazyFrame, relations: Relations, checked: int
) -> Iterator[Check]:
    """Checks rules 1 to 5 on the sampled posts.

    posts: schemas.SAMPLED_POSTS; source: the posts of the snapshot with the same ids;
    checked: the number of sampled posts.
    """
    deleted = source.filter("is_deleted").select("post_id", "md5")
    found = violations(deleted, checked)
    description = "no deleted post is sampled (policy rule 1)"
    yield no_violations("deleted_post", description, found)

    withheld = source.filter("is_withheld").select("post_id", "md5")
    found = violations(withheld, checked)
    description = "no post is sampled whose file the site does not give (policy rule 4)"
    yield no_violations("withheld_post", description, found)

    vanished = posts.select(IDENTITY).join(source, on="post_id", how="anti")
    found = violations(vanished, checked)
    description = "no post is sampled that the snapshot lacks (policy rule 1)"
    yield no_violations("vanished_post", description, found)

    found = violations(_replaced_posts(posts, source), checked)
    description = (
        "every post is sampled as the snapshot has it, md5 and all (policy rule 1)"
    )
    yield no_violations("replaced_post", description, found)
    yield from _forbidden_contents(source, relations, checked)


def _forbidden_contents(
    source: pl.LazyFrame, relations: Relations, checked: int
) -> Iterator[Check]:
    """Checks rules 2, 3 and 5."""
    sensitive = source.filter(pl.col("rating").is_in(SENSITIVE))
    young = posts_with_tag(sensitive, relations.young)
    found = violations(young, checked)
    description = "no q or e post is sampled whose tags lead to young (policy rule 2)"
    yield no_violations("forbidden_young", description, found)

    found = _opted_out(source, relations.opt_out, checked)
    description = "no post of an artist who opted out is sampled (policy rule 3)"
    yield no_violations("opted_out", description, found)

    found = violations(_moving_images(source), checked)
    description = "no animation, video or flash is sampled (policy rule 5)"
    yield no_violations("moving_image", description, found)


def _replaced_posts(posts: pl.LazyFrame, source: pl.LazyFrame) -> pl.LazyFrame:
    """Returns posts of which a copied column differs from the snapshot."""
    sampled = posts.select("post_id", *COPIED)
    current = source.select("post_id", *COPIED)
    pairs = sampled.join(current, on="post_id", suffix="_in_snapshot")
    # An md5 that the snapshot does not have differs too.
    differs = [
        pl.col(name).ne_missing(pl.col(f"{name}_in_snapshot")) for name in COPIED
    ]
    shown = ["post_id"]
    for name in COPIED_SHOWN:
        shown += [name, f"{name}_in_snapshot"]
    return pairs.filter(pl.any_horizontal(differs)).select(shown)


def _opted_out(source: pl.LazyFrame, opt_out: pl.DataFrame, checked: int) -> Violations:
    """Counts posts that have an opt-out among their tags or locked tags."""
    tagged = posts_with_tag(source, opt_out)
    locked = posts_with_tag(_locked_tags(source), opt_out)
    return violations(pl.concat([tagged, locked]).unique(), checked)


def _moving_images(source: pl.LazyFrame) -> pl.LazyFrame:
    """Returns posts that move, by their file or by a tag; with its name."""
    by_file = source.filter(~_is_still_file()).select("post_id", name="ext")
    by_tag = posts_with_tag(source, _animated_tags())
    return pl.concat([by_file, by_tag]).unique()


def permitted_md5s(
    posts: pl.LazyFrame, md5s: pl.LazyFrame, relations: Relations
) -> pl.LazyFrame:
    """Returns those of the md5s that rules 1 to 5 permit: md5, unique.

    An md5 is permitted if a post of the snapshot holds it that no rule forbids.
    posts: schemas.POSTS; md5s: md5.
    """
    held = posts.join(md5s.unique(), on="md5", how="semi")
    sensitive = held.filter(pl.col("rating").is_in(SENSITIVE))
    forbidden = [
        posts_with_tag(sensitive, relations.young),
        posts_with_tag(held, relations.opt_out),
        posts_with_tag(_locked_tags(held), relations.opt_out),
        posts_with_tag(held, _animated_tags()),
    ]
    forbidden_ids = pl.concat(forbidden).select("post_id").unique()
    is_available = ~pl.col("is_deleted") & ~pl.col("is_withheld")
    available = held.filter(is_available & _is_still_file())
    permitted = available.join(forbidden_ids, on="post_id", how="anti")
    return permitted.select("md5").unique()


def _is_still_file() -> pl.Expr:
    formats = sorted(policy.STILL_FORMATS)
    return pl.col("ext").is_in(formats) & pl.col("duration").is_null()


def _animated_tags() -> pl.DataFrame:
    return pl.DataFrame({"name": sorted(policy.ANIMATED_TAGS)})


def _locked_tags(posts: pl.LazyFrame) -> pl.LazyFrame:
    """Returns the locked tags of the posts as their tags."""
    return posts.select("post_id", tags="locked_tags")
