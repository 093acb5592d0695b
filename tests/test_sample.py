"""Sample: what a vocabulary tag can rely on, whatever the board."""

import numpy as np
import polars as pl
import pytest
from conftest import Project, make_project
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import harvest, policy, sample
from pipeline.errors import ImpossibleSample
from pipeline.params import Manifest
from pipeline.sample import cover, labels, splits
from sandbox.board import SandboxBoard
from sandbox.server import Site


def run(project: Project, **sample_changes: object) -> dict[str, pl.DataFrame]:
    params = project.params.model_copy(update={"sample": project.params.sample.model_copy(update=sample_changes)})
    harvest.run(params.harvest, project.paths, site=params.site)
    sample.run(params.sample, project.paths, since=params.harvest.since.isoformat(), manifest=params.manifest)
    return {path.stem: pl.read_parquet(path) for path in project.paths.sample.glob("*.parquet")}


def test_every_tag_has_its_positives_in_every_split(project: Project) -> None:
    tables = run(project)
    assert tables["vocabulary"].height >= 20
    for split, wanted in (("train", 40), ("validation", 2), ("test", 2)):
        posts = tables["posts"].filter(pl.col("split") == split)
        counts = posts["label_ids"].explode().value_counts()
        assert counts.height == tables["vocabulary"].height
        assert counts["count"].min() >= wanted


def test_tags_that_cannot_reach_it_are_listed_with_the_reason(project: Project) -> None:
    tables = run(project)
    reasons = dict(tables["left_out"].select("name", "reason").iter_rows())
    rare = tables["left_out"].filter(pl.col("reason") == "too_few_positives")
    assert rare["train_posts"].max() < 40
    assert reasons["young"] == "policy"
    assert reasons["heart"] == "aliased"  # of heart_symbol
    assert not set(reasons) & set(tables["vocabulary"]["name"])


def test_no_post_that_the_policy_refuses_is_sampled(project: Project, board: SandboxBoard) -> None:
    tables = run(project, ratings=["s", "q", "e"])
    chosen = set(tables["posts"]["post_id"])
    implying = {"young"}
    for _ in board.implications:  # any depth
        implying |= {
            one.antecedent_name
            for one in board.implications
            if one.consequent_name in implying and one.status == "active"
        }
    forbidden = {
        post.id
        for post in board.posts
        if post.is_deleted
        or (post.rating in "qe" and set(post.tags) & (implying | policy.YOUNG))
        or set(post.tags + post.locked_tags) & {"avoid_posting", "conditional_dnp"}
        or post.ext not in {"jpg", "png", "webp"}
    }
    assert len(forbidden) > 30
    assert not chosen & forbidden
    assert forbidden <= set(tables["dropped"]["post_id"])


def test_labels_are_closed_over_aliases_and_implications(project: Project) -> None:
    tables = run(project, categories=["species"], min_positives=10, min_eval_positives=0)
    ids = dict(tables["vocabulary"].select("name", "label_id").iter_rows())
    canine, fox = ids["canine"], ids["fox"]
    with_fox = tables["posts"].filter(pl.col("label_ids").list.contains(fox))
    assert with_fox.height >= 10
    assert with_fox["label_ids"].list.contains(canine).all()


def test_families_never_span_splits(project: Project) -> None:
    posts = run(project)["posts"]
    assert posts.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1


def test_same_snapshot_gives_the_same_bytes(project: Project) -> None:
    run(project)
    before = {path.name: path.read_bytes() for path in project.paths.sample.iterdir()}
    run(project)
    assert {path.name: path.read_bytes() for path in project.paths.sample.iterdir()} == before


def test_impossible_wish_names_the_tags_left_and_what_to_lower(project: Project) -> None:
    with pytest.raises(
        ImpossibleSample, match=r"^0 tags are left .* the commonest, \w+, has \d+.*Lower sample.min_pos"
    ):
        run(project, min_positives=100_000)


def test_size_fills_up_with_the_boards_own_mixture(project: Project) -> None:
    least = run(project)["posts"].height
    assert run(project, size=least + 30)["posts"].height == least + 30


