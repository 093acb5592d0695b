"""Measures snapshot, sample and manifest: the tables of posts and tags."""

from datetime import UTC, datetime, time
from typing import get_args

import polars as pl

from pipeline import parquet, policy
from pipeline.params import CategoryName, Params
from pipeline.paths import SPLITS, Paths
from pipeline.validate import tag_closure
from pipeline.validate.dataset_files import PARQUET, row_counts
from pipeline.validate.measurements import (
    Measurements,
    Violations,
    duplicates,
    in_several_splits,
    out_of_order,
    violations,
)

JUDGED = ("train", "validation", "test")
"""Splits whose positives are promised; `fresh` takes what comes."""

STRATEGIES = ("cover", "quota", "natural", "sample", "board")
"""Rows of strategies.parquet."""

NOBODY = frozenset({
    "unknown_artist", "unknown_artist_signature", "anonymous_artist", "anonymous_artist_(artist)", "conditional_dnp",
    "avoid_posting", "sound_warning", "epilepsy_warning", "third-party_edit", "edit", "unknown_colorist",
})  # fmt: skip
"""Tags of category artist that name nobody. Said again and not imported: gates do not depend on the code they judge."""


def snapshot(params: Params, paths: Paths) -> Measurements:  # noqa: ARG001
    """Measures data/snapshot."""
    posts, tags, aliases, implications = (
        pl.scan_parquet(paths.snapshot / f"{name}.parquet")
        for name in ("posts", "tags", "aliases", "implications")
    )
    rows = {
        name.removesuffix(".parquet"): count
        for name, count in row_counts("snapshot", paths).items()
    }
    in_force = aliases.filter(pl.col("status").is_in(tag_closure.IN_FORCE))
    used = (
        posts.select(name="tags")
        .explode("name")
        .drop_nulls()
        .group_by("name")
        .agg(posts=pl.len())
    )
    names = used.select(pl.len()).collect(engine="streaming").item()
    unknown = used.join(tags.select("name"), on="name", how="anti").select("name")
    told = pl.scan_parquet(paths.snapshot / "unknown_tags.parquet").select("name")
    findings = {
        "post_id_twice": duplicates(posts, "post_id", "change_seq", rows["posts"]),
        "md5_twice": duplicates(posts, "md5", "post_id", rows["posts"]),
        "tag_id_twice": duplicates(tags, "tag_id", "name", rows["tags"]),
        "tag_name_twice": duplicates(tags, "name", "tag_id", rows["tags"]),
        "alias_id_twice": duplicates(
            aliases, "relation_id", "antecedent", rows["aliases"]
        ),
        "implication_id_twice": duplicates(
            implications, "relation_id", "antecedent", rows["implications"]
        ),
        "posts_out_of_order": out_of_order(posts, "post_id", rows["posts"]),
        "alias_to_itself": violations(
            in_force.filter(pl.col("antecedent") == pl.col("consequent")),
            rows["aliases"],
        ),
        "alias_of_two": duplicates(
            in_force, "antecedent", "consequent", rows["aliases"]
        ),
        "implication_in_a_circle": violations(
            tag_closure.in_circles(implications.collect()), rows["implications"]
        ),
        "unknown_tag": violations(unknown, names),
        "unknown_tags_differ": violations(
            pl.concat(
                [
                    unknown.join(told, on="name", how="anti"),
                    told.join(unknown, on="name", how="anti"),
                ]
            ),
            names,
        ),
    }
    visible = (
        posts.filter(~pl.col("is_deleted") & ~pl.col("is_withheld"))
        .select(pl.len())
        .collect(engine="streaming")
        .item()
    )
    read = sum(rows.values())
    figures = pl.DataFrame({
        "posts": [rows["posts"]],
        "visible_posts": [visible],
        "tags": [rows["tags"]],
        "unreadable": [rows["rejected"]],
        "unreadable_share": [rows["rejected"] / read if read else 0.0],
    })  # fmt: skip
    return Measurements(findings, {"figures": figures})


