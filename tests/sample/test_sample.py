"""Sample: what a vocabulary tag can rely on, whatever the board."""

import polars as pl
import pytest

from pipeline import explain, harvest, policy, sample
from pipeline.errors import BadParameter
from sandbox.board.drawn import SandboxBoard
from sandbox.server.app import Site
from tests.builders.project import Project, make_project


def run(project: Project, **sample_changes: object) -> dict[str, pl.DataFrame]:
    params = project.params.model_copy(
        update={"sample": project.params.sample.model_copy(update=sample_changes)}
    )
    harvest.run(params.harvest, project.paths, site=params.site)
    sample.run(params.sample, project.paths)
    return {
        path.stem: pl.read_parquet(path)
        for path in project.paths.sample.glob("*.parquet")
    }


def test_every_tag_has_its_positives_in_every_split(project: Project) -> None:
    tables = run(project)
    assert tables["vocabulary"].height >= 20
    for split, wanted in (("train", 42), ("validation", 3), ("test", 3)):
        posts = tables["posts"].filter(pl.col("split") == split)
        counts = posts["label_ids"].explode().value_counts()
        assert counts.height == tables["vocabulary"].height
        assert counts["count"].min() >= wanted


@pytest.mark.parametrize("strategy", ["cover", "natural"])
def test_only_tags_that_have_their_reserve_are_learnt(
    project: Project, strategy: str
) -> None:
    before = run(project, reserve=0.0)["vocabulary"]
    tables = run(project, reserve=0.5, strategy=strategy)
    vocabulary, excluded = tables["vocabulary"], tables["excluded_tags"]
    short = excluded.filter(pl.col("reason") == "lacks_reserve")
    assert short.height > 3
    assert set(short["name"]) | set(vocabulary["name"]) == set(before["name"])
    few = pl.col("train_posts") < 60
    for split in ("validation", "test"):
        few |= pl.col(f"{split}_posts") < 3
        assert vocabulary[f"{split}_positives"].min() >= 3
        assert short[f"{split}_posts"].min() >= 2
    assert short.select(few.all()).item()
    assert short["train_posts"].min() >= 40
    assert vocabulary["train_positives"].min() >= 60


