"""Explain: what it prints on a tag or a post, from tables alone."""

import dataclasses

import pytest

from pipeline import explain
from pipeline.errors import BadParameter
from pipeline.explain import posts, tags
from pipeline.paths import Paths
from pipeline.schemas.reasons import PostExclusion, TagExclusion
from pipeline.schemas.sample import EXCLUDED_POSTS, EXCLUDED_TAGS, SAMPLED_POSTS
from pipeline.schemas.snapshot import TAGS
from pipeline.tag_graph import canonical_names
from tests.builders import tables


@pytest.fixture
def paths(tmp_path) -> Paths:  # type: ignore[no-untyped-def]
    project = Paths(tmp_path)
    tables.write_snapshot(project)
    tables.write_sample(project)
    return project


def output(paths: Paths, subject: str, capsys: pytest.CaptureFixture[str]) -> str:
    explain.run(tables.PARAMS, paths, subject)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        pytest.param(
            "fox",
            "label 1: 20 posts of the snapshot have it, 16 of them candidates",
            id="learnt",
        ),
        pytest.param("fox", "implies canine", id="implies"),
        pytest.param("canine", "is implied by fox", id="implied"),
        pytest.param("vulpine", "vulpine is an alias of fox", id="alias"),
        pytest.param(
            "unlabelled",
            "left out (beyond_vocabulary_size): sample.vocabulary_size 3",
            id="too rare",
        ),
        pytest.param("fawn", "policy rule 2", id="policy"),
        pytest.param("33", "excluded: deleted. The site deleted it", id="deleted"),
        pytest.param("34", "excluded: forbidden_young. It has fawn", id="young"),
        pytest.param("35", "excluded: opted_out. It has avoid_posting", id="opted out"),
        pytest.param("1", "chosen for train: by chance", id="fill"),
        pytest.param("1", "implied: canine", id="labels of a post"),
    ],
)
def test_tag_or_post_is_explained(
    paths: Paths, subject: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in output(paths, subject, capsys)


def test_post_taken_for_a_tag_names_it(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.set_value(
        paths.sample / "posts.parquet", SAMPLED_POSTS, "post_id", 4, selected_for=1
    )
    assert "strategy cover took it for fox" in output(paths, "4", capsys)


def test_candidate_that_no_tag_needed_is_explained(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.change(
        paths.sample / "posts.parquet",
        lambda posts: posts.filter(posts["post_id"] != 4),
        SAMPLED_POSTS,
    )
    assert "not chosen: its id falls on" in output(paths, "4", capsys)


@pytest.mark.parametrize(
    ("strategy", "words"),
    [("quota", "too few labels"), ("natural", "random sample took others")],
)
def test_why_not_chosen_depends_on_the_strategy(
    paths: Paths, strategy: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.change(
        paths.sample / "posts.parquet",
        lambda posts: posts.filter(posts["post_id"] != 4),
        SAMPLED_POSTS,
    )
    sample = tables.PARAMS.sample.model_copy(update={"strategy": strategy})
    explain.run(tables.PARAMS.model_copy(update={"sample": sample}), paths, "4")
    assert words in capsys.readouterr().out


def test_tag_named_like_a_posts_id_is_explained_beside_the_post(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.set_value(
        paths.snapshot / "tags.parquet", TAGS, "name", "unlabelled", name="4"
    )
    out = output(paths, "4", capsys)
    assert "post 4: rated" in out
    assert "\n4: category general" in out


def test_cycle_of_aliases_ends_where_labels_end_it(paths: Paths) -> None:
    pairs = [("a", "b"), ("b", "a"), ("c", "a"), ("d", "c")]
    final = {name: tags.final_name(dict(pairs), name) for name in "abcd"}
    canonical = canonical_names(pairs)
    assert final == {name: canonical.get(name, name) for name in "abcd"}


def test_post_of_a_family_of_another_split_names_the_family(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.set_value(
        paths.sample / "excluded_posts.parquet",
        EXCLUDED_POSTS,
        "post_id",
        33,
        reason="spans_splits",
        group_id=7,
    )
    assert "its family of post 7" in output(paths, "33", capsys)


@pytest.mark.parametrize("subject", ["no_such_tag", "4711"])
def test_unknown_subject_is_an_error(paths: Paths, subject: str) -> None:
    with pytest.raises(BadParameter, match=f"no (tag|post or tag) {subject}"):
        explain.run(tables.PARAMS, paths, subject)


def test_every_reason_has_its_words(paths: Paths) -> None:
    row = dict.fromkeys(EXCLUDED_TAGS.names, 1)
    for reason in TagExclusion:
        assert tags.TAG_REASONS[reason].format(params=tables.PARAMS.sample, **row)
    post = dataclasses.asdict(Post())
    for reason in PostExclusion:
        assert posts.why_excluded(
            tables.PARAMS, paths, post, {"reason": reason, "group_id": 1}
        )


@dataclasses.dataclass
class Post:
    """What the words are filled with."""

    post_id: int = 1
    ext: str = "gif"
    rating: str = "s"
    tags: tuple[str, ...] = ()
    locked_tags: tuple[str, ...] = ()


@pytest.mark.parametrize("category", [-1, 99])
def test_category_that_is_unknown_is_invalid(category: int) -> None:
    tag = {"name": "fox", "tag_id": 1, "category": category, "post_count": 2}
    assert tags.tag_line(tag).startswith("fox: category invalid, tag id 1")