def sample(params: Params, paths: Paths) -> Measurements:
    """Measures data/sample against data/snapshot."""
    posts = pl.scan_parquet(paths.sample / "posts.parquet")
    vocabulary, left_out = (
        parquet.read(paths.sample / f"{name}.parquet")
        for name in ("vocabulary", "left_out")
    )
    tags, aliases, implications = (
        parquet.read(paths.snapshot / f"{name}.parquet")
        for name in ("tags", "aliases", "implications")
    )
    source = pl.scan_parquet(paths.snapshot / "posts.parquet").join(
        posts.select("post_id"), on="post_id", how="semi"
    )
    counts = {
        **dict.fromkeys(SPLITS, 0),
        **dict(posts.group_by("split").len().collect(engine="streaming").iter_rows()),
    }
    checked = sum(counts.values())
    young = tag_closure.leading_to(policy.YOUNG, aliases, implications)
    opt_out = tag_closure.leading_to(policy.OPT_OUT, aliases, implications)
    excluded = tag_closure.leading_to(
        frozenset(params.sample.exclude_tags), aliases, implications
    )
    findings = {
        **_policy_of_sample(posts, source, young, opt_out, checked),
        **_vocabulary(params, vocabulary, left_out, tags, pl.concat([young, opt_out])),
        **_labels(
            posts,
            source,
            tag_closure.meanings(vocabulary, aliases, implications),
            checked,
        ),
        "post_id_twice": duplicates(posts, "post_id", "md5", checked),
        "md5_in_two_splits": in_several_splits(posts, "md5", checked),
        "group_in_two_splits": in_several_splits(posts, "group_id", checked),
        "parted_family": violations(_parted(posts, source), checked),
        "sampled_and_dropped": violations(
            pl.scan_parquet(paths.sample / "dropped.parquet").join(
                posts.select("post_id"), on="post_id", how="semi"
            ),
            checked,
        ),
        "excluded_post": violations(_tagged(source, excluded), checked),
        "fresh_too_old": violations(_too_old(posts, params), counts["fresh"]),
        "taken_for_no_label": violations(_taken_for_nothing(posts), checked),
        "artist_in_two_splits": _artists(params, posts, source, tags, aliases),
        **_told(params, paths, vocabulary),
    }
    figures = pl.DataFrame(
        {"tags": [vocabulary.height], **{split: [counts[split]] for split in SPLITS}}
    )
    counted = positives(posts).rename({split: f"counted_{split}" for split in JUDGED})
    claimed = vocabulary.select("label_id", "name", "^.*_positives$")
    tables = {
        "figures": figures,
        "tags": with_counts(claimed, counted),
        "chosen": _chosen(paths, counts, counted),
    }
    return Measurements(findings, tables)


