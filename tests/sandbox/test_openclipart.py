"""The board of real pictures.

And the rules that turn a library's keywords into tags.
"""

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from sandbox.openclipart.board import (
    ROOT,
    SIZE_TAGS,
    OpenclipartBoard,
    OpenclipartMissing,
)
from sandbox.openclipart.keywords import (
    Words,
    build_vocabulary,
    split_keywords,
    tag_name,
)
from sandbox.records import CATEGORIES, Post

installed = pytest.mark.skipif(
    not (ROOT / "png").is_dir() or not (ROOT / "svg").is_dir(),
    reason="the packages openclipart-png and openclipart-svg are not installed",
)

# The text after the metadata is never parsed, so it may be broken.
SVG = """<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><metadata>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:cc="http://web.resource.org/cc/"><cc:Work>
<dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>
<dc:creator><cc:Agent><dc:title>{creator}</dc:title></cc:Agent></dc:creator>
</cc:Work></rdf:RDF></metadata><g></svg>"""


# ---- words ----


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("  United  Kingdom ", "united_kingdom", id="spaces and capitals"),
        pytest.param("cafe\u0301", "café", id="composed form"),
        pytest.param("mime-_-types", "mime-types", id="no two of _-~ in a row"),
        pytest.param("(c) 100%", "c)_100", id="forbidden characters and beginnings"),
        pytest.param("_-_", "", id="nothing left"),
        pytest.param("x" * 120, "x" * 100, id="at most 100 characters"),
    ],
)
def test_text_becomes_a_tag_name(text: str, name: str) -> None:
    assert tag_name(text) == name


def test_keyword_field_may_hold_a_list() -> None:
    assert list(split_keywords("Rome, Italy;; big cat")) == ["rome", "italy", "big_cat"]


def words(keywords: str, folder: str = "", artist: str | None = "ann") -> Words:
    return Words(
        frozenset(keywords.split()),
        (tuple(folder.split("/")) if folder else (),),
        artist,
    )


@pytest.mark.parametrize(
    "keyword",
    [
        "ann_lee",
        "lee",
        "clipart",
        "12",
        "x",
        "hash(0x8a3eca4)",
        "www.example.org",
        "a@example.org",
    ],
)
def test_junk_is_left_out(keyword: str) -> None:
    pictures = [
        words(f"cat {keyword}", artist="ann_lee"),
        words("cat", artist="bob"),
        words("cat", artist="cy"),
    ]
    assert build_vocabulary(pictures).tags[0] == {"cat"}


def test_keyword_of_one_artist_alone_is_left_out_but_folders_stay() -> None:
    pictures = [
        words("cat mine", "pets"),
        words("cat mine", "pets"),
        words("cat", "pets", "bob"),
    ]
    assert build_vocabulary(pictures).tags == (frozenset({"cat", "pets"}),) * 3


def test_plural_and_spelling_become_aliases() -> None:
    pictures = [
        words("cats north_america"),
        words("cat northamerica", artist="bob"),
        words("north_america"),
    ]
    vocabulary = build_vocabulary(pictures)
    assert vocabulary.aliases == {"cats": "cat", "northamerica": "north_america"}
    assert vocabulary.tags[0] == vocabulary.tags[1] == {"cat", "north_america"}


def test_folder_implies_the_one_it_lies_in() -> None:
    pictures = [
        words("", "animals/mammals/cats"),
        words("cat", artist="bob"),
        *[words("", "animals/mammals/cats")] * 40,
    ]
    vocabulary = build_vocabulary(pictures)
    assert vocabulary.implications == {"cat": "mammals", "mammals": "animals"}
    assert vocabulary.tags[0] == vocabulary.tags[1] == {"cat", "mammals", "animals"}


def test_folder_with_two_places_implies_nothing() -> None:
    pictures = [words("", "science/astronomy"), words("", "geography/astronomy")]
    assert build_vocabulary(pictures).implications == {}


def test_folder_whose_word_means_other_things_too_implies_nothing() -> None:
    flags = [words("", "flag/africa")] * 9
    maps = [words("map africa", artist="bob"), words("map africa")]
    vocabulary = build_vocabulary([*flags, *maps])
    assert vocabulary.implications == {}
    assert vocabulary.tags[-1] == {"map", "africa"}


