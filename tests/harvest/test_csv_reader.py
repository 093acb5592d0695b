"""The CSV reader: PostgreSQL's CSV, its records that cannot be read, damaged gzip."""

import gzip
import random
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import harvest
from pipeline.errors import BadExport
from pipeline.harvest import csv_parser, csv_reader
from sandbox.faults.inflating import inflating_gzip

TAGS = "id,name,category,post_count\n"
RELATIONS = "id,antecedent_name,consequent_name,created_at,status\n"


def posts_csv(*tag_strings: str) -> str:
    """A posts export with a record for each tag string."""
    columns = [
        "id", "change_seq", "created_at", "md5", "file_ext", "rating", "image_width",
        "image_height", "file_size",
        "duration", "parent_id", "is_deleted", "is_pending", "is_flagged", "score",
        "fav_count", "tag_string",
        "locked_tags",
    ]  # fmt: skip
    md5 = "0123456789abcdef" * 2
    rows = [
        f"{number},{number},2026-01-02 03:04:05,{md5},png,s,640,480,9,,,f,f,f,1,2,"
        f"{tags},"
        for number, tags in enumerate(tag_strings, 1)
    ]
    return "\n".join([",".join(columns), *rows, ""])


def write_csv(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_csv_is_read_by_header_with_newlines_quotes_and_unknown_columns(
    tmp_path: Path,
) -> None:
    text = (
        "news,post_count,name,id,category\n"
        ",3,fox,1,5\n"
        '"a\r\nb,c",2,"say_""hi""",2,0\n'
        "x,-1,♀,3,0\n"
    )
    rejected = csv_reader.write_tags(
        write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet"
    )
    written = pl.read_parquet(tmp_path / "tags.parquet")
    assert rejected == []
    assert written.rows() == [(1, "fox", 5, 3), (2, 'say_"hi"', 0, 2), (3, "♀", 0, -1)]


def test_records_that_cannot_be_read_are_listed_with_row_and_reason(
    tmp_path: Path,
) -> None:
    rows = "1,fox,5,3\n2,hat,none,4\n3,cut\n4,,0,1\n5,tail,0,6\n"
    text = TAGS + rows
    rejected = csv_reader.write_tags(
        write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet"
    )
    assert pl.read_parquet(tmp_path / "tags.parquet")["name"].to_list() == [
        "fox",
        "tail",
    ]
    reasons = {row["reason"] for row in rejected}
    assert reasons == {
        "category is missing or not valid",
        "name is missing or not valid",
        "2 columns instead of 4",
    }


def test_record_with_an_odd_number_is_rejected_and_changes_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = posts_csv("fox  hat ", "", "fox", " tail")
    header, *records = good.splitlines()
    odd = records[0].replace("640,480", "640.5,480").replace("1,1", "5,5", 1)
    for name, lines in {
        "good": [header, *records],
        "odd": [header, *records, odd],
    }.items():
        rejected = csv_reader.write_posts(
            write_csv(tmp_path / f"{name}.csv.gz", "\n".join(lines) + "\n"),
            tmp_path / f"{name}.parquet",
        )
    assert [(row["row"], row["reason"], row["value"]) for row in rejected] == [
        (5, "image_width is missing or not valid", "id 5: '640.5'")
    ]
    assert "the export posts is read once more" in capsys.readouterr().err
    written = pl.read_parquet(tmp_path / "good.parquet")
    assert written["tags"].to_list() == [["fox", "hat"], [], ["fox"], ["tail"]]
    assert pl.read_parquet(tmp_path / "odd.parquet").equals(written)


def _without_md5(record: str, flag: str, md5: str = "") -> str:
    """A record of posts_csv with another MD5 and another is_deleted."""
    before = "0123456789abcdef" * 2
    return record.replace(before, md5).replace(",,,f,f,f,", f",,,{flag},f,f,")


@pytest.mark.parametrize("width", ["640", "640.5"], ids=["fast path", "text by text"])
def test_only_a_deleted_post_may_lack_its_md5(tmp_path: Path, width: str) -> None:
    header, *records = posts_csv(*["fox"] * 6).splitlines()
    records[1] = _without_md5(records[1], "t")
    records[2] = _without_md5(records[2], "t", '""')
    records[3] = _without_md5(records[3], "f")
    records[4] = _without_md5(records[4], "t", "no-md5")
    records[5] = records[5].replace("640,480", f"{width},480")
    text = "\n".join([header, *records]) + "\n"
    target = tmp_path / "posts.parquet"
    rejected = csv_reader.write_posts(
        write_csv(tmp_path / "posts.csv.gz", text), target
    )
    posts = pl.read_parquet(target)
    assert posts.filter(pl.col("md5").is_null())["post_id"].to_list() == [2, 3]
    reason = "md5 is missing or not valid"
    assert [(row["row"], row["reason"], row["value"]) for row in rejected][:2] == [
        (4, reason, "id 4: None"),
        (5, reason, "id 5: 'no-md5'"),
    ]
    assert set(posts["post_id"]) == {1, 2, 3, 4, 5, 6} - {
        row["row"] for row in rejected
    }


@pytest.mark.parametrize(("flag", "kept"), [("t", [1, 2]), ("f", [2])])
def test_md5_that_one_record_of_a_good_chunk_lacks(
    tmp_path: Path, flag: str, kept: list[int]
) -> None:
    header, *records = posts_csv("fox", "hat").splitlines()
    text = "\n".join([header, _without_md5(records[0], flag), records[1], ""])
    source, target = tmp_path / "posts.csv.gz", tmp_path / "posts.parquet"
    rejected = csv_reader.write_posts(write_csv(source, text), target)
    assert pl.read_parquet(target)["post_id"].to_list() == kept
    assert len(rejected) == 2 - len(kept)


def test_ids_out_of_order_are_sorted_and_doubles_listed(tmp_path: Path) -> None:
    text = "id,name,category,post_count\n3,hat,0,1\n1,fox,5,3\n3,cap,0,2\n"
    rejected = csv_reader.write_tags(
        write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet"
    )
    assert pl.read_parquet(tmp_path / "tags.parquet")["name"].to_list() == [
        "fox",
        "cap",
    ]
    assert [row["value"] for row in rejected] == ["3"]


def test_gzip_of_several_members_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv.gz"
    path.write_bytes(
        gzip.compress(b"id,name,category,post_count\n1,fox,5,3\n")
        + gzip.compress(b"2,hat,0,4\n")
    )
    csv_reader.write_tags(path, tmp_path / "tags.parquet")
    assert pl.read_parquet(tmp_path / "tags.parquet").height == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            '1,fox,5,3\n2,"hat,0,1\n',
            "export tags .* a quote is never closed",
            id="quote open at the end",
        ),
        pytest.param(
            '1,fox,5,3\n2,hat,0,"1',
            "export tags .* a quote is never closed",
            id="quote open in the last field",
        ),
        pytest.param(
            '1,"fox,5,3\n2,hat,0,1\n3,"cap",0,1\n',
            "export tags .* a quote is never closed",
            id="quote closed by another",
        ),
        pytest.param(
            f"1,{'x' * 9_000_000},5,3\n",
            "export tags .* a record is longer than 4 MiB",
            id="record longer than a block",
        ),
        pytest.param(
            "1,2\n" * 100_001,
            "100,000 records of the export tags .* first row 1: 2 columns",
            id="all too short",
        ),
        pytest.param(
            "1,,5,3\n" * 100_001,
            "100,000 records of the export tags .* first row 1: name",
            id="all without a name",
        ),
    ],
)
def test_export_that_cannot_be_trusted_is_one_clear_line(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(BadExport, match=f"{says}.*Nothing was written") as raised:
        csv_reader.write_tags(
            write_csv(tmp_path / "tags.csv.gz", TAGS + text), tmp_path / "tags.parquet"
        )
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "tags.parquet").exists()