def manifest(params: Params, paths: Paths) -> Measurements:  # noqa: ARG001
    """Measures data/manifest against data/sample, and the packs that it leads to against takedowns and snapshot."""
    records = pl.concat(
        pl.scan_parquet(paths.manifest / f"{split}.parquet") for split in SPLITS
    )
    rejected = pl.scan_parquet(paths.manifest / "rejected.parquet")
    posts = pl.scan_parquet(paths.sample / "posts.parquet")
    rows = {
        name.removesuffix(".parquet"): count
        for name, count in row_counts("manifest", paths).items()
    }
    kept = sum(rows[split] for split in SPLITS)
    wanted = row_counts("sample", paths)["posts.parquet"]
    findings = {
        "not_in_sample": violations(
            _identity(records).join(posts, on="post_id", how="anti"), kept
        ),
        "differs_from_sample": violations(_differing(records, posts), kept),
        "lost_post": violations(
            _identity(posts)
            .join(records, on="post_id", how="anti")
            .join(rejected, on="post_id", how="anti"),
            wanted,
        ),
        "kept_and_rejected": violations(
            rejected.join(records.select("post_id"), on="post_id", how="semi"),
            rows["rejected"],
        ),
        "post_id_twice": duplicates(records, "post_id", "split", kept),
        "md5_in_two_splits": in_several_splits(records, "md5", kept),
        "md5_twice": duplicates(records, "md5", "post_id", kept),
        "group_in_two_splits": in_several_splits(records, "group_id", kept),
        "same_hash_in_two_splits": in_several_splits(records, "phash", kept),
        "out_of_order": violations(
            pl.concat(
                pl.scan_parquet(paths.manifest / f"{split}.parquet")
                .select("split", "post_id", previous=pl.col("post_id").shift())
                .filter(pl.col("post_id") <= pl.col("previous"))
                for split in SPLITS
            ),
            kept,
        ),
        **_taken_down(paths, records, kept),
    }
    share = rows["rejected"] / wanted if wanted else 0.0
    figures = pl.DataFrame(
        {**{split: [rows[split]] for split in SPLITS}, "rejected_share": [share]}
    )
    vocabulary = parquet.read(
        paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
    )
    counted = positives(records).rename(
        {split: f"{split}_positives" for split in JUDGED}
    )
    leakage = parquet.read(paths.manifest / "leakage.parquet")
    distances = leakage.select(
        pl.col("distance").n_unique().alias("distances"),
        pl.col("nearest", "random").sum(),
    )
    tables = {
        "figures": figures,
        "tags": with_counts(vocabulary, counted),
        "lineage": _lineage(paths),
    }
    return Measurements(findings, {**tables, "distances": distances})


def positives(posts: pl.LazyFrame) -> pl.DataFrame:
    """Returns label_id and its number of posts in each judged split. posts: split, label_ids."""
    each = posts.select("split", label_id="label_ids").explode("label_id").drop_nulls()
    counts = each.group_by("label_id").agg(
        (pl.col("split") == split).sum().cast(pl.Int64).alias(split) for split in JUDGED
    )
    return counts.collect(engine="streaming")


def with_counts(tags: pl.DataFrame, counted: pl.DataFrame) -> pl.DataFrame:
    """Returns the tags with counts beside them, as int64 and 0 where none was counted, by label id."""
    joined = tags.join(counted, on="label_id", how="left").sort("label_id")
    return joined.with_columns(
        pl.exclude("label_id", "name").fill_null(0).cast(pl.Int64)
    )


def _taken_down(
    paths: Paths, records: pl.LazyFrame, kept: int
) -> dict[str, Violations]:
    """Looks in manifest and packs for pictures that were taken down, or that the snapshot does not permit today."""
    takedowns = pl.scan_parquet(paths.images / "takedowns.parquet")
    files = sorted(paths.images.glob("pack-*.parquet"))
    facts = [
        pl.scan_parquet(path).select("md5", "post_id", pack=pl.lit(path.name))
        for path in files
    ]
    empty = {"md5": pl.String, "post_id": pl.Int64, "pack": pl.String}
    packed = pl.concat(facts).collect() if facts else pl.DataFrame(schema=empty)
    permitted = _permitted(paths, packed.lazy().select("md5"))
    taken = packed.lazy().join(takedowns.select("md5", "reason"), on="md5")
    return {
        "taken_down": violations(
            _identity(records).join(takedowns.select("md5", "reason"), on="md5"), kept
        ),
        "pack_taken_down": violations(taken, packed.height),
        "pack_forbidden": violations(
            packed.lazy().join(permitted, on="md5", how="anti"), packed.height
        ),
    }


