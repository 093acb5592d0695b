"""The search language of the site."""

import pytest

from sandbox.records import Board
from sandbox.server.search import BadQuery, Index, parse


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("fox standing", [8, 1], id="and"),
        pytest.param("fox -standing", [5, 4], id="not"),
        pytest.param("~young ~jan", [9, 5, 4], id="or"),
        pytest.param("fox ~young ~hi_res", [8, 5, 4], id="and with or"),
        pytest.param("s*ing -sitting", [9, 8, 1], id="wildcard"),
        pytest.param("vulpine hi_res", [8], id="chain of aliases"),
        pytest.param("stands", [], id="deleted alias does not resolve"),
        pytest.param("rating:q", [4], id="rating"),
        pytest.param("-rating:s", [9, 4], id="negated rating"),
        pytest.param("type:webm", [11], id="type"),
        pytest.param("id:1,8,3", [8, 1], id="list of ids"),
        pytest.param("id:4..7", [7, 5, 4], id="range of ids"),
        pytest.param("id:..4", [4, 1], id="open range"),
        pytest.param("width:>=640", [9, 8], id="at least"),
        pytest.param("score:<5", [4, 1], id="below"),
        pytest.param(
            "change:>994 status:any order:change_asc",
            [5, 4, 2, 1],
            id="feed of changes",
        ),
        pytest.param("status:deleted", [2], id="only deleted"),
        pytest.param("fox status:all", [8, 5, 4, 2, 1], id="deleted too"),
        pytest.param("status:pending", [9], id="pending"),
        pytest.param("fox order:score", [8, 5, 4, 1], id="by score"),
        pytest.param("fox order:id", [1, 4, 5, 8], id="ascending"),
        pytest.param("fox order:created_asc", [1, 4, 5, 8], id="by age"),
        pytest.param("date:2020-01-16", [1], id="day"),
        pytest.param("id:junk", [], id="junk number"),
        pytest.param("no_such_tag", [], id="unknown tag"),
    ],
)
def test_query_selects(board: Board, query: str, expected: list[int]) -> None:
    assert [post.id for post in Index(board).find(query)] == expected


def test_status_rating_and_limit_do_not_count_as_tags() -> None:
    free = "status:deleted rating:s limit:5 "
    assert parse(free + " ".join(f"tag{number}" for number in range(40))).limit == 5
    with pytest.raises(BadQuery):
        parse(free + " ".join(f"tag{number}" for number in range(41)))
