"""Counting rows that break a rule."""

import polars as pl

from pipeline.validate import violations


def posts(*rows: tuple[int, str, str]) -> pl.LazyFrame:
    """Returns post_id, md5, split."""
    schema = {"post_id": pl.Int64, "md5": pl.String, "split": pl.String}
    return pl.LazyFrame(list(rows), schema=schema, orient="row")


def test_all_rows_are_counted_and_the_first_twenty_are_shown_in_order() -> None:
    rows = pl.DataFrame({"post_id": range(30, 0, -1)})
    found = violations.violations(rows, 99)

    assert (found.checked, found.count) == (99, 30)
    assert [row["post_id"] for row in found.rows] == list(range(1, 21))


def test_rows_with_lists_can_be_shown() -> None:
    rows = pl.DataFrame({"labels": [[2], [1]], "post_id": [2, 1]})
    found = violations.violations(rows, 2)

    assert found.rows[0] == {"labels": [1], "post_id": 1}


def test_duplicates_are_shown_with_the_ends_of_another_column() -> None:
    rows = posts((5, "a", "train"), (3, "a", "train"), (4, "a", "test"), (1, "b", ""))
    found = violations.duplicates(rows, "md5", "post_id", 4)

    row = {"md5": "a", "times": 3, "first_post_id": 3, "last_post_id": 5}
    assert found.rows == [row]
    assert found.count == 1


def test_a_key_in_several_splits_is_shown_with_them() -> None:
    rows = posts(
        (1, "a", "train"), (9, "a", "test"), (2, "b", "test"), (3, "b", "test")
    )
    found = violations.in_several_splits(rows, "md5", 4)

    row = {
        "md5": "a",
        "splits": "test and train",
        "first_post_id": 1,
        "last_post_id": 9,
    }
    assert found.rows == [row]


def test_a_key_that_repeats_the_one_before_is_out_of_order() -> None:
    rows = posts((1, "", ""), (2, "", ""), (2, "", ""), (5, "", ""), (4, "", ""))
    found = violations.out_of_order(rows, "post_id", 5)

    expected = [{"post_id": 2, "previous": 2}, {"post_id": 4, "previous": 5}]
    assert found.rows == expected