def _permitted(paths: Paths, md5s: pl.LazyFrame) -> pl.LazyFrame:
    """Returns those of the md5s that a post of the snapshot holds which rules 1 to 5 of the policy permit."""
    aliases, implications = (
        parquet.read(paths.snapshot / f"{name}.parquet")
        for name in ("aliases", "implications")
    )
    posts = pl.scan_parquet(paths.snapshot / "posts.parquet").join(
        md5s.unique(), on="md5", how="semi"
    )
    young = tag_closure.leading_to(policy.YOUNG, aliases, implications)
    opt_out = tag_closure.leading_to(policy.OPT_OUT, aliases, implications)
    moving = pl.DataFrame({"name": sorted(policy.ANIMATED_TAGS)})
    locked = posts.select("post_id", tags="locked_tags")
    sensitive = posts.filter(pl.col("rating").is_in(["q", "e"]))
    tagged = [(sensitive, young), (posts, opt_out), (locked, opt_out), (posts, moving)]
    refused = pl.concat(
        _tagged(some, names).select("post_id") for some, names in tagged
    )
    still = (
        pl.col("ext").is_in(sorted(policy.STILL_FORMATS)) & pl.col("duration").is_null()
    )
    there = posts.filter(~pl.col("is_deleted") & ~pl.col("is_withheld") & still)
    return there.join(refused.unique(), on="post_id", how="anti").select("md5").unique()


def _policy_of_sample(
    posts: pl.LazyFrame,
    source: pl.LazyFrame,
    young: pl.DataFrame,
    opt_out: pl.DataFrame,
    checked: int,
) -> dict[str, Violations]:
    """Re-checks rules 1 to 5 of the policy on what the snapshot says of the sampled posts."""
    moving = pl.DataFrame({"name": sorted(policy.ANIMATED_TAGS)})
    same = [
        "change_seq",
        "md5",
        "ext",
        "rating",
        "width",
        "height",
        "file_size",
        "created_at",
    ]
    beside = posts.select("post_id", *same).join(
        source.select("post_id", *same), on="post_id", suffix="_in_snapshot"
    )
    differs = pl.any_horizontal(
        pl.col(name) != pl.col(f"{name}_in_snapshot") for name in same
    )
    moves = (
        ~pl.col("ext").is_in(sorted(policy.STILL_FORMATS))
        | pl.col("duration").is_not_null()
    )
    still = pl.concat(
        [source.filter(moves).select("post_id", name="ext"), _tagged(source, moving)]
    )
    locked = source.select("post_id", "md5", tags="locked_tags")
    refused = [_tagged(one, opt_out) for one in (source, locked)]
    return {
        "deleted_post": violations(
            source.filter("is_deleted").select("post_id", "md5"), checked
        ),
        "withheld_post": violations(
            source.filter("is_withheld").select("post_id", "md5"), checked
        ),
        "vanished_post": violations(
            _identity(posts).join(source, on="post_id", how="anti"), checked
        ),
        "replaced_post": violations(
            beside.filter(differs).select(
                "post_id", *(n for k in same[:4] for n in (k, f"{k}_in_snapshot"))
            ),
            checked,
        ),
        "forbidden_young": violations(
            _tagged(source.filter(pl.col("rating").is_in(["q", "e"])), young), checked
        ),
        "opted_out": violations(pl.concat(refused).unique(), checked),
        "moving_picture": violations(still.unique(), checked),
    }


def _vocabulary(
    params: Params,
    vocabulary: pl.DataFrame,
    left_out: pl.DataFrame,
    tags: pl.DataFrame,
    refused: pl.DataFrame,
) -> dict[str, Violations]:
    excluded = pl.DataFrame(
        {"name": params.sample.exclude_tags}, schema={"name": pl.String}
    )
    names = pl.concat(
        [
            vocabulary.select("label_id", "name"),
            left_out.select(label_id=pl.lit(None, pl.Int32), name="name"),
        ]
    )
    numbered = (
        vocabulary.with_row_index("row")
        .filter(pl.col("row") != pl.col("label_id"))
        .select("row", "label_id", "name")
    )
    categories = dict(enumerate(get_args(CategoryName)))
    known = tags.select(
        "tag_id",
        "name",
        category=pl.col("category").replace_strict(
            categories, default="", return_dtype=pl.String
        ),
    )
    height = vocabulary.height
    tag = ["label_id", "tag_id", "name", "category"]
    return {
        "policy_tag": violations(
            vocabulary.join(refused, on="name", how="semi").select(tag), height
        ),
        "excluded_tag": violations(
            vocabulary.join(excluded, on="name", how="semi").select(tag), height
        ),
        "label_id_not_row": violations(numbered, height),
        "tag_twice": duplicates(
            names.filter(pl.col("name").is_in(vocabulary["name"].implode())).lazy(),
            "name",
            "label_id",
            height,
        ),
        "tag_unknown": violations(
            vocabulary.select(tag).join(
                known, on=["tag_id", "name", "category"], how="anti"
            ),
            height,
        ),
    }


