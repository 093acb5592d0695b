"""The rules that no parameter can switch off. Read this first.

1. Deleted, expunged or replaced posts are never fetched, and a refresh removes their pictures.
2. A post rated q or e whose tags include `young`, or any tag that implies it, is never selected, logged in or not.
3. Artists' opt-outs (`avoid_posting`, `conditional_dnp`, also as locked tags) are never selected.
4. A null URL in an API answer is a refusal; it is never rebuilt from the md5.
5. Only still pictures: jpg, png, webp.
6. Requests name their agent and a contact, at most 1/s by default and 2/s at most to the real hosts; a challenge page
   ends the run.
7. The live site is off until the operator sets site.contact and site.terms_read: true.
8. Pictures are never redistributed: bundles hold weights, tags, counts and ids only.

Rules 1 to 5 choose posts (`verdict`, applied by `sample`); 6 and 7 guard every request (`permit`, applied when
a site is opened); 8 is applied by `export` (`refuse_pictures`). The gates check all of them again, from the data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.errors import PolicyViolation
from pipeline.params import (
    CEILING_REQUESTS_PER_SECOND,
    DEFAULT_REQUESTS_PER_SECOND,
    Site,
)
from pipeline.schemas.reasons import PostExclusion

VERSION = "1"
"""Version of these rules; recorded in manifest, model card and bundle. Raise it with every change of a rule."""

YOUNG = frozenset(
    {
        "young",
        "baby",
        "child",
        "cub",
        "infant",
        "kid",
        "loli",
        "lolicon",
        "newborn",
        "shota",
        "shotacon",
        "teenager",
        "toddler",
        "underage",
    }
)
"""Names that rule 2 holds for whatever the site's implications say: the snapshot may lag behind the site."""

OPT_OUT = frozenset({"avoid_posting", "conditional_dnp"})
"""Rule 3 (contract section 7)."""

STILL_FORMATS = frozenset({"jpg", "png", "webp"})
"""Rule 5: file extensions that may be asked for. Animated webp and png are recognised by tag and duration."""

ANIMATED_TAGS = frozenset(
    {"animated", "animated_png", "animated_webp", "animated_gif", "video", "flash"}
)
"""Rule 5: tags of moving pictures; `animated_png` and `animated_webp` share their extension with still ones."""

EFFECTIVE = frozenset({"active", "processing", "queued"})
"""Statuses in which an alias or implication is in force (contract section 6)."""

SENSITIVE_RATINGS = frozenset({"q", "e"})
"""Ratings that rule 2 is about."""

REAL_SITES = frozenset({"e621"})
"""site.name values that lead to hosts which are not ours: rules 6 and 7 hold for them and for every custom site
that is not on this machine."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts that are this machine. Not the rest of 127.0.0.0/8: a sandbox served on 127.0.0.2 is held to all the rules, so
that they can be tried over real sockets."""

_PICTURE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF")


@dataclass(frozen=True, slots=True)
class PolicyTags:
    """The tag names that the rules speak of, in one snapshot: those listed above and all that lead to them."""

    young: frozenset[str]
    opt_out: frozenset[str]

    @classmethod
    def read(cls, implications: pl.DataFrame, aliases: pl.DataFrame) -> "PolicyTags":
        """Follows the snapshot's relations (schemas.RELATIONS): tags saved long ago lag behind newer ones."""
        return cls(
            tags_implying(YOUNG, implications, aliases),
            tags_implying(OPT_OUT, implications, aliases),
        )


def tags_implying(
    names: frozenset[str], implications: pl.DataFrame, aliases: pl.DataFrame
) -> frozenset[str]:
    """Returns the names and all that imply or alias to one of them, to any depth.

    implications, aliases: schemas.RELATIONS. Only relations in force count: a pending one is any user's wish.
    """
    relations = pl.concat([implications, aliases]).filter(
        pl.col("status").is_in(sorted(EFFECTIVE))
    )
    by_consequent = relations.group_by("consequent").agg("antecedent")
    leads_to = dict(
        zip(
            by_consequent["consequent"],
            by_consequent["antecedent"].to_list(),
            strict=True,
        )
    )
    found, frontier = set(names), set(names)
    while frontier:
        frontier = {
            name for reached in frontier for name in leads_to.get(reached, [])
        } - found
        found |= frontier
    return frozenset(found)


