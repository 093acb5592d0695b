"""Sample: which tags the model will know, and which posts it will learn them from.

Reads       data/snapshot/*.parquet, sample.tags_file
Writes      data/sample/vocabulary.parquet            schemas.VOCABULARY
            data/sample/excluded_tags.parquet         schemas.EXCLUDED_TAGS
            data/sample/posts.parquet                 schemas.SAMPLED_POSTS
            data/sample/excluded_posts.parquet        schemas.EXCLUDED_POSTS
            data/sample/strategies.parquet            schemas.STRATEGIES
            data/sample/missing_implications.parquet  schemas.MISSING_IMPLICATIONS
            data/sample/aliases_in_use.parquet        schemas.ALIASES_IN_USE
            data/sample/co_occurrence.parquet         schemas.CO_OCCURRENCE
            data/sample/anomalies.parquet             schemas.ANOMALIES
Guarantees  every vocabulary tag has at least min_positives training posts and
            min_eval_positives validation and test posts, each plus `reserve`; no post
            that the policy refuses; families of parents and children never span splits;
            a post never changes its split, whatever happens on the board (with
            group_by_artist: as long as its artist stays): it may leave the sample; same
            snapshot and parameters, same bytes.
"""

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import files, parquet, policy, progress
from pipeline.params.sample import Sample
from pipeline.paths import SPLITS, Paths
from pipeline.sample import (
    anomalies,
    infeasible,
    label_noise,
    post_tables,
    splits,
    strategies,
    strategy_report,
)
from pipeline.sample import vocabulary as vocabularies
from pipeline.sample.candidates import CandidatePosts, CandidateReader
from pipeline.sample.co_occurrence import co_occurrence
from pipeline.sample.cover import Selection
from pipeline.sample.exclusions import CANDIDATE, REASONS
from pipeline.sample.label_matrix import TARGET_SPLITS, LabelMatrix
from pipeline.sample.vocabulary import VocabularyResult
from pipeline.schemas.reasons import PostExclusion
from pipeline.schemas.sample import (
    ALIASES_IN_USE,
    ANOMALIES,
    CO_OCCURRENCE,
    EXCLUDED_POSTS,
    EXCLUDED_TAGS,
    MISSING_IMPLICATIONS,
    SAMPLED_POSTS,
    STRATEGIES,
    VOCABULARY,
)
from pipeline.tag_graph import TagGraph

DECIDED_BY = "decided_by"
"""Key of the parameters in the metadata of vocabulary.parquet.

Explanations of the sample given later use these parameters.
"""

_POSTS_AT_ONCE = 200_000  # posts counted at once; bounds memory

_Table = tuple[pl.DataFrame, pa.Schema]