def _labels(
    posts: pl.LazyFrame, source: pl.LazyFrame, meanings: pl.DataFrame, checked: int
) -> dict[str, Violations]:
    """Works labels out anew from the snapshot's tags and compares them with those of the sample."""
    reached = (
        source.select("post_id", name="tags")
        .explode("name")
        .join(meanings.lazy(), on="name")
        .group_by("post_id", "label_id")
        .agg(pl.col("given").any())
    )
    found = {}
    for column, finding, wanted in (
        ("label_ids", "labels_differ", reached.select("post_id", "label_id")),
        (
            "given_ids",
            "given_ids_differ",
            reached.filter("given").select("post_id", "label_id"),
        ),
    ):
        held = posts.select("post_id", label_id=column).explode("label_id").drop_nulls()
        lacking = wanted.join(
            held, on=["post_id", "label_id"], how="anti"
        ).with_columns(label=pl.lit("missing"))
        extra = held.join(wanted, on=["post_id", "label_id"], how="anti").with_columns(
            label=pl.lit("not led to")
        )
        found[finding] = violations(pl.concat([lacking, extra]), checked)
    return found


def _taken_for_nothing(posts: pl.LazyFrame) -> pl.LazyFrame:
    foreign = pl.col("taken_for").is_not_null() & ~pl.col("label_ids").list.contains(
        pl.col("taken_for")
    )
    return posts.filter(foreign).select("post_id", "taken_for")


def _artists(
    params: Params,
    posts: pl.LazyFrame,
    source: pl.LazyFrame,
    tags: pl.DataFrame,
    aliases: pl.DataFrame,
) -> Violations:
    """Looks for artists whose sampled posts are in two of the judged splits, where parameters promise otherwise."""
    if not params.manifest.group_by_artist:
        return Violations(0, 0, [])
    final = tag_closure.canonical(aliases)
    artist = get_args(CategoryName).index("artist")
    nobody = pl.concat(
        [
            pl.Series("name", sorted(NOBODY)),
            final.filter(pl.col("name").is_in(NOBODY))["final"],
        ]
    )
    named = tags.filter(
        (pl.col("category") == artist) & ~pl.col("name").is_in(nobody.implode())
    ).select("name")
    each = (
        source.select("post_id", name="tags")
        .explode("name")
        .join(final.lazy(), on="name", how="left")
    )
    signed = each.select("post_id", name=pl.coalesce("final", "name")).join(
        named.lazy(), on="name", how="semi"
    )
    judged = posts.filter(pl.col("split").is_in(JUDGED)).select("post_id", "split")
    return in_several_splits(
        signed.unique().join(judged, on="post_id"), "name", named.height
    )


