"""Tables of many rows."""

import json

from pipeline.report.data_table import PAGE, Column, DataTable

COLUMNS = (
    Column("tag", "text"),
    Column("kind", "text", css="text"),
    Column("model", group="F1"),
    Column("blind", group="F1", css="blind"),
)


def table(rows: int, kinds: int = 2) -> DataTable:
    cells = [
        [f"tag_{number}", f"kind {number % kinds}", "0.873", "0.500"]
        for number in range(rows)
    ]
    return DataTable("Tags", "tags", "tags.parquet", COLUMNS, cells, choice=1)


def test_one_page_is_shown_and_the_rest_is_counted() -> None:
    large = table(8_000)
    assert [row[0] for row in large.first_page][-1] == f"tag_{PAGE - 1}"
    assert large.rest == 8_000 - PAGE
    small = table(PAGE)
    assert (len(small.first_page), small.rest) == (PAGE, 0)


def test_the_script_gets_every_row_as_it_is_shown() -> None:
    content = json.loads(json.dumps(table(300).content))
    assert len(content["rows"]) == 300
    assert content["rows"][299] == ["tag_299", "kind 1", "0.873", "0.500"]
    assert content["columns"][3] == ["number", "blind", ""]


def test_a_list_is_offered_where_there_is_something_to_choose() -> None:
    assert table(10).choices == ["kind 0", "kind 1"]
    assert table(10, kinds=1).choices == []


def test_columns_of_a_group_are_under_one_heading() -> None:
    assert table(1).groups == [("", 2), ("F1", 2)]
    without = DataTable("Tags", "tags", "", COLUMNS[:2], [], choice=1)
    assert without.groups == []