def exclusion_reason(names: PolicyTags) -> pl.Expr:
    """Returns an expression over schemas.POSTS: the reason (Dropped) for which a post must not be selected, or null."""

    def any_of(wanted: Iterable[str], column: str = "tags") -> pl.Expr:
        return (
            pl.col(column)
            .list.set_intersection(pl.lit(sorted(wanted), dtype=pl.List(pl.String)))
            .list.len()
            > 0
        )

    return exclusion_reason_from_flags(
        young=any_of(names.young),
        opted_out=any_of(names.opt_out) | any_of(names.opt_out, "locked_tags"),
        animated=any_of(ANIMATED_TAGS),
    )


def exclusion_reason_from_flags(
    *, young: pl.Expr, opted_out: pl.Expr, animated: pl.Expr
) -> pl.Expr:
    """Returns rules 1 to 5 for who has looked at the tags already: `sample` finds names in 240 million tags by number.

    Over the other columns of schemas.POSTS, as `verdict`. young: a tag is of Names.young; opted_out: a tag or a locked
    tag is of Names.opt_out; animated: a tag is of ANIMATED_TAGS.
    """
    moving = (
        ~pl.col("ext").is_in(sorted(STILL_FORMATS))
        | pl.col("duration").is_not_null()
        | animated
    )
    return (
        pl.when(pl.col("is_deleted"))
        .then(pl.lit(PostExclusion.DELETED.value))
        .when(pl.col("is_withheld"))
        .then(pl.lit(PostExclusion.WITHHELD.value))
        .when(pl.col("rating").is_in(sorted(SENSITIVE_RATINGS)) & young)
        .then(pl.lit(PostExclusion.FORBIDDEN_YOUNG.value))
        .when(opted_out)
        .then(pl.lit(PostExclusion.OPTED_OUT.value))
        .when(moving)
        .then(pl.lit(PostExclusion.NOT_STILL.value))
    )


def require_consent(site: Site) -> None:
    """Raises PolicyViolation where rule 7 forbids to open this site."""
    if not is_remote(site):
        return
    if not site.contact:
        raise PolicyViolation(
            "site.contact is empty: requests to a real site must name someone to write to. "
            "Set it in params.yaml, or use site.name: sandbox."
        )
    if not site.terms_read:
        raise PolicyViolation(
            f"site.terms_read is false: read the terms of use and the bot rules of {site.base_url or site.name}, "
            "then set it to true in params.yaml, or use site.name: sandbox."
        )


def requests_per_second(site: Site) -> float | None:
    """Returns the rate that rule 6 allows, whatever was asked for; None (no limit) only for servers of this machine."""
    if not is_remote(site):
        return site.requests_per_second
    return min(
        site.requests_per_second or DEFAULT_REQUESTS_PER_SECOND,
        CEILING_REQUESTS_PER_SECOND,
    )


def is_remote(site: Site) -> bool:
    """Returns whether rules 6 and 7 hold for this site: everything that is not on the loopback of this machine."""
    if site.name != "custom":
        return site.name in REAL_SITES
    from urllib.parse import urlsplit

    return any(
        urlsplit(url or "").hostname not in LOOPBACK
        for url in (site.base_url, site.static_url)
    )


def check_no_images(folder: Path) -> None:
    """Raises PolicyViolation when a file of a bundle is a picture (rule 8)."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            head = file.read(16)
        if head.startswith(_PICTURE_MAGIC):
            raise PolicyViolation(
                f"{path} is a picture: bundles hold weights, tags, counts and ids only. Remove it."
            )
