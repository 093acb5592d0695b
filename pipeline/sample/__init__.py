"""Sample: which tags the model will know, and which posts it will learn them from.

Reads       data/snapshot/*.parquet, sample.tags_file
Writes      data/sample/vocabulary.parquet          schemas.VOCABULARY
            data/sample/left_out.parquet            schemas.EXCLUDED_TAGS
            data/sample/posts.parquet               schemas.SAMPLED_POSTS
            data/sample/dropped.parquet             schemas.EXCLUDED_POSTS
            data/sample/strategies.parquet          schemas.STRATEGIES
            data/sample/lacking_implied.parquet     schemas.MISSING_IMPLICATIONS
            data/sample/aliased_spellings.parquet   schemas.ALIASES_IN_USE
            data/sample/co_occurrence.parquet       schemas.CO_OCCURRENCE
            data/sample/oddities.parquet            schemas.ANOMALIES
Guarantees  every vocabulary tag has at least min_positives training posts and
            min_eval_positives validation and test posts, each plus `reserve` as far as
            the snapshot has them; no post that the policy refuses; families of parents
            and children never span splits; a post never changes its split, whatever
            happens on the board (with group_by_artist: as long as its artist stays): it
            may leave the sample; same snapshot and parameters, same bytes.
"""

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import files, parquet, policy, progress
from pipeline.params import Manifest, Sample
from pipeline.paths import SPLITS, Paths
from pipeline.sample import (
    anomalies,
    infeasible,
    label_noise,
    splits,
    strategies,
    strategy_report,
)
from pipeline.sample import vocabulary as vocabularies
from pipeline.sample.candidates import (
    CANDIDATE,
    REASONS,
    CandidatePosts,
    CandidateReader,
)
from pipeline.sample.cover import Selection
from pipeline.sample.label_matrix import JUDGED, LabelMatrix
from pipeline.sample.tag_graph import TagGraph
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

DECIDED_BY = "decided_by"
"""Key of the parameters in the metadata of vocabulary.parquet.

What is told of it later holds for them.
"""

FROM_SNAPSHOT = (
    "change_seq",
    "md5",
    "ext",
    "rating",
    "width",
    "height",
    "file_size",
    "created_at",
)
"""Columns of schemas.SAMPLED_POSTS that are the snapshot's."""


