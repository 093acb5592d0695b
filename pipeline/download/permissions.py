"""What the current snapshot holds about certain images.

They are permitted, forbidden by a rule, or no longer there.
"""

from dataclasses import dataclass

import polars as pl

from pipeline import parquet, pin, policy
from pipeline.paths import Paths
from pipeline.schemas.reasons import Takedown


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the snapshot holds about the given images and posts, and about no others.

    permitted: md5s that at least one post holds which the policy permits.
    verdicts: for the other md5s that a post holds, the rule that forbids them
    (PostExclusion).
    posts: the posts that are still there, by id; for one whose md5 the snapshot lacks
    the rule that forbids it, for the others None.
    is_searched: the snapshot holds what a query finds, so that a post that it lacks may
    still be on the site.
    """

    permitted: frozenset[str]
    verdicts: dict[str, str]
    posts: dict[int, str | None]
    is_searched: bool

    def reason(self, md5: str, post_id: int) -> str:
        """Returns why an image that was fetched for a post may not stay."""
        if md5 in self.verdicts:
            return self.verdicts[md5]
        if post_id in self.posts:
            return self.posts[post_id] or Takedown.REPLACED.value
        missing = Takedown.NOT_LISTED if self.is_searched else Takedown.EXPUNGED
        return missing.value


def check_permissions(paths: Paths, md5s: set[str], post_ids: set[int]) -> Permissions:
    """Applies the policy anew to the posts of the snapshot that hold one of these md5s.

    The snapshot has millions of posts and is only streamed through: memory grows with
    the number of md5s and post ids. Raises CorruptFile.
    """
    tags = _policy_tags(paths)
    path = paths.snapshot / "posts.parquet"
    try:
        posts = pl.scan_parquet(path)
        decided = _exclusion_reasons(posts, md5s, tags)
        present = _present_posts(posts, post_ids, tags)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error
    permitted = frozenset(decided.filter(pl.col("verdict").is_null())["md5"])
    forbidden = decided.filter(~pl.col("md5").is_in(permitted))
    first = forbidden.unique("md5", keep="first", maintain_order=True)
    return Permissions(
        permitted=permitted,
        verdicts=dict(first.select("md5", "verdict").iter_rows()),
        posts=dict(present.iter_rows()),
        is_searched=pin.load(paths.pin).search is not None,
    )


def _policy_tags(paths: Paths) -> policy.PolicyTags:
    implications = parquet.read(paths.snapshot / "implications.parquet")
    aliases = parquet.read(paths.snapshot / "aliases.parquet")
    return policy.PolicyTags.read(implications, aliases)


def _exclusion_reasons(
    posts: pl.LazyFrame, md5s: set[str], tags: policy.PolicyTags
) -> pl.DataFrame:
    """Returns post_id, md5 and verdict (null: permitted) of posts that hold an md5."""
    wanted = pl.LazyFrame({"md5": sorted(md5s)}, schema={"md5": pl.String})
    verdict = policy.exclusion_reason(tags)
    decided = (
        posts.join(wanted, on="md5", how="semi")
        .select("post_id", "md5", verdict=verdict)
        .collect(engine="streaming")
    )
    return decided.sort("post_id")


def _present_posts(
    posts: pl.LazyFrame, post_ids: set[int], tags: policy.PolicyTags
) -> pl.DataFrame:
    """Returns those of the post ids that the snapshot has, and their verdict.

    It is null where the post has an md5: its image may have been replaced.
    """
    wanted = pl.LazyFrame({"post_id": sorted(post_ids)}, schema={"post_id": pl.Int64})
    present = posts.join(wanted, on="post_id", how="semi")
    verdict = pl.when(pl.col("md5").is_null()).then(policy.exclusion_reason(tags))
    return present.select("post_id", verdict=verdict).collect(engine="streaming")
