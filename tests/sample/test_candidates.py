"""Labels and candidates.

Random boards read by number say what a plain reading of their names says.
"""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from pipeline import parquet, policy, sample
from pipeline.errors import CorruptFile, ImpossibleSample
from pipeline.params.sample import Sample, SplitShares
from pipeline.paths import Paths
from pipeline.sample import cover, strategies
from pipeline.sample.candidates import CandidatePosts, CandidateReader
from pipeline.sample.exclusions import CANDIDATE, REASONS
from pipeline.sample.label_matrix import LabelMatrix
from pipeline.schemas.snapshot import POSTS, RELATIONS, TAGS
from pipeline.tag_graph import TagGraph

NAMES = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "young",
    "cub",
    "avoid_posting",
    "animated",
    "comic",
    "nobody_knows",
]
KNOWN = NAMES[:-1]
SINCE = date(2020, 1, 3)  # the second post of a board is the first one after it
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=10)
POST = st.fixed_dictionaries({
    "tags": st.lists(st.sampled_from(NAMES), max_size=9, unique=True),
    "locked_tags": st.lists(st.sampled_from(["avoid_posting", "a", "-b"]), max_size=1),
    "rating": st.sampled_from("sqe"),
    "ext": st.sampled_from(["jpg", "png", "webp", "gif"]),
    "duration": st.sampled_from([None, None, None, 1.5]),
    "is_deleted": st.booleans(),
    "is_withheld": st.sampled_from([False, False, True]),
    "parent_id": st.sampled_from([None, None, 1, 2, 3, 40, 99]),
})  # fmt: skip
SLOW = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def relation_table(pairs: list[tuple[str, str]]) -> pl.DataFrame:
    rows = [
        (number, antecedent, consequent, "active")
        for number, (antecedent, consequent) in enumerate(pairs)
    ]
    schema = {
        "relation_id": pl.Int64,
        "antecedent": pl.String,
        "consequent": pl.String,
        "status": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def tag_table(names: list[str]) -> pl.DataFrame:
    return pl.DataFrame({
        "tag_id": list(range(1, len(names) + 1)), "name": names,
        "category": [0] * len(names),
        "post_count": [1] * len(names),
    })  # fmt: skip


def write(
    paths: Paths,
    posts: list[dict[str, Any]],
    aliases: list[tuple[str, str]],
    implications: list[tuple[str, str]],
    names: list[str] = KNOWN,
) -> None:
    rest = {
        "change_seq": 1, "ext": "png", "rating": "s", "width": 9, "height": 9,
        "file_size": 9, "duration": None,
        "parent_id": None, "is_deleted": False, "is_pending": False,
        "is_flagged": False, "is_withheld": False,
        "score": 0, "fav_count": 0, "locked_tags": [],
    }  # fmt: skip
    start = datetime(2020, 1, 1, tzinfo=UTC)
    rows = [
        {
            **rest,
            "post_id": n,
            "created_at": start + timedelta(days=n),
            "md5": f"{n:032x}",
            **post,
        }
        for n, post in enumerate(posts, 1)
    ]
    parquet.write(paths.snapshot / "posts.parquet", rows, POSTS)
    parquet.write(paths.snapshot / "tags.parquet", tag_table(names), TAGS)
    parquet.write(
        paths.snapshot / "aliases.parquet", relation_table(aliases), RELATIONS
    )
    parquet.write(
        paths.snapshot / "implications.parquet",
        relation_table(implications),
        RELATIONS,
    )


def read(
    paths: Paths, params: Sample
) -> tuple[TagGraph, CandidatePosts, policy.PolicyTags, CandidateReader]:
    tags, aliases, implications = (
        parquet.read(paths.snapshot / f"{name}.parquet")
        for name in ("tags", "aliases", "implications")
    )
    relations, names = (
        TagGraph.read(tags, aliases, implications),
        policy.PolicyTags.read(implications, aliases),
    )
    reader = CandidateReader(params, relations, names)
    return relations, reader.read(paths.snapshot / "posts.parquet"), names, reader


@SLOW
@given(st.lists(POST, min_size=1, max_size=40), PAIRS, PAIRS)
def test_reading_by_number_agrees_with_the_policy_and_with_sets_of_names(
    tmp_path: Path,
    posts: list[dict[str, Any]],
    aliases: list[tuple[str, str]],
    implications: list[tuple[str, str]],
) -> None:
    paths = Paths(tmp_path)
    params = Sample(min_tags=2, ratings=["s", "q"], since=SINCE)
    write(paths, posts, aliases, implications)
    relations, found, names, _ = read(paths, params)
    table = parquet.read(paths.snapshot / "posts.parquet")
    verdicts = table.select(policy.exclusion_reason(names)).to_series().to_list()
    for number, post in enumerate(table.iter_rows(named=True)):
        given = {relations.canonical.get(name, name) for name in post["tags"]}
        closed = given.union(
            *(relations.implied.get(name, frozenset()) for name in given)
        ) & set(KNOWN)
        wanted = verdicts[number] or (
            "rating" if post["rating"] == "e"
            else "before_since" if post["post_id"] < 2
            else "excluded_tag" if relations.canonical.get("comic", "comic") in closed
            else "too_few_tags" if len(closed) < 2
            else None
        )  # fmt: skip
        reason = found.reason[number]
        assert (None if reason == CANDIDATE else REASONS[reason]) == wanted
        if wanted is None:
            here = slice(found.starts[number], found.starts[number + 1])
            labels = [relations.tags["name"][int(code)] for code in found.tags[here]]
            assert sorted(labels) == [name for name in sorted(KNOWN) if name in closed]
            assert found.given[here].tolist() == [name in given for name in labels]
            assert found.tag_count[number] == len(closed)


@SLOW
@given(
    st.lists(st.lists(st.sampled_from("abcdefg"), unique=True), max_size=30),
    PAIRS,
    PAIRS,
)
def test_noise_counts_what_is_missing_and_misspelt(
    tmp_path: Path,
    posts: list[list[str]],
    aliases: list[tuple[str, str]],
    implications: list[tuple[str, str]],
) -> None:
    paths = Paths(tmp_path)
    write(paths, [{"tags": tags} for tags in [["a"], *posts]], aliases, implications)
    relations, found, names, reader = read(paths, Sample(min_tags=0, since=SINCE))
    seen = [
        tags for number, tags in enumerate([["a"], *posts], 1)
        if number >= 2 and not set(tags) & (names.opt_out | policy.ANIMATED_TAGS)
    ]  # fmt: skip
    for name in KNOWN:
        assert found.evidence.spelled[reader.codes.code[name]] == sum(
            name in tags for tags in seen
        )
    given = [{relations.canonical.get(name, name) for name in tags} for tags in seen]
    closure, every = relations.closure(), list(relations.code)
    for name, reached in relations.implied.items():
        code = relations.code[name]
        for entry in range(closure.starts[code], closure.starts[code + 1]):
            consequent = every[closure.codes[entry]]
            assert consequent in reached
            assert found.evidence.lacking[entry] == sum(
                name in tags and consequent not in tags for tags in given
            )


PLAIN = "abcdefg"
PLAIN_PAIRS = st.lists(
    st.tuples(st.sampled_from(PLAIN), st.sampled_from(PLAIN)), max_size=4
)


def ordinary_posts(seed: int, count: int = 150) -> list[dict[str, Any]]:
    """Returns posts that may be sampled, each with one to five plain tags."""
    random = np.random.default_rng(seed)
    posts = []
    for _ in range(count):
        tags = random.choice(list(PLAIN), size=random.integers(1, 6), replace=False)
        parent = int(random.integers(1, count)) if random.random() < 0.2 else None
        posts.append({"tags": tags.tolist(), "parent_id": parent})
    return posts


def test_promises_hold_on_any_board(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()

    @SLOW
    @given(
        st.integers(0, 2**32 - 1),
        st.lists(POST, max_size=20),
        PLAIN_PAIRS,
        st.sampled_from(["cover", "natural"]),
        st.integers(0, 3),
    )
    def sample_a_board(
        board_seed: int,
        odd_posts: list[dict[str, Any]],
        implications: list[tuple[str, str]],
        strategy: str,
        seed: int,
    ) -> None:
        paths = Paths(tmp_path)
        write(paths, [*ordinary_posts(board_seed), *odd_posts], [], implications)
        params = Sample.model_validate(
            {
                "min_positives": 2,
                "min_eval_positives": 1,
                "min_tags": 1,
                "ratings": ["s", "q"],
                "strategy": strategy,
                "seed": seed,
                "split": {"train": 0.4, "validation": 0.3, "test": 0.3},
            }
        )
        try:
            sample.run(params, paths)
        except ImpossibleSample:
            outcomes["impossible"] += 1
            return
        outcomes["sampled"] += 1
        assert_every_tag_has_its_positives(paths)
        assert_no_family_spans_splits(paths)
        assert_no_excluded_post_is_sampled(paths, implications)

    sample_a_board()
    assert outcomes["sampled"] >= 0.9 * outcomes.total()


def assert_every_tag_has_its_positives(paths: Paths) -> None:
    written = parquet.read(paths.sample / "posts.parquet")
    vocabulary = parquet.read(paths.sample / "vocabulary.parquet")
    for split, minimum in (("train", 2), ("validation", 1), ("test", 1)):
        in_split = written.filter(pl.col("split") == split)
        labels = in_split["label_ids"].explode().drop_nulls()
        counts = np.bincount(labels.to_numpy(), minlength=vocabulary.height)
        assert counts.min() >= minimum
        assert counts.tolist() == vocabulary[f"{split}_positives"].to_list()


def assert_no_family_spans_splits(paths: Paths) -> None:
    written = parquet.read(paths.sample / "posts.parquet")
    splits_of_family = written.group_by("group_id").agg(pl.col("split").n_unique())
    assert splits_of_family["split"].max() == 1


def assert_no_excluded_post_is_sampled(
    paths: Paths, implications: list[tuple[str, str]]
) -> None:
    written = set(parquet.read(paths.sample / "posts.parquet")["post_id"])
    excluded = set(parquet.read(paths.sample / "excluded_posts.parquet")["post_id"])
    assert not excluded & written
    names = policy.PolicyTags.read(relation_table(implications), relation_table([]))
    table = parquet.read(paths.snapshot / "posts.parquet")
    reason = table.select(policy.exclusion_reason(names)).to_series()
    assert not set(table.filter(reason.is_not_null())["post_id"]) & written


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=12
    )
)
def test_closure_reaches_all_that_can_be_reached_even_in_cycles(
    pairs: list[tuple[str, str]],
) -> None:
    relations = TagGraph.read(
        tag_table(list("abcdef")), relation_table([]), relation_table(pairs)
    )
    for start in "abcdef":
        reached, frontier = set(), {start}
        while frontier:
            frontier = {c for a, c in pairs if a in frontier} - reached
            reached |= frontier
        assert relations.implied.get(start, frozenset()) == reached - {start}