def run(params: Sample, paths: Paths, *, since: str, manifest: Manifest) -> None:
    """Chooses tags, then posts.

    `since`: ISO date; `manifest`: its split shares, fresh_after and group_by_artist.
    """
    listed = (
        vocabularies.listed_names(paths.root / params.tags_file)
        if params.tags_file
        else None
    )
    tags, aliases, implications = (
        parquet.read(paths.snapshot / f"{name}.parquet")
        for name in ("tags", "aliases", "implications")
    )
    relations = TagGraph.read(tags, aliases, implications)
    names = policy.PolicyTags.read(implications, aliases)
    artists = (
        splits.splits_of_artists(relations, manifest)
        if manifest.group_by_artist
        else None
    )
    reader = CandidateReader(
        params, since, relations, names, artist_split=artists, listed=listed or ()
    )
    posts = reader.read(paths.snapshot / "posts.parquet")
    assigned = splits.assign(
        posts.post_id, posts.parent_id, posts.created, posts.artist_split, manifest
    )
    posts.reason[(posts.reason == CANDIDATE) & ~assigned.fits] = REASONS.index(
        PostExclusion.SPANS_SPLITS
    )

    refused = vocabularies.BlockedTags(
        names.young | names.opt_out, frozenset(anomalies.two_categories(tags)["name"])
    )
    chosen = vocabularies.choose_vocabulary(
        params,
        relations,
        _counts(posts, assigned, len(relations.code)),
        refused,
        listed,
    )
    if chosen.vocabulary.height < 2:
        raise infeasible.empty_vocabulary_error(params, chosen)
    records = LabelMatrix.make(posts, assigned, _label_of(relations, chosen.vocabulary))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {
            name: pool.submit(choose, params, records)
            for name, choose in strategies.BY_NAME.items()
        }
        picked = {name: job.result() for name, job in jobs.items()}
    sample = strategies.fill_to_size(params, records, picked[params.strategy])
    wanted = np.minimum(strategies.targets(params)[:, None], records.positives)
    positives = records.positives_of(sample.rows)
    infeasible.raise_if_short(params, chosen.vocabulary, positives)
    with files.atomic_folder(paths.sample) as draft:
        tables = {
            "posts": (
                _sampled(paths, posts, assigned, records, sample),
                SAMPLED_POSTS,
            ),
            "vocabulary": (
                vocabularies.with_positives(chosen.vocabulary, positives),
                VOCABULARY,
            ),
            "left_out": (chosen.left_out, EXCLUDED_TAGS),
            "dropped": (_dropped(posts, assigned), EXCLUDED_POSTS),
            "strategies": (
                strategy_report.compare_strategies(
                    records, wanted, picked, params.strategy, sample
                ),
                STRATEGIES,
            ),
            "lacking_implied": (
                label_noise.missing_implications(relations, posts.evidence),
                MISSING_IMPLICATIONS,
            ),
            "aliased_spellings": (
                label_noise.aliases_in_use(relations, posts.evidence),
                ALIASES_IN_USE,
            ),
            "co_occurrence": (
                label_noise.co_occurrence(
                    relations,
                    chosen.vocabulary["name"].to_list(),
                    records,
                    strategies.sampling_key(params, records),
                ),
                CO_OCCURRENCE,
            ),
            "oddities": (
                anomalies.find_anomalies(tags, aliases, relations, posts),
                ANOMALIES,
            ),
        }
        note = {DECIDED_BY: _decided_by(params, since, manifest)}
        for name, (table, schema) in tables.items():
            parquet.write(
                draft / f"{name}.parquet",
                table,
                schema,
                metadata=note if name == "vocabulary" else None,
            )
    counts = _of_splits(records, sample)
    for line in (
        _summary(chosen, posts, records, counts),
        *infeasible.warnings(params, chosen, listed, relations, reader.policed, counts),
        *_odd(tables["oddities"][0]),
    ):
        progress.log(f"sample: {line}")


def _decided_by(params: Sample, since: str, manifest: Manifest) -> str:
    """Returns the parameters that made the tables, as JSON by section of params.yaml."""
    splitting = manifest.model_dump(
        mode="json", include={"split", "fresh_after", "group_by_artist"}
    )
    tree = {
        "harvest": {"since": since},
        "sample": params.model_dump(mode="json"),
        "manifest": splitting,
    }
    return json.dumps(tree, sort_keys=True)


def _counts(
    posts: CandidatePosts, assigned: splits.SplitAssignment, codes: int
) -> NDArray[np.int64]:
    """Returns [5, codes]: posts with each tag, those of them that are candidates.

    And these in train to test.
    """
    kinds = len(SPLITS) + 1  # the last: not a candidate
    kind = np.where(posts.reason == CANDIDATE, assigned.split, len(SPLITS)).astype(
        np.int64
    )
    counts = np.zeros(kinds * codes, dtype=np.int64)
    step = 200_000  # posts at once; bounds memory
    for first in range(0, len(kind), step):
        starts = posts.starts[first : first + step + 1]
        of_post = np.repeat(kind[first : first + step] * codes, np.diff(starts))
        counts += np.bincount(
            of_post + posts.tags[starts[0] : starts[-1]], minlength=len(counts)
        )
    by_kind = counts.reshape(kinds, codes)
    return np.stack(
        [posts.carried[:codes], by_kind[:-1].sum(axis=0), *by_kind[: len(JUDGED)]]
    )


def _label_of(relations: TagGraph, vocabulary: pl.DataFrame) -> NDArray[np.int64]:
    """Returns the label id by code, -1 for tags that are not in the vocabulary."""
    label_of = np.full(len(relations.code), -1, dtype=np.int64)
    label_of[[relations.code[name] for name in vocabulary["name"]]] = vocabulary[
        "label_id"
    ].to_numpy()
    return label_of