def test_later_families_are_kept_apart_as_fresh(tmp_path, site: Site, board: SandboxBoard) -> None:  # type: ignore[no-untyped-def]
    day = sorted(post.created_at for post in board.posts)[450].date()
    project = make_project(tmp_path / "fresh", site, manifest={"fresh_after": str(day)}, sample={"min_positives": 20})
    posts = run(project)["posts"]
    assert posts.filter(pl.col("split") == "fresh").height > 20
    assert posts.filter(pl.col("split") == "fresh")["created_at"].dt.date().min() >= day


# The pure parts, over random boards.

PARENTS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=60)


@given(st.sets(st.integers(1, 60), min_size=1), PARENTS)
def test_family_is_the_smallest_id_of_all_linked_posts(ids: set[int], links: list[tuple[int, int]]) -> None:
    parent_of = {child: parent for child, parent in links if child in ids}
    posts = np.array(sorted(ids))
    group = dict(zip(posts, splits.families(posts, np.array([parent_of.get(post, -1) for post in posts])), strict=True))
    for child, parent in parent_of.items():
        assert group[child] <= min(child, parent)
        if parent in ids:
            assert group[child] == group[parent]


@given(st.sets(st.integers(1, 10**7), min_size=1), st.sets(st.integers(10**7, 2 * 10**7)))
def test_no_post_changes_its_split_when_the_board_grows(old: set[int], new: set[int]) -> None:
    def assigned(ids: set[int]) -> dict[int, str]:
        frame = pl.DataFrame({"post_id": sorted(ids)}).with_columns(
            parent_id=pl.lit(None, pl.Int64), created_at=pl.lit("2020-01-01").str.to_datetime(time_zone="UTC")
        )
        return dict(splits.assign(frame, Manifest()).select("post_id", "split").iter_rows())

    before, after = assigned(old), assigned(old | new)
    assert all(after[post] == split for post, split in before.items())


def test_splits_have_their_shares() -> None:
    place = splits.position(np.arange(200_000))
    assert abs((place < 0.9).mean() - 0.9) < 0.003


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 7), unique=True, max_size=8), max_size=60), st.integers(1, 12), st.integers(0, 9)
)
def test_cover_gives_every_tag_its_positives_or_all_there_are(posts: list[list[int]], target: int, seed: int) -> None:
    incidence = cover.incidence([sorted(post) for post in posts], 8)
    order = np.random.default_rng(seed).permutation(len(posts))
    rows = cover.cover(incidence, target, order)
    available = np.asarray(incidence.sum(axis=0)).ravel()
    got = np.asarray(incidence[rows].sum(axis=0)).ravel()
    assert (got >= np.minimum(available, target)).all()
    assert (np.diff(rows) > 0).all()


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=12))
def test_closure_reaches_all_that_can_be_reached_even_in_cycles(pairs: list[tuple[str, str]]) -> None:
    rows = [(i, a, c, "active") for i, (a, c) in enumerate(pairs)]
    schema = {"relation_id": pl.Int64, "antecedent": pl.String, "consequent": pl.String, "status": pl.String}
    tags = pl.DataFrame({"tag_id": list(range(6)), "name": list("abcdef"), "category": [0] * 6})
    relations = labels.Relations.read(
        tags, pl.DataFrame(schema=schema), pl.DataFrame(rows, schema=schema, orient="row")
    )
    for start in "abcdef":
        reached, frontier = set(), {start}
        while frontier:
            frontier = {c for a, c in pairs if a in frontier} - reached
            reached |= frontier
        assert relations.implied.get(start, frozenset()) == reached - {start}


def test_alias_chains_are_followed_and_relations_not_in_force_are_not() -> None:
    schema = {"relation_id": pl.Int64, "antecedent": pl.String, "consequent": pl.String, "status": pl.String}
    rows = [(1, "a", "b", "active"), (2, "b", "c", "queued"), (3, "d", "e", "pending"), (4, "e", "c", "retired")]
    tags = pl.DataFrame({"tag_id": list(range(5)), "name": list("abcde"), "category": [0] * 5})
    relations = labels.Relations.read(
        tags, pl.DataFrame(rows, schema=schema, orient="row"), pl.DataFrame(schema=schema)
    )
    assert relations.resolve(["a", "b", "c", "d", "e"]) == ["c", "d", "e"]
