"""The rules that no parameter can switch off. Read this first.

1. Deleted, expunged or replaced posts are never fetched, and a refresh removes their
   images.
2. A post rated q or e whose tags include `young`, or any tag that implies it, is never
   selected, logged in or not.
3. Artists' opt-outs (`avoid_posting`, `conditional_dnp`, also as locked tags) are never
   selected.
4. A null URL in an API response is a refusal; it is never rebuilt from the md5.
5. Only still images: jpg, png, webp.
6. Requests name their agent and a contact, at most 1/s by default and 2/s at most to
   the real hosts; a challenge page ends the run.
7. The live site is off until the operator sets site.contact and site.terms_read: true.
8. Images are never redistributed: bundles hold weights, tags, counts and ids only, and
   name the site without an address.

Rules 1 to 5 choose posts (`exclusion_reason`, applied by `sample`); 6 and 7 guard every
request (`require_consent`, applied when a site is opened); 8 is applied by `export`
(`check_no_images`). The gates check all of them again, from the data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.errors import PolicyViolation
from pipeline.params.site import (
    CEILING_REQUESTS_PER_SECOND,
    DEFAULT_REQUESTS_PER_SECOND,
    Site,
)
from pipeline.schemas.reasons import PostExclusion

VERSION = "1"
"""Version of these rules; recorded in manifest, model card and bundle.

Raise it with every change of a rule."""

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
"""Names that rule 2 is about, whatever the site's implications are.

The snapshot may lag behind the site."""

OPT_OUT = frozenset({"avoid_posting", "conditional_dnp"})
"""Rule 3 (contract section 7)."""

STILL_FORMATS = frozenset({"jpg", "png", "webp"})
"""Rule 5: file extensions that may be requested.

Animated webp and png are recognised by tag and duration."""

ANIMATED_TAGS = frozenset(
    {"animated", "animated_png", "animated_webp", "animated_gif", "video", "flash"}
)
"""Rule 5: tags of moving images.

`animated_png` and `animated_webp` share their extension with still ones."""

EFFECTIVE = frozenset({"active", "processing", "queued"})
"""Statuses in which an alias or implication is in force (contract section 6)."""

SENSITIVE_RATINGS = frozenset({"q", "e"})
"""Ratings that rule 2 is about."""

REAL_SITES = frozenset({"e621"})
"""Values of site.name whose hosts are not on this machine.

Rules 6 and 7 apply to them, and to every custom site that is not on this machine."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts that are this machine.