@dataclass(frozen=True, slots=True)
class _TagTables:
    """The snapshot's tables about tags, and what follows from them."""

    tags: pl.DataFrame
    aliases: pl.DataFrame
    relations: TagGraph
    policy_tags: policy.PolicyTags
    listed: frozenset[str] | None  # names of sample.tags_file, if there is one


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The decisions of the stage."""

    vocabulary: VocabularyResult
    selections: Mapping[str, Selection]  # by strategy
    sample: Selection  # the posts written
    positives: NDArray[np.int64]  # [target splits, labels] of the posts written


def run(params: Sample, paths: Paths) -> None:
    """Chooses tags, then posts."""
    tables = _read_tag_tables(params, paths)
    reader = _reader(params, tables)
    posts = reader.read(paths.snapshot / "posts.parquet")
    assigned = _assign_splits(params, posts)
    vocabulary = _choose_vocabulary(params, tables, posts, assigned)
    records = _label_matrix(posts, assigned, tables, vocabulary)
    chosen = _choose_posts(params, records, vocabulary)
    found = _anomalies(tables, posts)
    written = _report_tables(params, tables, posts, records, chosen)
    written["anomalies"] = found, ANOMALIES
    written["excluded_posts"] = post_tables.excluded(posts, assigned), EXCLUDED_POSTS
    sampled = post_tables.sampled(paths, posts, assigned, records, chosen.sample)
    written["posts"] = sampled, SAMPLED_POSTS
    _write(params, paths, chosen, written)
    counts = _count_per_split(records, chosen.sample)
    warnings = _warnings(params, tables, vocabulary, reader, counts)
    summary = _summary(vocabulary, posts, counts)
    _log_results(summary, warnings, _describe_anomalies(found))


def _anomalies(tables: _TagTables, posts: CandidatePosts) -> pl.DataFrame:
    return anomalies.find_anomalies(
        tables.tags, tables.aliases, tables.relations, posts
    )


def _label_matrix(
    posts: CandidatePosts,
    assigned: splits.SplitAssignment,
    tables: _TagTables,
    vocabulary: VocabularyResult,
) -> LabelMatrix:
    label_of = _labels_by_code(tables.relations, vocabulary.vocabulary)
    return LabelMatrix.make(posts, assigned, label_of)


def _warnings(
    params: Sample,
    tables: _TagTables,
    vocabulary: VocabularyResult,
    reader: CandidateReader,
    counts: NDArray[np.int64],
) -> Iterable[str]:
    policed = reader.codes.policed
    return infeasible.warnings(
        params, vocabulary, tables.listed, tables.relations, policed, counts
    )


def _log_results(
    summary: str, warnings: Iterable[str], described: Iterable[str]
) -> None:
    for line in (summary, *warnings, *described):
        progress.log(f"sample: {line}")


def _read_tag_tables(params: Sample, paths: Paths) -> _TagTables:
    tags = parquet.read(paths.snapshot / "tags.parquet")
    aliases = parquet.read(paths.snapshot / "aliases.parquet")
    implications = parquet.read(paths.snapshot / "implications.parquet")
    listed = None
    if params.tags_file:
        listed = vocabularies.listed_names(paths.root / params.tags_file)
    return _TagTables(
        tags,
        aliases,
        TagGraph.read(tags, aliases, implications),
        policy.PolicyTags.read(implications, aliases),
        listed,
    )


def _reader(params: Sample, tables: _TagTables) -> CandidateReader:
    artist_split = None
    if params.group_by_artist:
        artist_split = splits.splits_of_artists(tables.relations, params)
    return CandidateReader(
        params,
        tables.relations,
        tables.policy_tags,
        artist_split=artist_split,
        listed=tables.listed or (),
    )


def _assign_splits(params: Sample, posts: CandidatePosts) -> splits.SplitAssignment:
    """Assigns splits, and excludes the posts whose family belongs to another split."""
    assigned = splits.assign(
        posts.post_id, posts.parent_id, posts.created, posts.artist_split, params
    )
    spans_splits = (posts.reason == CANDIDATE) & ~assigned.fits
    posts.reason[spans_splits] = REASONS.index(PostExclusion.SPANS_SPLITS)
    return assigned


def _choose_vocabulary(
    params: Sample,
    tables: _TagTables,
    posts: CandidatePosts,
    assigned: splits.SplitAssignment,
) -> VocabularyResult:
    """Returns the vocabulary; raises ImpossibleSample below two tags."""
    names = tables.policy_tags
    ambiguous = anomalies.two_categories(tables.tags)["name"]
    blocked = vocabularies.BlockedTags(
        names.young | names.opt_out, frozenset(ambiguous)
    )
    counts = _counts_by_code(posts, assigned, len(tables.relations.code))
    chosen = vocabularies.choose_vocabulary(
        params, tables.relations, counts, blocked, tables.listed
    )
    if chosen.vocabulary.height < 2:
        raise infeasible.empty_vocabulary_error(params, chosen)
    return chosen


def _choose_posts(
    params: Sample, records: LabelMatrix, vocabulary: VocabularyResult
) -> _Chosen:
    """Runs every strategy; raises ImpossibleSample where the chosen one falls short."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {
            name: pool.submit(choose, params, records)
            for name, choose in strategies.BY_NAME.items()
        }
        selections = {name: job.result() for name, job in jobs.items()}
    sample = strategies.fill_to_size(params, records, selections[params.strategy])
    positives = records.positives_of(sample.rows)
    infeasible.raise_if_short(params, vocabulary.vocabulary, positives)
    return _Chosen(vocabulary, selections, sample, positives)


def _write(
    params: Sample, paths: Paths, chosen: _Chosen, tables: Mapping[str, _Table]
) -> None:
    """Writes the vocabulary and the other tables, which are given by file name."""
    vocabulary = vocabularies.with_positives(
        chosen.vocabulary.vocabulary, chosen.positives
    )
    with files.atomic_folder(paths.sample) as draft:
        parquet.write(
            draft / "vocabulary.parquet",
            vocabulary,
            VOCABULARY,
            metadata={DECIDED_BY: _decided_by(params)},
        )
        for name, (table, schema) in tables.items():
            parquet.write(draft / f"{name}.parquet", table, schema)