def _told(
    params: Params, paths: Paths, vocabulary: pl.DataFrame
) -> dict[str, Violations]:
    """Looks for rows that lack, or should not be there, in the tables that explain the sample."""
    strategies = parquet.read(
        paths.sample / "strategies.parquet", columns=["strategy", "is_chosen"]
    )
    chosen = {params.sample.strategy, "sample"}
    wanted = pl.DataFrame(
        [{"strategy": name, "is_chosen": name in chosen} for name in STRATEGIES]
    )
    twice = strategies.filter(pl.col("strategy").is_duplicated())
    lacking = wanted.join(strategies, on=["strategy", "is_chosen"], how="anti")
    pairs = parquet.read(
        paths.sample / "co_occurrence.parquet", columns=["first", "second"]
    )
    known = pl.all_horizontal(
        pl.col("first", "second").is_in(vocabulary["name"].implode())
    )
    return {
        "strategy_missing": violations(pl.concat([lacking, twice]), wanted.height),
        "pair_unknown": violations(
            pairs.filter(~known | (pl.col("first") == pl.col("second"))), pairs.height
        ),
    }


def _chosen(
    paths: Paths, counts: dict[str, int], counted: pl.DataFrame
) -> pl.DataFrame:
    """Returns what strategies.parquet says of the sample, beside what was counted. counted: counted_train."""
    said = parquet.read(paths.sample / "strategies.parquet").filter(
        pl.col("strategy") == "sample"
    )
    train = counted["counted_train"].cast(pl.Float64)
    return said.select(
        "posts",
        "least_positives",
        "median_positives",
        counted_posts=pl.lit(sum(counts[split] for split in JUDGED), pl.Int64),
        counted_least_positives=pl.lit(train.min(), pl.Int64),
        counted_median_positives=pl.lit(train.median(), pl.Float64),
    )


def _tagged(posts: pl.LazyFrame, names: pl.DataFrame) -> pl.LazyFrame:
    """Returns post_id and the first of these names for every post that has one."""
    each = (
        posts.select("post_id", name="tags")
        .explode("name")
        .join(names.lazy(), on="name", how="semi")
    )
    return each.group_by("post_id").agg(pl.col("name").min())


def _parted(posts: pl.LazyFrame, source: pl.LazyFrame) -> pl.LazyFrame:
    groups = posts.select("post_id", "group_id")
    children = groups.join(
        source.select("post_id", "parent_id").drop_nulls(), on="post_id"
    )
    pairs = children.join(
        groups, left_on="parent_id", right_on="post_id", suffix="_of_parent"
    )
    return pairs.filter(pl.col("group_id") != pl.col("group_id_of_parent"))


def _too_old(posts: pl.LazyFrame, params: Params) -> pl.LazyFrame:
    fresh = posts.filter(pl.col("split") == "fresh").select("post_id", "created_at")
    if params.manifest.fresh_after is None:
        return fresh
    return fresh.filter(
        pl.col("created_at")
        < datetime.combine(params.manifest.fresh_after, time(), UTC)
    )


def _identity(posts: pl.LazyFrame) -> pl.LazyFrame:
    return posts.select("post_id", "md5", "split")


def _differing(records: pl.LazyFrame, posts: pl.LazyFrame) -> pl.LazyFrame:
    """Returns the records that do not agree with the sample, with the name of the first column that differs."""
    same = [
        "change_seq",
        "md5",
        "rating",
        "created_at",
        "group_id",
        "split",
        "label_ids",
        "given_ids",
    ]
    pairs = records.select("post_id", *same).join(
        posts.select("post_id", *same), on="post_id", suffix="_in_sample"
    )
    first = pl.coalesce(
        pl.when(pl.col(name) != pl.col(f"{name}_in_sample")).then(pl.lit(name))
        for name in same
    )
    return pairs.select("post_id", "md5", differs=first).drop_nulls("differs")


def _lineage(paths: Paths) -> pl.DataFrame:
    """Returns a row per file of the manifest: whether it carries the lineage, the same as the others."""
    texts = {
        stem: parquet.metadata(paths.manifest / f"{stem}.parquet").get("lineage", "")
        for stem in PARQUET["manifest"]
    }
    shared = next((text for text in texts.values() if text), "")
    states = [
        "missing" if not text else "complete" if text == shared else "another one"
        for text in texts.values()
    ]
    return pl.DataFrame(
        {"file": [f"{stem}.parquet" for stem in texts], "lineage": states}
    )