Not the rest of 127.0.0.0/8: all the rules apply to a sandbox served on 127.0.0.2, so
that they can be tested over real sockets."""

_IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF")


@dataclass(frozen=True, slots=True)
class PolicyTags:
    """The tag names that the rules are about, in one snapshot.

    They are those listed above and all tags that imply one of them.
    """

    young: frozenset[str]
    opt_out: frozenset[str]

    @classmethod
    def read(cls, implications: pl.DataFrame, aliases: pl.DataFrame) -> "PolicyTags":
        """Follows the snapshot's relations (schemas.snapshot.RELATIONS).

        Tags that were saved long ago do not have the relations made since.
        """
        return cls(
            tags_implying(YOUNG, implications, aliases),
            tags_implying(OPT_OUT, implications, aliases),
        )


def tags_implying(
    names: frozenset[str], implications: pl.DataFrame, aliases: pl.DataFrame
) -> frozenset[str]:
    """Returns the names and all that imply or alias to one of them, to any depth.

    implications, aliases: schemas.snapshot.RELATIONS. Only relations in force count:
    any user can make a pending one.
    """
    in_force = pl.col("status").is_in(sorted(EFFECTIVE))
    relations = pl.concat([implications, aliases]).filter(in_force)
    grouped = relations.group_by("consequent").agg("antecedent")
    antecedents = dict(grouped.select("consequent", "antecedent").iter_rows())
    found = set(names)
    frontier = list(names)
    while frontier:
        for name in antecedents.get(frontier.pop(), ()):
            if name not in found:
                found.add(name)
                frontier.append(name)
    return frozenset(found)


def exclusion_reason(names: PolicyTags) -> pl.Expr:
    """Returns why a post must not be selected, as an expression over POSTS.

    Its value is one of PostExclusion, or null where rules 1 to 5 permit the post. POSTS
    is schemas.snapshot.POSTS.
    """
    return exclusion_reason_from_flags(
        young=_has_any("tags", names.young),
        opted_out=_has_any("tags", names.opt_out)
        | _has_any("locked_tags", names.opt_out),
        animated=_has_any("tags", ANIMATED_TAGS),
    )


def _has_any(column: str, names: Iterable[str]) -> pl.Expr:
    """Returns whether a list column holds one of the names."""
    wanted = pl.lit(sorted(names), dtype=pl.List(pl.String))
    return pl.col(column).list.set_intersection(wanted).list.len() > 0


def exclusion_reason_from_flags(
    *, young: pl.Expr, opted_out: pl.Expr, animated: pl.Expr
) -> pl.Expr:
    """Returns rules 1 to 5 where the tags have been examined already.

    `sample` finds names in 240 million tags by number. The other columns are those of
    schemas.snapshot.POSTS, as in `exclusion_reason`. young: a tag is in
    PolicyTags.young; opted_out: a tag or a locked tag is in PolicyTags.opt_out;
    animated: a tag is in ANIMATED_TAGS.
    """
    is_sensitive = pl.col("rating").is_in(sorted(SENSITIVE_RATINGS))
    is_still_format = pl.col("ext").is_in(sorted(STILL_FORMATS))
    is_timed = pl.col("duration").is_not_null()
    conditions = {
        PostExclusion.DELETED: pl.col("is_deleted"),
        PostExclusion.WITHHELD: pl.col("is_withheld"),
        PostExclusion.FORBIDDEN_YOUNG: is_sensitive & young,
        PostExclusion.OPTED_OUT: opted_out,
        PostExclusion.NOT_STILL: ~is_still_format | is_timed | animated,
    }
    first = pl.lit(None, dtype=pl.String)
    for reason, condition in reversed(conditions.items()):
        first = pl.when(condition).then(pl.lit(reason.value)).otherwise(first)
    return first


def require_consent(site: Site) -> None:
    """Raises PolicyViolation where rule 7 forbids opening this site."""
    if not is_remote(site):
        return
    if not site.contact:
        raise PolicyViolation(
            "site.contact is empty: requests to a real site must name someone to write "
            "to. Set it in params.yaml, or use site.name: sandbox."
        )
    if not site.terms_read:
        raise PolicyViolation(
            "site.terms_read is false: read the terms of use and the bot rules of "
            f"{site.base_url or site.name}, then set it to true in params.yaml, or use "
            "site.name: sandbox."
        )


def requests_per_second(site: Site) -> float | None:
    """Returns the rate that rule 6 allows, whatever the parameter is.

    None, no limit, is returned only for servers on this machine.
    """
    if not is_remote(site):
        return site.requests_per_second
    rate = site.requests_per_second or DEFAULT_REQUESTS_PER_SECOND
    return min(rate, CEILING_REQUESTS_PER_SECOND)


def is_remote(site: Site) -> bool:
    """Returns whether rules 6 and 7 apply to this site.

    They apply to everything that is not on the loopback of this machine.
    """
    if site.name != "custom":
        return site.name in REAL_SITES
    from urllib.parse import urlsplit

    hosts = {urlsplit(url or "").hostname for url in (site.base_url, site.static_url)}
    return not hosts <= LOOPBACK


def check_no_images(folder: Path) -> None:
    """Raises PolicyViolation when a file of a bundle is an image (rule 8)."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            head = file.read(16)
        if head.startswith(_IMAGE_MAGIC):
            raise PolicyViolation(
                f"{path} is an image: bundles hold weights, tags, counts and ids only. "
                "Remove it."
            )