def test_tag_that_lacks_its_reserve_is_explained(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = project.params.sample.model_copy(update={"reserve": 0.5})
    params = project.params.model_copy(update={"sample": changed})
    tags = run(project, reserve=0.5)["excluded_tags"]
    name = tags.filter(pl.col("reason") == "lacks_reserve")["name"][0]
    capsys.readouterr()
    explain.run(params, project.paths, name)
    output = capsys.readouterr().out
    assert "left out (lacks_reserve): " in output
    assert "test posts are enough, but not with sample.reserve 0.5" in output


def test_tags_come_by_frequency_then_by_name(project: Project) -> None:
    tables = run(project)
    for name in ("vocabulary", "excluded_tags"):
        found = tables[name].select("candidate_posts", "name")
        ordered = found.sort(["candidate_posts", "name"], descending=[True, False])
        assert found.equals(ordered), name
    assert tables["excluded_tags"]["candidate_posts"].is_duplicated().any()


def test_tags_that_cannot_reach_it_are_listed_with_the_reason(project: Project) -> None:
    tables = run(project)
    reasons = dict(tables["excluded_tags"].select("name", "reason").iter_rows())
    rare = tables["excluded_tags"].filter(pl.col("reason") == "too_few_positives")
    assert rare["train_posts"].max() < 40
    assert reasons["young"] == "policy"
    assert reasons["heart"] == "aliased"  # of heart_symbol
    assert not set(reasons) & set(tables["vocabulary"]["name"])


def test_no_post_that_the_policy_refuses_is_sampled(
    project: Project, board: SandboxBoard
) -> None:
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
    assert forbidden <= set(tables["excluded_posts"]["post_id"])


def test_labels_are_closed_over_aliases_and_implications(project: Project) -> None:
    tables = run(
        project, categories=["species"], min_positives=10, min_eval_positives=0
    )
    ids = dict(tables["vocabulary"].select("name", "label_id").iter_rows())
    canine, fox = ids["canine"], ids["fox"]
    with_fox = tables["posts"].filter(pl.col("label_ids").list.contains(fox))
    assert with_fox.height >= 10
    assert with_fox["label_ids"].list.contains(canine).all()


def test_families_never_span_splits(project: Project) -> None:
    posts = run(project)["posts"]
    assert (
        posts.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1
    )


def test_same_snapshot_gives_the_same_bytes(project: Project) -> None:
    run(project)
    before = {path.name: path.read_bytes() for path in project.paths.sample.iterdir()}
    run(project)
    assert {
        path.name: path.read_bytes() for path in project.paths.sample.iterdir()
    } == before


def test_size_fills_up_with_the_boards_own_mixture(project: Project) -> None:
    least = run(project)["posts"].height
    assert run(project, size=least + 30)["posts"].height == least + 30


def test_later_families_are_kept_apart_as_fresh(
    tmp_path, site: Site, board: SandboxBoard
) -> None:  # type: ignore[no-untyped-def]
    day = sorted(post.created_at for post in board.posts)[450].date()
    project = make_project(
        tmp_path / "fresh",
        site,
        sample={"min_positives": 20, "fresh_after": str(day)},
    )
    posts = run(project)["posts"]
    assert posts.filter(pl.col("split") == "fresh").height > 20
    assert posts.filter(pl.col("split") == "fresh")["created_at"].dt.date().min() >= day


def test_every_strategy_is_compared_and_the_chosen_one_is_written(
    project: Project,
) -> None:
    tables = run(project)
    found = {row["strategy"]: row for row in tables["strategies"].iter_rows(named=True)}
    assert list(found) == ["cover", "quota", "natural", "sample", "all_candidates"]
    assert (
        found["cover"]["posts"]
        < found["natural"]["posts"]
        <= found["all_candidates"]["posts"]
    )
    assert found["sample"]["posts"] == tables["posts"].height
    assert found["cover"]["tags_below_target"] == 0
    assert found["all_candidates"]["total_variation"] == 0
    assert (
        found["cover"]["min_positives_reached"]
        == tables["vocabulary"]["train_positives"].min()
    )


def test_posts_with_very_many_tags_are_taken_only_where_needed(
    project: Project,
) -> None:
    means = {}
    for bound in (0.75, 1.0):
        tables = run(project, tag_bound=bound)
        means[bound] = tables["strategies"].filter(pl.col("strategy") == "cover")[
            "mean_tags"
        ][0]
    assert means[0.75] < means[1.0]


def test_every_post_says_which_tag_it_was_taken_for(project: Project) -> None:
    posts = run(project)["posts"]
    least = posts.height
    assert posts["selected_for"].null_count() == 0
    assert posts.select(
        pl.col("label_ids").list.contains(pl.col("selected_for")).all()
    ).item()
    filled = run(project, size=least + 30)["posts"]
    assert filled["selected_for"].null_count() == 30


def test_natural_without_a_size_goes_on_until_every_tag_is_served(
    project: Project,
) -> None:
    assert run(project, strategy="natural")["vocabulary"]["train_positives"].min() >= 40


def test_listed_tags_alone_are_learnt_and_each_other_name_has_its_reason(
    project: Project,
) -> None:
    (project.paths.root / "wanted.txt").write_text(
        "# mine\nsolo\nheart\nfox # a species\n\nno such tag\nyoung\n"
    )
    tables = run(project, tags_file="wanted.txt", min_positives=5, min_eval_positives=0)
    assert set(tables["vocabulary"]["name"]) == {
        "solo",
        "heart_symbol",
    }  # which heart is an alias of
    reasons = dict(tables["excluded_tags"].select("name", "reason").iter_rows())
    assert (reasons["fox"], reasons["no_such_tag"], reasons["young"]) == (
        "other_category",
        "unknown",
        "policy",
    )
    assert reasons["anthro"] == "not_listed"


def test_list_of_a_windows_editor_is_read_and_names_beyond_the_vocabulary_are_said(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.paths.root / "wanted.txt").write_bytes(
        b"\xef\xbb\xbfsolo\r\nheart\t# mine\r\nsolo\r\nanthro\r\n"
    )
    tables = run(
        project,
        tags_file="wanted.txt",
        min_positives=5,
        min_eval_positives=0,
        vocabulary_size=2,
    )
    reasons = dict(tables["excluded_tags"].select("name", "reason").iter_rows())
    assert set(tables["vocabulary"]["name"]) == {"solo", "anthro"}
    assert reasons["heart_symbol"] == "beyond_vocabulary_size"
    assert "unknown" not in reasons.values()
    assert "left out (beyond_vocabulary_size): heart_symbol" in capsys.readouterr().err


def test_list_without_a_tag_is_refused(project: Project) -> None:
    (project.paths.root / "wanted.txt").write_text("# nothing yet\n\n")
    with pytest.raises(BadParameter, match=r"wanted\.txt lists no tag"):
        run(project, tags_file="wanted.txt")


def test_tags_of_a_pattern_are_not_learnt_but_their_posts_may_be_sampled(
    project: Project,
) -> None:
    tables = run(project, exclude_patterns=["*_view", "sol?"])
    by_pattern = tables["excluded_tags"].filter(pl.col("reason") == "pattern")
    out = by_pattern["name"].to_list()
    assert "solo" in out
    assert "front_view" in out
    by_tag = tables["excluded_posts"].filter(pl.col("reason") == "excluded_tag")
    assert by_tag.height < 100


def test_posts_whose_family_belongs_to_another_split_are_excluded_with_its_id(
    project: Project,
) -> None:
    excluded = run(project)["excluded_posts"].filter(pl.col("reason") == "spans_splits")
    assert excluded.height
    assert (excluded["group_id"] <= excluded["post_id"]).all()


def test_noise_of_the_source_is_listed(project: Project, board: SandboxBoard) -> None:
    tables = run(project)
    for row in tables["missing_implications"].iter_rows(named=True):
        assert 0 <= row["lacking"] <= row["posts"]
    assert tables["missing_implications"]["lacking"].max() > 0
    lift = tables["co_occurrence"]
    assert (lift["lift"] - lift["posts"] / lift["expected"]).abs().max() < 1e-9


def test_what_is_wrong_with_the_snapshot_is_listed(
    project: Project, board: SandboxBoard
) -> None:
    tables = run(project)
    listed = {post.id for post in board.posts}
    orphans = {
        str(post.id)
        for post in board.posts
        if post.parent_id and post.parent_id not in listed
    }
    missing = tables["anomalies"].filter(pl.col("kind") == "missing_parent")
    assert set(missing["subject"]) == orphans


def test_each_tag_carries_its_count_in_the_snapshot_and_among_candidates(
    project: Project,
) -> None:
    tables = run(project, ratings=["s"])
    posts = pl.read_parquet(project.paths.snapshot / "posts.parquet")
    implied = [
        (row["antecedent"], row["consequent"])
        for row in pl.read_parquet(
            project.paths.snapshot / "implications.parquet"
        ).to_dicts()
        if row["status"] in policy.EFFECTIVE
    ]
    aliases = pl.read_parquet(project.paths.snapshot / "aliases.parquet").filter(
        pl.col("status").is_in(sorted(policy.EFFECTIVE))
    )
    spelled = dict(aliases.select("antecedent", "consequent").iter_rows())
    excluded = set(tables["excluded_posts"]["post_id"])
    there: dict[str, set[int]] = {}
    for post_id, tags in posts.select("post_id", "tags").iter_rows():
        carried = {spelled.get(name, name) for name in tags}
        while more := {to for name, to in implied if name in carried} - carried:
            carried |= more
        for name in carried:
            there.setdefault(name, set()).add(post_id)
    for row in tables["vocabulary"].to_dicts():
        assert row["snapshot_posts"] == len(there[row["name"]])
        assert row["candidate_posts"] == len(there[row["name"]] - excluded)
    assert (
        tables["vocabulary"]["candidate_posts"] < tables["vocabulary"]["snapshot_posts"]
    ).any()


def test_wishes_that_change_nothing_are_said(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        project,
        exclude_patterns=["*_(no_such_thing)", "fo*"],
        exclude_tags=["never_a_tag"],
    )
    errors = capsys.readouterr().err
    assert (
        "sample.exclude_patterns has *_(no_such_thing), which is no tag of the snapshot"
        in errors
    )
    assert (
        "sample.exclude_tags has never_a_tag, which is no tag of the snapshot" in errors
    )
    assert "fo*" not in errors


def test_sample_without_evaluation_posts_says_what_the_next_gate_will(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = run(project, min_eval_positives=0)
    assert set(tables["posts"]["split"]) == {"train"}
    assert (
        "candidates of test was chosen, which the next gate refuses: set "
        "sample.min_eval_positives" in (capsys.readouterr().err)
    )


def test_what_is_explained_is_told_by_the_parameters_that_decided_it(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = run(project)["excluded_tags"]
    rare = tags.filter(pl.col("reason") == "too_few_positives")["name"][0]
    capsys.readouterr()
    explain.run(project.params, project.paths, rare)
    output = capsys.readouterr().out
    assert "training posts are fewer than sample.min_positives 40" in output
    now = project.params.model_copy(
        update={"sample": project.params.sample.model_copy(update={"min_positives": 7})}
    )
    explain.run(now, project.paths, rare)
    warning, _, rest = capsys.readouterr().out.partition("\n")
    assert warning.startswith("params.yaml says otherwise by now")
    assert rest == output
