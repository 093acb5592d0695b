"""Sample: which tags the model will know, and which posts it will learn them from.

Reads       data/snapshot/*.parquet
Writes      data/sample/vocabulary.parquet    schemas.VOCABULARY
            data/sample/left_out.parquet      schemas.LEFT_OUT
            data/sample/posts.parquet         schemas.SAMPLED_POSTS
            data/sample/dropped.parquet       schemas.DROPPED
Guarantees  every vocabulary tag has at least min_positives training posts and min_eval_positives validation and test
            posts, each plus `reserve`, as far as the snapshot has them; no post that the policy refuses; families of
            parents and children never span splits; a post never changes its split when the board grows; same snapshot
            and parameters, same bytes.
"""

import polars as pl

from pipeline import atomic, parquet, policy, progress, schemas
from pipeline.errors import ImpossibleSample
from pipeline.params import Manifest, Sample
from pipeline.paths import Paths
from pipeline.sample import candidates, cover, labels, splits
from pipeline.sample import vocabulary as vocabularies


def run(params: Sample, paths: Paths, *, since: str, manifest: Manifest) -> None:
    """Chooses tags, then posts. `since`: ISO date; `manifest`: its split shares and fresh_after."""
    snapshot = {
        name: parquet.read(paths.snapshot / f"{name}.parquet") for name in ("posts", "tags", "aliases", "implications")
    }
    posts = snapshot["posts"]
    relations = labels.Relations.read(snapshot["tags"], snapshot["aliases"], snapshot["implications"])
    names = policy.Names.read(snapshot["implications"], snapshot["aliases"])
    open_to = candidates.choose(params, posts, relations, names, since)
    assigned = splits.assign(posts, manifest).join(open_to.posts.select("post_id"), on="post_id", how="semi")

    chosen = vocabularies.choose(params, relations, open_to.tagged, assigned, names.young | names.opt_out)
    if chosen.vocabulary.height < 2:
        raise ImpossibleSample(_impossible(params, chosen))
    records = labels.with_ids(assigned, open_to.tagged, chosen.vocabulary)
    picked = cover.select(params, records, chosen.vocabulary.height)
    _write(paths, picked, open_to, chosen)
    counts = picked["split"].value_counts().sort("split").rows()
    progress.say(
        f"sample: {chosen.vocabulary.height:,} tags, {picked.height:,} of {open_to.posts.height:,} candidate posts ("
        + ", ".join(f"{split} {count:,}" for split, count in counts)
        + f"); {chosen.left_out.height:,} tags and {open_to.dropped.height:,} posts left out, with reasons"
    )


def _impossible(params: Sample, chosen: vocabularies.Choice) -> str:
    best = chosen.left_out.sort("train_posts", descending=True).head(1)
    most = f"the commonest, {best['name'][0]}, has {best['train_posts'][0]:,}" if best.height else "there is none"
    return (
        f"{chosen.vocabulary.height} tags are left with sample.min_positives {params.min_positives:,} in the training "
        f"split and min_eval_positives {params.min_eval_positives:,} in validation and test; {most}, and 2 are needed. "
        "Lower sample.min_positives or sample.min_eval_positives, or widen sample.categories or sample.ratings."
    )


def _write(paths: Paths, picked: pl.DataFrame, open_to: candidates.Candidates, chosen: vocabularies.Choice) -> None:
    posts = picked.join(open_to.posts.drop("parent_id"), on="post_id", how="inner").sort("post_id")
    vocabulary = vocabularies.with_positives(chosen.vocabulary, picked)
    with atomic.writing_folder(paths.sample) as draft:
        parquet.write(draft / "posts.parquet", posts, schemas.SAMPLED_POSTS)
        parquet.write(draft / "vocabulary.parquet", vocabulary, schemas.VOCABULARY)
        parquet.write(draft / "left_out.parquet", chosen.left_out, schemas.LEFT_OUT)
        parquet.write(draft / "dropped.parquet", open_to.dropped, schemas.DROPPED)
