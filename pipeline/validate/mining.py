"""The rules of data/mining, which is compared with data/manifest and data/sample."""

from collections.abc import Iterator

import polars as pl

from pipeline import policy
from pipeline.params import Params
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.mining import PROPOSAL_KINDS
from pipeline.validate import columns, dataset_files
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
from pipeline.validate.columns import ONE
from pipeline.validate.policy_checks import Relations
from pipeline.validate.violations import duplicates, violations


def row_checks(params: Params, labels: int, /) -> RowChecks:  # noqa: ARG001
    """Returns the checks of single rows."""
    return {
        "proposals": list(_proposals(labels)),
        "label_noise": list(_label_noise(labels)),
    }


def _proposals(labels: int) -> Iterator[Check]:
    yield from columns.identity()
    yield columns.split_name()
    yield matches("tag", columns.NAME, "tags are named")
    yield columns.label_id(labels)
    yield one_of("kind", PROPOSAL_KINDS, "the kind is one of the three")
    yield between("probability", "probabilities are shares", low=0, high=ONE)
    yield between("score", "scores are shares", low=0, high=ONE)
    yield between("uncertainty", "uncertainties are not negative", low=0)
    yield between("lift", "lifts are positive", low=0)


def _label_noise(labels: int) -> Iterator[Check]:
    yield columns.label_id(labels)
    yield matches("name", columns.NAME, "tags are named")
    yield between("positives", "records are counted", low=0)
    for name in ("missing_share", "missing_low", "missing_high", "wrong_share"):
        yield between(name, f"{name} is a share", low=0, high=ONE)


def measure(params: Params, paths: Paths, /) -> list[MeasuredTable]:  # noqa: ARG001
    """Compares the proposals with the records and the tags of the snapshot."""
    proposals = pl.scan_parquet(paths.mining / "proposals.parquet")
    rows = dataset_files.rows_by_stem("mining", paths)
    findings = [
        *_posts(proposals, paths, rows["proposals"]),
        *_tags(proposals, paths, rows["proposals"]),
        *_order(proposals, rows["proposals"]),
        *_one_row_per_tag(paths, rows["label_noise"]),
    ]
    return [findings_table(findings)]


def _posts(proposals: pl.LazyFrame, paths: Paths, checked: int) -> Iterator[Check]:
    """Checks that only records are proposed, as they are labelled."""
    parts = []
    for split in SPLITS:
        part = pl.scan_parquet(paths.manifest / f"{split}.parquet")
        parts.append(part.select("post_id", "md5", "split", "label_ids"))
    records = pl.concat(parts)
    identity = ["post_id", "md5", "split"]
    found = proposals.select(identity).join(records, on=identity, how="anti")
    description = (
        "every proposal is for a record of the manifest, so that no post is that the "
        "policy excludes"
    )
    yield no_violations("no_record", description, violations(found, checked))

    learnt = proposals.drop_nulls("label_id").join(records, on="post_id")
    has_label = pl.col("label_ids").list.contains(pl.col("label_id"))
    is_as_said = has_label == (pl.col("kind") == "wrong")
    found = learnt.filter(~is_as_said).select("post_id", "tag", "kind")
    description = "a missing label is absent from its record, a wrong one is there"
    yield no_violations("kind_differs", description, violations(found, checked))


def _tags(proposals: pl.LazyFrame, paths: Paths, checked: int) -> Iterator[Check]:
    """Checks that only tags are proposed that may be."""
    tags = pl.scan_parquet(paths.snapshot / "tags.parquet").select(tag="name")
    shown = proposals.select("post_id", "tag", "label_id")
    found = shown.join(tags, on="tag", how="anti")
    description = "every tag is one of the snapshot"
    yield no_violations("unknown_tag", description, violations(found, checked))

    vocabulary = pl.scan_parquet(paths.sample / "vocabulary.parquet")
    labels = vocabulary.select("label_id", tag="name")
    joined = shown.join(labels, on="tag", how="left", suffix="_of_tag")
    differs = pl.col("label_id").ne_missing(pl.col("label_id_of_tag"))
    description = "label ids are those of the tags, and null outside the vocabulary"
    found = joined.filter(differs)
    yield no_violations("label_differs", description, violations(found, checked))

    relations = Relations.read(paths)
    animated = pl.DataFrame({"name": sorted(policy.ANIMATED_TAGS)})
    names = pl.concat([relations.young, relations.opt_out, animated])
    barred = names.select(tag="name").unique().lazy()
    found = shown.join(barred, on="tag", how="semi")
    description = "no tag is proposed that the policy is about"
    yield no_violations("policy_tag", description, violations(found, checked))


def _order(proposals: pl.LazyFrame, checked: int) -> Iterator[Check]:
    named = proposals.with_columns(key=pl.format("{} {}", "post_id", "tag"))
    repeated = duplicates(named, "key", "kind", checked)
    yield no_violations("proposed_twice", "a post's tag is proposed once", repeated)

    probability = pl.col("probability")
    previous = pl.col("previous")
    post_id, tag = pl.col("post_id"), pl.col("tag")
    is_same_post = post_id == post_id.shift()
    is_after = (post_id < post_id.shift()) | (is_same_post & (tag <= tag.shift()))
    pairs = proposals.select(
        "post_id",
        "tag",
        "probability",
        previous=probability.shift(),
        is_after=is_after,
    )
    is_tie = probability == previous
    found = pairs.filter((probability > previous) | (is_tie & pl.col("is_after")))
    description = "proposals are ordered by probability, then by post and tag"
    yield no_violations("out_of_order", description, violations(found, checked))


def _one_row_per_tag(paths: Paths, checked: int) -> Iterator[Check]:
    noise = pl.scan_parquet(paths.mining / "label_noise.parquet")
    vocabulary = pl.scan_parquet(paths.sample / "vocabulary.parquet")
    keys = ["label_id", "name"]
    lacking = vocabulary.select(keys).join(noise, on=keys, how="anti")
    foreign = noise.select(keys).join(vocabulary, on=keys, how="anti")
    found = violations(pl.concat([lacking, foreign]), checked)
    description = "label_noise has a row for every tag of the vocabulary"
    yield no_violations("noise_of_other_tags", description, found)

    has_none = pl.col("missing_share").is_null()
    unexplained = noise.filter(has_none & pl.col("absent").is_null()).select(keys)
    found = violations(unexplained, checked)
    description = "where there is no estimate, the reason is given"
    yield no_violations("unexplained", description, found)