def test_alias_chains_are_followed_and_relations_not_in_force_are_not() -> None:
    aliases = relation_table(
        [("a", "b"), ("b", "c"), ("d", "e"), ("e", "c")]
    ).with_columns(status=pl.Series(["active", "queued", "pending", "retired"]))
    relations = TagGraph.read(tag_table(list("abcde")), aliases, relation_table([]))
    assert relations.resolve(["a", "b", "c", "d", "e"]) == ["c", "d", "e"]


def test_posts_out_of_order_are_refused_by_their_ids(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    write(paths, [{"tags": ["a"], "post_id": 7}, {"tags": ["a"], "post_id": 5}], [], [])
    with pytest.raises(CorruptFile, match="not ordered by post_id: 5 follows 7"):
        read(paths, Sample())


def test_board_without_posts_is_an_impossible_sample(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    write(paths, [], [], [])
    with pytest.raises(ImpossibleSample, match="0 tags are left"):
        sample.run(Sample(), paths)


@pytest.mark.parametrize(
    ("posts", "reason"),
    [
        (49, "too_few_positives"),
        (50, "lacks_reserve"),
        (54, "lacks_reserve"),
        (55, None),
    ],
)
def test_reserve_is_rounded_up_to_whole_images(
    tmp_path: Path, posts: int, reason: str | None
) -> None:
    paths = Paths(tmp_path)
    names = [["a", "b", "g"]] * posts + [["a", "b"]] * 10
    write(paths, [{"tags": tags} for tags in names], [], [])
    # 50 * 1.1 is 55.00000000000001 in binary.
    params = Sample(min_positives=50, min_eval_positives=0, min_tags=0, reserve=0.1)
    everything = {"train": 1.0, "validation": 0.0, "test": 0.0}
    params = params.model_copy(update={"split": SplitShares(**everything)})
    sample.run(params, paths)
    tags = parquet.read(paths.sample / "excluded_tags.parquet")
    reasons = dict(tags.select("name", "reason").iter_rows())
    assert reasons.get("g") == reason


def test_anomalies_of_tags_relations_and_parents_are_rows(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    posts = [{"tags": list("abg")} for _ in range(40)]
    posts[3]["parent_id"], posts[4]["parent_id"], posts[5]["parent_id"] = 5, 4, 999
    write(
        paths,
        posts,
        [("x", "nowhere"), ("y", "z"), ("z", "y")],
        [("a", "b"), ("b", "a")],
        [*KNOWN, "g"],
    )
    tags = parquet.read(paths.snapshot / "tags.parquet")
    twice = tags.with_columns(
        category=pl.when(pl.col("tag_id") == 13).then(5).otherwise("category")
    )
    parquet.write(paths.snapshot / "tags.parquet", twice, TAGS)
    params = Sample(min_positives=1, min_eval_positives=0, min_tags=0)
    sample.run(params, paths)
    rows = {
        (row[0], row[1])
        for row in parquet.read(paths.sample / "anomalies.parquet").iter_rows()
    }
    assert rows == {
        ("two_categories", "g"), ("alias_to_nothing", "x"), ("alias_cycle", "y"),
        ("alias_cycle", "z"),
        ("implication_cycle", "a"), ("implication_cycle", "b"), ("missing_parent", "6"),
        ("parent_cycle", "4"),
        ("parent_cycle", "5"),
    }  # fmt: skip
    left_out = dict(
        parquet.read(paths.sample / "excluded_tags.parquet")
        .select("name", "reason")
        .iter_rows()
    )
    assert left_out["g"] == "two_categories"


def test_artists_that_the_site_has_not_listed_yet_keep_their_posts_out(
    tmp_path: Path,
) -> None:
    """Tags and posts are exported at different moments.

    Once listed, the artist's own id would tell the split.
    """
    paths = Paths(tmp_path)
    signed = [
        ["new_artist"],
        ["unknown_artist"],
    ]  # the other name is not listed either, but known to be nobody's
    write(
        paths, [{"tags": [*"ab", *signed[number % 2]]} for number in range(40)], [], []
    )
    params = Sample(min_positives=1, min_eval_positives=0, min_tags=0, size=40)
    for together in (True, False):
        by_artist = params.model_copy(update={"group_by_artist": together})
        sample.run(by_artist, paths)
        excluded = parquet.read(paths.sample / "excluded_posts.parquet")
        assert excluded.height == (20 if together else 0)
        assert set(excluded["reason"]) <= {"spans_splits"}


def matrix(posts: list[list[int]], vocabulary: int = 8) -> LabelMatrix:
    """Returns records of one split with these labels; the ids are 1, 2, ..."""
    lengths = [len(post) for post in posts]
    ends = np.cumsum([0, *lengths])
    ids = np.array([label for post in posts for label in post], dtype=np.int32)
    ones = np.ones(len(ids), dtype=np.int8)
    labels = csr_array((ones, ids, ends), shape=(len(posts), vocabulary))
    return LabelMatrix(
        np.arange(1, len(posts) + 1),
        np.zeros(len(posts), np.int8),
        np.array(lengths, np.int32),
        labels,
        labels,
    )


BOARDS = st.lists(st.lists(st.integers(0, 7), unique=True, max_size=8), max_size=60)


@settings(deadline=None)
@given(BOARDS, st.integers(1, 12), st.integers(0, 9), st.sampled_from([0.3, 0.75, 1.0]))
def test_cover_gives_every_tag_its_positives_or_all_there_are(
    posts: list[list[int]], target: int, seed: int, bound: float
) -> None:
    records = matrix(posts)
    order = np.random.default_rng(seed).permutation(len(posts)).astype(np.uint64)
    picked = cover.greedy_cover(records, np.array([target, 0, 0]), order, bound)
    wanted = np.minimum(records.positives[0], target)
    got = records.positives_of(picked.rows)[0]
    assert (got >= wanted).all()
    assert (np.diff(picked.rows) > 0).all()
    labels = picked.selected_for.tolist()
    for row, label in zip(picked.rows.tolist(), labels, strict=True):
        assert label in posts[row]
        assert any(got[one] <= wanted[one] for one in posts[row]), (
            "nothing superfluous is kept"
        )


def test_cover_goes_on_where_all_posts_of_a_round_have_become_worthless() -> None:
    """After one post of a tag, more others of it than a round examines are no use."""
    posts = [
        [label] for label, count in enumerate((10, 20, 40, 80)) for _ in range(count)
    ]
    order = np.arange(len(posts), dtype=np.uint64)
    picked = cover.greedy_cover(matrix(posts), np.array([1, 0, 0]), order, 1.0)
    assert [posts[row] for row in picked.rows] == [[0], [1], [2], [3]]


@settings(deadline=None)
@given(BOARDS, st.integers(1, 6), st.integers(0, 5))
def test_quota_is_what_a_plain_loop_gives(
    posts: list[list[int]], target: int, offset: int
) -> None:
    posts = [[*post, *range(8, 24)] for post in posts]
    params = Sample(
        min_positives=target, min_eval_positives=0, reserve=0, quota_offset=offset
    )
    left, wanted = [target] * 24, {}
    for row in reversed(range(max(0, len(posts) - offset))):
        for label in sorted(posts[row], reverse=True):
            if left[label]:
                left[label] -= 1
                wanted[row] = label
                break
    picked = strategies.by_quota(params, matrix(posts, 24))
    assert (
        dict(zip(picked.rows.tolist(), picked.selected_for.tolist(), strict=True))
        == wanted
    )