def _sampled(
    paths: Paths,
    posts: CandidatePosts,
    assigned: splits.SplitAssignment,
    records: LabelMatrix,
    sample: Selection,
) -> pl.DataFrame:
    """Returns schemas.SAMPLED_POSTS of the rows picked."""
    rows = np.searchsorted(posts.post_id, records.post_id[sample.rows])
    label_ids, given_ids = records.lists(sample.rows)
    taken_for = pl.Series(sample.taken_for, dtype=pl.Int32)
    columns = pl.DataFrame({
        "post_id": posts.post_id[rows],
        "group_id": assigned.group_id[rows],
        "split": pl.Series(SPLITS).gather(assigned.split[rows]),
        "candidate_tags": posts.candidate_tags[rows],
        "label_ids": label_ids,
        "given_ids": given_ids,
        "taken_for": taken_for.set(taken_for < 0, None),
    })  # fmt: skip
    return columns.hstack(_from_snapshot(paths, rows))


def _from_snapshot(paths: Paths, rows: NDArray[np.int64]) -> pl.DataFrame:
    """Returns FROM_SNAPSHOT of these rows of posts.parquet, ascending, holding a row group per core at a time."""
    path = paths.snapshot / "posts.parquet"
    metadata = pq.read_metadata(path)
    ends = np.cumsum(
        [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    )
    cuts = np.searchsorted(rows, np.concatenate([[0], ends]))

    def part(group: int) -> pl.DataFrame:
        here = rows[cuts[group] : cuts[group + 1]] - (ends[group - 1] if group else 0)
        file = pq.ParquetFile(path, metadata=metadata)
        return pl.DataFrame(
            pl.from_arrow(
                file.read_row_group(group, list(FROM_SNAPSHOT), use_threads=False)
            )
        )[here]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return pl.concat(pool.map(part, np.flatnonzero(np.diff(cuts)).tolist()))


def _dropped(posts: CandidatePosts, assigned: splits.SplitAssignment) -> pl.DataFrame:
    rows = np.flatnonzero(posts.reason != CANDIDATE)
    reason = pl.Series(REASONS).gather(posts.reason[rows])
    spans = posts.reason[rows] == REASONS.index(PostExclusion.SPANS_SPLITS)
    group = pl.Series(assigned.group_id[rows]).set(~pl.Series(spans), None)
    return pl.DataFrame(
        {"post_id": posts.post_id[rows], "reason": reason, "group_id": group}
    )


def _summary(
    chosen: vocabularies.VocabularyResult,
    posts: CandidatePosts,
    records: LabelMatrix,
    counts: NDArray[np.int64],
) -> str:
    taken = zip(SPLITS, counts[:, 1].tolist(), strict=True)
    of_splits = ", ".join(f"{split} {count:,}" for split, count in taken if count)
    dropped = len(posts.post_id) - len(records.post_id)
    return (
        f"{chosen.vocabulary.height:,} tags, {counts[:, 1].sum():,} of "
        f"{counts[:, 0].sum():,} candidate posts "
        f"({of_splits}); {chosen.left_out.height:,} tags and {dropped:,} posts left "
        "out, with reasons"
    )


def _of_splits(records: LabelMatrix, sample: Selection) -> NDArray[np.int64]:
    """Returns [splits, 2]: candidates of each split.

    And those of them that were chosen.
    """
    return np.stack(
        [
            np.bincount(split, minlength=len(SPLITS))
            for split in (records.split, records.split[sample.rows])
        ],
        axis=1,
    )


def _odd(found: pl.DataFrame) -> Iterable[str]:
    """Says what was worked around, a line per kind."""
    for kind, count, subject, detail in (
        found.group_by("kind", maintain_order=True)
        .agg(pl.len(), pl.col("subject", "detail").first())
        .iter_rows()
    ):
        yield f"{count:,} of {kind} in the snapshot, such as {subject} ({detail}); all in oddities.parquet"
