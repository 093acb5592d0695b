"""What the present snapshot says of certain pictures.

Permitted, forbidden by a rule, or no longer there.
"""

from dataclasses import dataclass

import polars as pl

from pipeline import parquet, pin, policy
from pipeline.paths import Paths
from pipeline.schemas.reasons import Takedown


@dataclass(frozen=True, slots=True)
class Permissions:
    """The snapshot's word on the pictures and posts that were asked about.

    And on no others.
    """

    permitted: frozenset[
        str
    ]  # md5s that at least one post holds which the policy permits
    verdicts: dict[
        str, str
    ]  # of the other md5s that a post holds: the rule that forbids it (schemas.Dropped)
    posts: frozenset[int]  # ids of the posts that are still there
    # The snapshot holds what a query finds: a post that it lacks may still be on the
    # site
    is_searched: bool

    def reason(self, md5: str, post_id: int) -> str:
        """Returns why a picture that was fetched for a post may not stay."""
        if md5 in self.verdicts:
            return self.verdicts[md5]
        if post_id in self.posts:
            return Takedown.REPLACED.value
        return (Takedown.NOT_LISTED if self.is_searched else Takedown.EXPUNGED).value


def check_permissions(paths: Paths, md5s: set[str], post_ids: set[int]) -> Permissions:
    """Applies the policy anew to the posts of the snapshot that hold one of these md5s.

    The snapshot has millions of posts and is only streamed through: memory grows with
    what is asked about.
    """
    relations = {
        name: parquet.read(paths.snapshot / f"{name}.parquet")
        for name in ("implications", "aliases")
    }
    names = policy.PolicyTags.read(relations["implications"], relations["aliases"])
    path = paths.snapshot / "posts.parquet"
    try:
        posts = pl.scan_parquet(path)
        ours = pl.LazyFrame({"md5": sorted(md5s)}, schema={"md5": pl.String})
        ids = pl.LazyFrame({"post_id": sorted(post_ids)}, schema={"post_id": pl.Int64})
        judged = (
            posts.join(ours, on="md5", how="semi")
            .select("post_id", "md5", verdict=policy.exclusion_reason(names))
            .collect(engine="streaming")
            .sort("post_id")
        )
        there = (
            posts.select("post_id")
            .join(ids, on="post_id", how="semi")
            .collect(engine="streaming")
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error
    permitted = frozenset(judged.filter(pl.col("verdict").is_null())["md5"])
    forbidden = judged.filter(~pl.col("md5").is_in(permitted)).unique(
        "md5", keep="first", maintain_order=True
    )
    verdicts = dict(forbidden.select("md5", "verdict").iter_rows())
    is_searched = pin.load(paths.pin).search is not None
    return Permissions(permitted, verdicts, frozenset(there["post_id"]), is_searched)