# ---- a small library ----


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two cats of a series by Ann Lee, one of them linked into a second folder.

    And a dog whose SVG is broken.
    """
    for path, colour, keywords, creator in (
        ("animals/cat_01", "red", ("cat", "Lee"), "Ann Lee [ann@example.org]"),
        ("animals/cat_02", "blue", ("cat", "2"), "Ann Lee"),
        ("animals/other_cat", "grey", ("cats",), "Bob"),
        ("animals/dog", "green", None, None),
    ):
        png, svg = tmp_path / "png" / f"{path}.png", tmp_path / "svg" / f"{path}.svg"
        png.parent.mkdir(parents=True, exist_ok=True)
        svg.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), colour).save(png)
        fields = "".join(f"<rdf:li>{keyword}</rdf:li>" for keyword in keywords or ())
        svg.write_text(
            SVG.format(keywords=fields, creator=creator)
            if keywords
            else "<svg><metadata></svg>"
        )
    for kind in ("png", "svg"):
        (tmp_path / kind / "pets").mkdir()
        (tmp_path / kind / "pets" / f"cat_01.{kind}").symlink_to(
            f"../animals/cat_01.{kind}"
        )
    return tmp_path


def test_library_becomes_a_board(library: Path) -> None:
    board = OpenclipartBoard(library)
    first, second, dog, other = board.posts
    assert first.source == "animals/cat_01.png\npets/cat_01.png"
    assert first.tags == ("animals", "ann_lee", "cat", "low_res", "pets", "thumbnail")
    assert (first.parent_id, second.parent_id, other.parent_id) == (
        None,
        first.id,
        None,
    )
    assert dog.tags == ("animals", "low_res", "thumbnail")
    assert board.unreadable == ("animals/dog.png",)
    assert [
        (alias.antecedent_name, alias.consequent_name) for alias in board.aliases
    ] == [("cats", "cat")]
    categories = {tag.name: CATEGORIES[tag.category] for tag in board.tags}
    assert (categories["ann_lee"], categories["cat"], categories["low_res"]) == (
        "artist",
        "general",
        "meta",
    )
    assert {tag.name: tag.post_count for tag in board.tags}["cats"] == 0


def test_missing_packages_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        OpenclipartMissing, match="apt-get install openclipart-png openclipart-svg"
    ):
        OpenclipartBoard(tmp_path)


# ---- the real one ----


@pytest.fixture(scope="module")
def board() -> OpenclipartBoard:
    return OpenclipartBoard()


@installed
def test_every_distinct_file_is_one_post(board: OpenclipartBoard) -> None:
    assert sum(len(post.source.splitlines()) for post in board.posts) == 8_121
    assert len({post.md5 for post in board.posts}) == len(board.posts) == 6_900
    assert [post.id for post in board.posts] == list(range(1, 6_901))
    assert board.unreadable == ()


@installed
def test_posts_describe_their_files(board: OpenclipartBoard) -> None:
    for post in board.posts[::500]:
        data = board.original(post.md5)
        assert hashlib.md5(data, usedforsecurity=False).hexdigest() == post.md5
        assert len(data) == post.file_size
        assert Image.open(io.BytesIO(data)).size == (post.width, post.height)


@installed
def test_about_sixty_general_tags_are_common_enough_to_learn(
    board: OpenclipartBoard,
) -> None:
    counts = [tag.post_count for tag in board.tags if tag.category == 0]
    assert sum(count >= 60 for count in counts) == 54
    assert sum(count >= 40 for count in counts) == 80


@installed
def test_junk_of_the_real_library_is_gone(board: OpenclipartBoard) -> None:
    general = {tag.name for tag in board.tags if tag.category == 0}
    assert general.isdisjoint(
        {
            "hash",
            "magick",
            "lemon_theme_icon",
            "unsorted",
            "special",
            "nicu_buculei",
            "gerald",
        }
    )
    assert not [
        name for name in general if name.startswith("hash(") or name.isdecimal()
    ]


@installed
def test_implications_are_followed_on_every_post(board: OpenclipartBoard) -> None:
    implied = {
        relation.antecedent_name: relation.consequent_name
        for relation in board.implications
    }
    assert implied["bird"] == "animal"
    assert "africa" not in implied
    assert all(
        implied[name] in post.tags
        for post in board.posts
        for name in post.tags
        if name in implied
    )


@installed
def test_parent_is_an_earlier_drawing_of_the_same_artist(
    board: OpenclipartBoard,
) -> None:
    artists = {tag.name for tag in board.tags if tag.category == 1}
    posts = {post.id: post for post in board.posts}

    def artist(post: Post) -> set[str]:
        return artists & set(post.tags)

    children = [post for post in board.posts if post.parent_id]
    assert len(children) == 757
    assert all(
        artist(post) == artist(posts[post.parent_id or 0]) != set() for post in children
    )
    assert all(
        (post.parent_id or 0) < post.id and posts[post.parent_id or 0].parent_id is None
        for post in children
    )


@installed
def test_size_tags_follow_the_size(board: OpenclipartBoard) -> None:
    for post in board.posts:
        small = max(post.width, post.height) <= 500
        assert ("low_res" in post.tags) is small
        assert not (small and SIZE_TAGS & set(post.tags) & {"hi_res", "absurd_res"})