@pytest.mark.parametrize("name", ['""', '"f x"', "f x", '" "'])
def test_tag_whose_name_cannot_be_is_a_rejected_row(tmp_path: Path, name: str) -> None:
    text = f"{TAGS}1,{name},0,1\n2,hat,0,1\n"
    rejected = csv_reader.write_tags(
        write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet"
    )
    reason = "name is missing or not valid"
    assert [(row["row"], row["reason"]) for row in rejected] == [(1, reason)]
    assert pl.read_parquet(tmp_path / "tags.parquet")["name"].to_list() == ["hat"]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters=" "), min_size=1)


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, unique=True))
def test_name_ends_at_a_space_and_nowhere_else(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    rows = [f"{number},{name},0,1" for number, name in enumerate(quoted, start=1)]
    path = write_csv(folder / "tags.csv.gz", TAGS + "\n".join(rows) + "\n")
    assert csv_reader.write_tags(path, folder / "tags.parquet") == []
    assert pl.read_parquet(folder / "tags.parquet")["name"].to_list() == names
    on_post = '"' + " ".join(names).replace('"', '""') + '"'
    path = write_csv(folder / "posts.csv.gz", posts_csv(on_post))
    assert csv_reader.write_posts(path, folder / "posts.parquet") == []
    assert pl.read_parquet(folder / "posts.parquet")["tags"].to_list() == [names]


def test_text_that_is_not_utf8_is_one_clear_line_with_the_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tags.csv.gz"
    path.write_bytes(gzip.compress(TAGS.encode() + b"1,fox,5,3\n2,h\xe4t,0,1\n"))
    with pytest.raises(
        BadExport,
        match=r"the export tags cannot be read .* Row #2: .* invalid UTF8 data\. "
        "Nothing",
    ):
        csv_reader.write_tags(path, tmp_path / "tags.parquet")
    assert "read once more" not in capsys.readouterr().err


def test_long_field_is_read(tmp_path: Path) -> None:
    text = (
        f"id,name,category,post_count,news\n1,fox,5,3,{'x' * 3_000_000}\n2,hat,0,1,\n"
    )
    rejected = csv_reader.write_tags(
        write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet"
    )
    assert (rejected, pl.read_parquet(tmp_path / "tags.parquet").height) == ([], 2)


@pytest.mark.parametrize(
    ("header", "repeated"),
    [
        pytest.param(TAGS.encode(), b"\n", id="empty lines"),
        pytest.param(TAGS.encode(), b"1,a,0,1\n", id="records"),
        pytest.param(b"", b"i", id="header"),
    ],
)
def test_gzip_bomb_is_one_clear_line(
    tmp_path: Path, header: bytes, repeated: bytes
) -> None:
    path = tmp_path / "tags.csv.gz"
    path.write_bytes(inflating_gzip(header, repeated, 512 // len(repeated), b""))
    with pytest.raises(
        BadExport,
        match=r"export tags .*(more than 100 times its size|field larger than)",
    ):
        csv_reader.write_tags(path, tmp_path / "tags.parquet")


def many_tags(ids: Iterable[int]) -> str:
    return TAGS + "".join(f"{i},tag_{i},0,{i}\n" for i in ids)


def test_row_numbers_are_right_over_many_blocks_and_after_skipped_records(
    tmp_path: Path,
) -> None:
    text = (
        many_tags(range(1, 250_001))
        + '7\n8,,0,1\n9,"x\ny",z,0,1\n10,,0,1\n'
        + "250001,last,0,1\n"
    )
    rejected = csv_reader.write_tags(
        write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet"
    )
    assert [(row["row"], row["value"]) for row in rejected] == [
        (250_001, "7"), (250_002, "id 8: None"), (250_003, '9,"x\ny",z,0,1'), (250_004,
        "id 10: None"),
    ]  # fmt: skip
    assert pl.read_parquet(tmp_path / "tags.parquet").height == 250_001


def test_row_numbers_are_right_where_all_is_read_once_more_by_text_and_in_larger_blocks(
    tmp_path: Path,
) -> None:
    text = (
        many_tags(range(1, 30_001)) + "7\n8,odd,none,1\n" + many_tags(range(30_001,
        60_001)).removeprefix(TAGS)
        + f"8,{'x' * 2_000_000},0\n9\n10,odd,0,\n60001,last,0,1\n12\n"
    )  # fmt: skip
    rejected = csv_reader.write_tags(
        write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet"
    )
    assert [(row["row"], row["value"][:11]) for row in rejected] == [
        (30_001, "7"), (30_002, "id 8: 'none"), (60_003, "8," + "x" * 9), (60_004, "9"),
        (60_005, "id 10: None"),
        (60_007, "12"),
    ]  # fmt: skip
    assert pl.read_parquet(tmp_path / "tags.parquet")["tag_id"].to_list() == list(
        range(1, 60_002)
    )


def test_posts_that_are_all_too_short_after_the_first_chunk_are_listed(
    tmp_path: Path,
) -> None:
    good = posts_csv(*["fox"] * (csv_parser.CHUNK + 5_000)).rstrip("\n").splitlines()
    text = "\n".join([*good, *(f"{number},short" for number in range(20_000))]) + "\n"
    rejected = csv_reader.write_posts(
        write_csv(tmp_path / "posts.csv.gz", text), tmp_path / "posts.parquet"
    )
    assert (len(rejected), pl.read_parquet(tmp_path / "posts.parquet").height) == (
        20_000,
        len(good) - 1,
    )


def test_shuffled_export_of_many_row_groups_is_put_in_order(tmp_path: Path) -> None:
    ids = list(range(1, 120_001))
    random.Random(621).shuffle(ids)
    text = many_tags(ids) + "5,newest,0,0\n"
    rejected = csv_reader.write_tags(
        write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet"
    )
    tags = pl.read_parquet(tmp_path / "tags.parquet")
    assert tags["tag_id"].to_list() == list(range(1, 120_001))
    assert tags["name"].to_list() == [
        f"tag_{i}" if i != 5 else "newest" for i in range(1, 120_001)
    ]
    assert [row["value"] for row in rejected] == ["5"]


def test_truncated_gzip_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv.gz"
    path.write_bytes(
        gzip.compress(b"id,name,category,post_count\n" + b"1,fox,5,3\n" * 90_000)[:-40]
    )
    with pytest.raises(BadExport, match="export tags"):
        csv_reader.write_tags(path, tmp_path / "tags.parquet")
    assert not (tmp_path / "tags.parquet").exists()


@pytest.mark.parametrize(
    "at", [0, 12, 40, -20, -5], ids=["magic", "block", "symbol", "end", "check"]
)
def test_gzip_with_a_damaged_byte_is_one_clear_line(tmp_path: Path, at: int) -> None:
    path = tmp_path / "tags.csv.gz"
    content = bytearray(gzip.compress(many_tags(range(3_000)).encode()))
    content[at] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(
        BadExport,
        match=r"the export tags cannot be read after record [\d,]+: .*"
        "Nothing was written",
    ):
        csv_reader.write_tags(path, tmp_path / "tags.parquet")


def test_tags_that_only_posts_know_are_counted_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched = {
        "posts": write_csv(
            tmp_path / "posts.csv.gz",
            posts_csv("fox new_tag", "new_tag", "", "a\x00b  fox"),
        ),
        "tags": write_csv(tmp_path / "tags.csv.gz", f"{TAGS}1,fox,5,3\n"),
        "tag_aliases": write_csv(tmp_path / "aliases.csv.gz", RELATIONS),
        "tag_implications": write_csv(tmp_path / "implications.csv.gz", RELATIONS),
    }
    harvest.write_snapshot(fetched, tmp_path / "snapshot")
    csv_reader.write_unknown_tags(tmp_path / "snapshot")
    unknown = pl.read_parquet(tmp_path / "snapshot" / "unknown_tags.parquet")
    assert unknown.rows() == [("a\x00b", 1), ("new_tag", 2)]
    assert (
        "2 tag names of posts are not in the table of tags" in capsys.readouterr().err
    )
    posts = pl.read_parquet(tmp_path / "snapshot" / "posts.parquet")
    assert posts["tags"].to_list()[2:] == [[], ["a\x00b", "fox"]]
