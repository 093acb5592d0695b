"""Outputs: how names are written, files that are continued, sidecars that are kept."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e6tag.inputs import Input
from e6tag.outputs import BadOutput, Format, Output, format_of
from e6tag.records import Record
from e6tag.selection import Answer, SelectedTag
from e6tag.sidecars import (
    Kind,
    Naming,
    NotText,
    Options,
    Separator,
    SidecarError,
    Sidecars,
    split,
)
from e6tag.tag_names import ALL_SPELLINGS, Spelling, written_forms

# The site forbids white space and commas in names.
NAMES = st.text(
    st.characters(exclude_categories=["Z", "C"], exclude_characters=","), min_size=1
)
# What names are made of in practice, so that escapes and kaomoji come up.
TRICKY = st.text(st.sampled_from(r"ab_()\:^3"), min_size=1, max_size=8)

KAOMOJI = (
    "^_^",
    "o_o",
    "0_0",
    "(o)_(o)",
    "<|>_<|>",
    ">_<",
    "||_||",
    "._.",
    "\u0ca0_\u0ca0",
)


@settings(deadline=None)
@given(NAMES | TRICKY, st.sampled_from(ALL_SPELLINGS))
def test_written_name_is_read_again(name: str, spelling: Spelling) -> None:
    written = spelling.write(name)
    assert spelling.read(written) == name
    assert written in written_forms(name)


@pytest.mark.parametrize("name", [*KAOMOJI, ":3", ":(", "\\m/"])
def test_kaomoji_survive_spaces(name: str) -> None:
    assert Spelling(has_spaces=True).write(name) == name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        pytest.param("blue_fox", "blue fox", id="two words"),
        pytest.param("green_(colour)", r"green \(colour\)", id="parentheses"),
        pytest.param("4_toes", "4 toes", id="a number"),
        pytest.param("re:zero_(series)", r"re:zero \(series\)", id="a colon"),
        pytest.param(":(", r":\(", id="a kaomoji with a parenthesis"),
        pytest.param(r"\m/", r"\\m/", id="a backslash"),
        pytest.param("(o)_(o)", r"\(o\)_\(o\)", id="a kaomoji with both"),
    ],
)
def test_spaces_and_escapes(name: str, written: str) -> None:
    assert Spelling(has_spaces=True, is_escaped=True).write(name) == written


def answer(*names: str, rating: str | None = "explicit") -> Answer:
    tags = [
        SelectedTag(name, "general", 0.9 - number / 10, 0.5)
        for number, name in enumerate(names)
    ]
    ratings = {} if rating is None else {rating: 0.75}
    return Answer(tuple(tags), rating, ratings)


def source(name: str) -> Input:
    """An image in the folder /pics."""
    return Input(name, Path("/pics", name))


RECORDS = [
    Record(source("a.png"), answer("red", ":3")),
    Record(
        source('b "c", d\ne.png'),
        answer(rating=None),
        note="an animation: its first frame",
    ),
    Record(source("é\udcff.png"), answer("green_(colour)", "^_^", "blue_fox")),
    Record(source("f\rg.png"), answer("y")),
    Record(source("é.png"), answer("x")),
]


def write(path: Path, answer_format: Format, some: list[Record]) -> list[str]:
    """Writes the records that the file lacks; returns the names of those."""
    written = []
    with Output(path, answer_format, Spelling(), overwrite=False) as output:
        for record in some:
            if record.source.place not in output.done:
                output.write(record)
                written.append(record.source.name)
    return written


@pytest.mark.parametrize("answer_format", [Format.JSONL, Format.CSV])
def test_file_cut_anywhere_is_continued_to_the_same_bytes(
    tmp_path: Path, answer_format: Format
) -> None:
    whole = tmp_path / "whole"
    write(whole, answer_format, RECORDS)
    body = whole.read_bytes()
    cut = tmp_path / "cut"
    for end in range(len(body) + 1):
        cut.write_bytes(body[:end])
        write(cut, answer_format, RECORDS)
        assert cut.read_bytes() == body, end


@pytest.mark.parametrize("answer_format", [Format.JSONL, Format.CSV])
def test_nothing_is_left_of_an_image_that_was_half_written(
    tmp_path: Path, answer_format: Format
) -> None:
    path = tmp_path / "answers"
    write(path, answer_format, RECORDS[:1])
    body = path.read_bytes()
    write(path, answer_format, RECORDS[:3])
    path.write_bytes(path.read_bytes()[:-5])
    write(path, answer_format, RECORDS[:1])
    assert path.read_bytes().startswith(body)
    # In a CSV the second image was whole; of the third nothing is there.
    assert b"\\udcff" not in path.read_bytes()
    assert b"\xff" not in path.read_bytes()


@pytest.mark.parametrize("answer_format", [Format.JSONL, Format.CSV])
def test_what_is_there_is_not_written_again(
    tmp_path: Path, answer_format: Format
) -> None:
    path = tmp_path / "answers"
    write(path, answer_format, RECORDS[:3])
    added = [record.source.name for record in RECORDS[3:]]
    assert write(path, answer_format, RECORDS) == added
    assert write(path, answer_format, RECORDS) == []


def test_json_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    write(path, Format.JSONL, RECORDS)
    first, second, third, *_ = [
        json.loads(line) for line in path.read_bytes().splitlines()
    ]
    same = {
        "category": "general",
        "threshold": 0.5,
        "uncertainty": None,
        "is_implied": False,
    }
    assert first == {
        "path": "/pics/a.png",
        "rating": "explicit",
        "ratings": {"explicit": 0.75},
        "tags": [
            {"name": "red", "score": 0.9, **same},
            {"name": ":3", "score": 0.8, **same},
        ],
    }
    assert (second["rating"], second["ratings"], second["tags"]) == (None, {}, [])
    assert second["note"] == "an animation: its first frame"
    assert third["path"] == RECORDS[2].source.place


def test_csv_has_the_rating_last_also_where_it_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    write(path, Format.CSV, RECORDS[:2])
    rows = list(csv.reader(io.StringIO(path.read_text())))
    assert rows == [
        ["path", "category", "tag", "score"],
        ["/pics/a.png", "general", "red", "0.9000"],
        ["/pics/a.png", "general", ":3", "0.8000"],
        ["/pics/a.png", "rating", "explicit", "0.7500"],
        ['/pics/b "c", d\ne.png', "rating", "unknown", ""],
    ]


def test_text_is_for_people(tmp_path: Path) -> None:
    path = tmp_path / "answers.txt"
    write(path, Format.TEXT, RECORDS[:2])
    assert path.read_text().splitlines() == [
        "a.png",
        "  rating: explicit 0.750",
        "  0.900  red",
        "  0.800  :3",
        r'b "c", d\ne.png',
        "  note: an animation: its first frame",
        "  rating: unknown",
    ]


def test_format_by_the_name_of_the_file() -> None:
    forms = [format_of(Path(name)) for name in ("a.jsonl", "a.CSV", "a.txt", "a")]
    assert forms == [Format.JSONL, Format.CSV, Format.TEXT, Format.TEXT]


@pytest.mark.parametrize(
    ("answer_format", "content", "message"),
    [
        pytest.param(Format.TEXT, "a.png\n", "text cannot be continued", id="text"),
        pytest.param(
            Format.CSV,
            "md5,tags\n1,2\n",
            "does not begin with path,category",
            id="table",
        ),
        pytest.param(
            Format.CSV,
            "path,category,tag,score\n/a,rating,unknown,\n/a,general,red,0.9\n",
            "/a has rows after that of its rating",
            id="ratings first",
        ),
        pytest.param(
            Format.CSV,
            "path,category,tag,score\na.png,rating,unknown,\n",
            "a.png is no absolute path",
            id="a path of some folder",
        ),
        pytest.param(
            Format.CSV,
            "path,category,tag,score\n/more,than,a,cut\n1,2\n/a,rating,unknown,\n",
            "a row has 2 fields",
            id="another table of the same header",
        ),
        pytest.param(
            Format.CSV,
            "path,category,tag,score\n/a,general,red,0.9\n/b,general,red,0.9\n",
            "/a has no row of its rating",
            id="ratings taken out",
        ),
        pytest.param(
            Format.CSV,
            "path,category,tag,score\n/a,general,red,0.9\n/b",
            "its last row is of no image",
            id="ratings taken out, without an end",
        ),
        pytest.param(
            Format.CSV,
            "path,category,tag,score\n1,2\n",
            "a row has 2 fields",
            id="a whole row of another table",
        ),
        pytest.param(
            Format.CSV,
            "path,category,tag,score\na.png,general",
            "its last row is of no image: a.png",
            id="a cut row of another table",
        ),
        pytest.param(Format.JSONL, "[1]\n", "not as jsonl of this command", id="list"),
        pytest.param(Format.JSONL, "[1]", "its last line is no record", id="json"),
        pytest.param(
            Format.JSONL, "a diary", "its last line is no record", id="text of one line"
        ),
        pytest.param(
            Format.JSONL,
            '{"path": "/a", "similar": []}',
            "no record with a path and tags",
            id="json of a path",
        ),
        pytest.param(
            Format.JSONL,
            '{"path": "a", "tags": []}',
            "a is no absolute path",
            id="json of a path of some folder",
        ),
        pytest.param(
            Format.JSONL,
            '{"path": "/a", "similar": []}\n',
            "no record with a path and tags",
            id="lines of similar",
        ),
        pytest.param(
            Format.JSONL,
            "[" * 100_000 + "\n",
            "not as jsonl of this command",
            id="json that nests without end",
        ),
        pytest.param(
            Format.JSONL, "no\n{}\n", "not as jsonl of this command", id="text"
        ),
    ],
)
def test_other_files_are_never_continued(
    tmp_path: Path, answer_format: Format, content: str, message: str
) -> None:
    path = tmp_path / "mine"
    path.write_text(content)
    with pytest.raises(BadOutput, match=message):
        write(path, answer_format, RECORDS)
    assert path.read_text() == content


@pytest.mark.parametrize("answer_format", [Format.JSONL, Format.CSV])
def test_rows_of_another_folder_are_kept(tmp_path: Path, answer_format: Format) -> None:
    path = tmp_path / "answers"
    write(path, answer_format, RECORDS[:2])
    before = path.read_bytes()
    write(path, answer_format, RECORDS[3:])
    assert path.read_bytes().startswith(before)


@pytest.mark.parametrize("answer_format", [Format.JSONL, Format.CSV])
def test_standard_input_is_another_image_each_time(
    tmp_path: Path, answer_format: Format
) -> None:
    path = tmp_path / "answers"
    given = [Record(Input("-"), answer("red"))]
    assert write(path, answer_format, given) == ["-"]
    assert write(path, answer_format, given) == ["-"]
    assert path.read_bytes().count(b"red") == 2


def test_second_run_on_one_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    with Output(path, Format.JSONL, Spelling(), overwrite=False) as output:
        with pytest.raises(BadOutput, match=f"another e6tag tag is writing {path}"):
            Output(path, Format.JSONL, Spelling(), overwrite=True)
        output.write(RECORDS[0])
    assert write(path, Format.JSONL, RECORDS[:1]) == []


def test_overwrite_without_an_answer_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("something else")
    with Output(path, Format.CSV, Spelling(), overwrite=True):
        pass
    assert path.read_text() == "something else"


def test_overwrite_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("something else")
    with Output(path, Format.JSONL, Spelling(), overwrite=True) as output:
        output.write(RECORDS[0])
    assert json.loads(path.read_bytes())["path"] == "/pics/a.png"


def sidecar(folder: Path, record: Record, spelling: Spelling, **options: object) -> str:
    """Writes the sidecars of an image; returns the text of the list of tags."""
    chosen = {"kinds": (Kind.TXT,), **options}
    writer = Sidecars(Options(**chosen), spelling)  # type: ignore[arg-type]
    image = folder / "a.png"
    writer.write(replace(record, source=Input(str(image), image)))
    return (folder / "a.txt").read_text(encoding="utf-8")


SPACED = Spelling(has_spaces=True, is_escaped=True)
RECORD = Record(source("a.png"), answer("blue_fox", "green_(colour)", ":3", "^_^"))
LIST = "blue fox, green \\(colour\\), :3, ^_^, rating:explicit\n"


def test_list_of_tags(tmp_path: Path) -> None:
    assert sidecar(tmp_path, RECORD, SPACED) == LIST
    lines = sidecar(
        tmp_path, RECORD, SPACED, separator=Separator.NEWLINE, overwrite=True
    )
    assert lines == LIST.replace(", ", "\n")
    unrated = sidecar(tmp_path, RECORD, Spelling(), has_rating=False, overwrite=True)
    assert unrated == "blue_fox, green_(colour), :3, ^_^\n"


def test_list_of_tags_without_a_rating_where_it_is_unknown(tmp_path: Path) -> None:
    unrated = Record(source("a.png"), answer("red", rating=None))
    assert sidecar(tmp_path, unrated, Spelling()) == "red\n"


def test_sidecar_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    assert sidecar(tmp_path, RECORD, SPACED) == "mine"
    assert sidecar(tmp_path, RECORD, SPACED, overwrite=True) == LIST


@pytest.mark.parametrize(
    ("there", "after"),
    [
        pytest.param("", LIST, id="an empty file"),
        pytest.param(LIST, LIST, id="all"),
        pytest.param("mine\n", f"mine, {LIST}", id="something else"),
        pytest.param(
            "\ufeffmine\r\n",
            f"\ufeffmine, {LIST[:-1]}\r\n",
            id="a list of an editor of Windows",
        ),
        pytest.param(
            "a\r\nb\r\n",
            "a\r\nb\r\n" + LIST.replace(", ", "\r\n")[:-1] + "\r\n",
            id="a tag a line, of Windows",
        ),
        pytest.param("a b\nc, d\n", f"a b\nc, d, {LIST}", id="commas in the last line"),
        pytest.param("a,b", "a,b," + LIST.replace(", ", ","), id="no spaces"),
        pytest.param("mine,", f"mine, {LIST}", id="a comma at the end"),
        pytest.param(
            "blue_fox, green_(colour)",
            "blue_fox, green_(colour), :3, ^_^, rating:explicit\n",
            id="another spelling",
        ),
        pytest.param(
            "^ ^\nblue fox\n:3",
            "^ ^\nblue fox\n:3\ngreen \\(colour\\)\nrating:explicit\n",
            id="lines, and a kaomoji that another program has spoilt",
        ),
        pytest.param(
            "rating:general", f"rating:general, {LIST[:-18]}\n", id="another rating"
        ),
    ],
)
def test_append_adds_what_is_lacking(tmp_path: Path, there: str, after: str) -> None:
    (tmp_path / "a.txt").write_bytes(there.encode())
    sidecar(tmp_path, RECORD, SPACED, append=True)
    assert (tmp_path / "a.txt").read_bytes().decode() == after


@settings(deadline=None)  # it writes files
@given(
    there=st.lists(TRICKY | NAMES, max_size=4),
    tags=st.lists(TRICKY | NAMES, max_size=4, unique=True),
    old=st.sampled_from(ALL_SPELLINGS),
    new=st.sampled_from(ALL_SPELLINGS),
    separator=st.sampled_from(Separator),
)
def test_append_never_doubles(
    there: list[str],
    tags: list[str],
    old: Spelling,
    new: Spelling,
    separator: Separator,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("append")
    before = ", ".join(old.write(name) for name in there)
    (folder / "a.txt").write_text(before, encoding="utf-8")
    record = Record(source("a.png"), answer(*tags))
    once = sidecar(folder, record, new, append=True, separator=separator)
    again = sidecar(folder, record, old, append=True)
    assert again == once
    assert split(once)[: len(there)] == split(before)
    for name in tags:
        found = [entry for entry in split(once) if entry in written_forms(name)]
        twice_before = [
            entry for entry in split(before) if entry in written_forms(name)
        ]
        assert len(found) == max(1, len(twice_before))


@pytest.mark.parametrize("way", ["append", "overwrite"])
def test_sidecar_that_is_a_link_stays_one(tmp_path: Path, way: str) -> None:
    (tmp_path / "lists").mkdir()
    target = tmp_path / "lists/mine.txt"
    link = tmp_path / "a.txt"
    link.symlink_to("lists/mine.txt")
    sidecar(tmp_path, RECORD, SPACED, **{way: True})  # the link leads nowhere yet
    assert target.read_text() == LIST
    target.write_text("red\n")
    sidecar(tmp_path, RECORD, SPACED, **{way: True})
    assert link.is_symlink()
    assert LIST in target.read_text()


def test_link_to_itself_is_no_place_for_a_sidecar(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to("a.txt")
    with pytest.raises(SidecarError, match="too many levels of symbolic links"):
        sidecar(tmp_path, RECORD, SPACED)
    assert (tmp_path / "a.txt").is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o666, 0o444])
@pytest.mark.parametrize("way", ["append", "overwrite"])
def test_replaced_sidecar_keeps_who_may_read_it(
    tmp_path: Path, way: str, mode: int
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("red")
    path.chmod(mode)
    assert LIST in sidecar(tmp_path, RECORD, SPACED, **{way: True})
    assert path.stat().st_mode & 0o777 == mode


def test_list_that_is_no_text_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NotText, match="is not text in UTF-8"):
        sidecar(tmp_path, RECORD, SPACED, append=True)
    assert (tmp_path / "a.txt").read_bytes() == b"\xff\xfe\x00"


def test_image_is_never_its_own_sidecar(tmp_path: Path) -> None:
    image = tmp_path / "a.txt"
    image.write_bytes(b"an image")
    (tmp_path / "b.txt").symlink_to("b.png")
    (tmp_path / "b.png").write_bytes(b"an image")
    writer = Sidecars(Options(kinds=(Kind.TXT,), overwrite=True), Spelling())
    for path in (image, tmp_path / "b.png"):
        assert writer.problem(Input(path.name, path)) == (
            "it would be its own sidecar: use --sidecar-name full"
        )
    full = Sidecars(Options(kinds=(Kind.TXT,), naming=Naming.FULL), Spelling())
    assert full.problem(Input("a.txt", image)) is None


def test_longest_name_of_a_sidecar_that_a_disk_can_hold(tmp_path: Path) -> None:
    name = "é" * 125 + "a.jpg"
    image = tmp_path / name
    writer = Sidecars(Options(kinds=(Kind.TXT,)), Spelling())
    writer.write(Record(Input(name, image), answer("red")))
    assert [path.name for path in tmp_path.iterdir()] == ["é" * 125 + "a.txt"]
    full = Sidecars(Options(kinds=(Kind.TXT,), naming=Naming.FULL), Spelling())
    assert not full.is_done(Input(name, image))
    with pytest.raises(SidecarError, match="cannot be written: file name too long"):
        full.write(Record(Input(name, image), answer("red")))


def test_two_images_of_one_sidecar() -> None:
    first, second = (Input(name, Path(name)) for name in ("a.jpg", "a.png"))
    by_stem = Sidecars(Options(kinds=(Kind.TXT,)), Spelling())
    assert by_stem.problem(first) is None
    assert by_stem.problem(second) == (
        "a.txt is the sidecar of a.jpg: use --sidecar-name full"
    )
    full = Sidecars(Options(kinds=(Kind.TXT,), naming=Naming.FULL), Spelling())
    assert full.problem(first) is full.problem(second) is None
    assert full.paths(Path("a.png")) == {Kind.TXT: Path("a.png.txt")}


def test_what_is_no_file_has_no_sidecar() -> None:
    writer = Sidecars(Options(kinds=(Kind.JSON,)), Spelling())
    assert writer.problem(Input("-")) == "no file, so a sidecar has no place"
    assert Sidecars(Options(), Spelling()).problem(Input("-")) is None