def _report_tables(
    params: Sample,
    tables: _TagTables,
    posts: CandidatePosts,
    records: LabelMatrix,
    chosen: _Chosen,
) -> dict[str, _Table]:
    """Returns tables about the choice, by file name; no later stage reads them."""
    relations = tables.relations
    goal = strategies.targets(params)[:, None]
    compared = strategy_report.compare_strategies(
        records,
        np.minimum(goal, records.positives),
        chosen.selections,
        params.strategy,
        chosen.sample,
    )
    missing = label_noise.missing_implications(relations, posts.evidence)
    in_use = label_noise.aliases_in_use(relations, posts.evidence)
    label_names = chosen.vocabulary.vocabulary["name"].to_list()
    order = strategies.sampling_key(params, records)
    together = co_occurrence(relations, label_names, records, order)
    return {
        "excluded_tags": (chosen.vocabulary.excluded_tags, EXCLUDED_TAGS),
        "strategies": (compared, STRATEGIES),
        "missing_implications": (missing, MISSING_IMPLICATIONS),
        "aliases_in_use": (in_use, ALIASES_IN_USE),
        "co_occurrence": (together, CO_OCCURRENCE),
    }


def _decided_by(params: Sample) -> str:
    """Returns the parameters that made the tables, by section of params.yaml: JSON."""
    tree = {"sample": params.model_dump(mode="json")}
    return json.dumps(tree, sort_keys=True)


def _counts_by_code(
    posts: CandidatePosts, assigned: splits.SplitAssignment, codes: int
) -> NDArray[np.int64]:
    """Returns numbers of posts with each tag, int64 [5, codes].

    Rows: posts of the snapshot, candidates, and candidates in train, validation, test.
    """
    groups = len(SPLITS) + 1  # the last: not a candidate
    is_candidate = posts.reason == CANDIDATE
    group = np.where(is_candidate, assigned.split, len(SPLITS)).astype(np.int64)
    counts = np.zeros(groups * codes, dtype=np.int64)
    for first in range(0, len(group), _POSTS_AT_ONCE):
        starts = posts.starts[first : first + _POSTS_AT_ONCE + 1]
        offset = group[first : first + _POSTS_AT_ONCE] * codes
        keys = np.repeat(offset, np.diff(starts)) + posts.tags[starts[0] : starts[-1]]
        counts += np.bincount(keys, minlength=len(counts))
    by_group = counts.reshape(groups, codes)
    candidates = by_group[:-1].sum(axis=0)
    return np.stack(
        [posts.carried[:codes], candidates, *by_group[: len(TARGET_SPLITS)]]
    )


def _labels_by_code(relations: TagGraph, vocabulary: pl.DataFrame) -> NDArray[np.int64]:
    """Returns the label id by code, -1 for tags that are not in the vocabulary."""
    label_of = np.full(len(relations.code), -1, dtype=np.int64)
    codes = [relations.code[name] for name in vocabulary["name"]]
    label_of[codes] = vocabulary["label_id"].to_numpy()
    return label_of


def _count_per_split(records: LabelMatrix, sample: Selection) -> NDArray[np.int64]:
    """Returns [splits, 2]: candidates of each split, and those of them chosen."""
    candidates = np.bincount(records.split, minlength=len(SPLITS))
    chosen = np.bincount(records.split[sample.rows], minlength=len(SPLITS))
    return np.stack([candidates, chosen], axis=1)


def _summary(
    chosen: VocabularyResult,
    posts: CandidatePosts,
    counts: NDArray[np.int64],
) -> str:
    candidates, taken = counts.sum(axis=0).tolist()
    of_splits = ", ".join(
        f"{split} {count:,}"
        for split, count in zip(SPLITS, counts[:, 1].tolist(), strict=True)
        if count
    )
    excluded = len(posts.post_id) - candidates
    return (
        f"{chosen.vocabulary.height:,} tags, {taken:,} of {candidates:,} candidate "
        f"posts ({of_splits}); left out with their reasons: "
        f"{chosen.excluded_tags.height:,} tags and {excluded:,} posts"
    )


def _describe_anomalies(found: pl.DataFrame) -> Iterable[str]:
    """Yields a line per kind of anomaly that was worked around."""
    kinds = found.group_by("kind", maintain_order=True)
    first = pl.col("subject", "detail").first()
    for kind, count, subject, detail in kinds.agg(pl.len(), first).iter_rows():
        yield (
            f"{count:,} of {kind} in the snapshot, such as {subject} ({detail}); "
            "all in anomalies.parquet"
        )
