"""The bulk exports and their index."""

import gzip
import hashlib
import random

import aiohttp
import pytest

from sandbox.records import Board
from sandbox.server.app import Site
from sandbox.server.exports import COLUMNS, build_exports, stored_gzip
from tests.builders.tiny_board import answer, rows_of


async def test_index_and_files_agree(site: Site, client: aiohttp.ClientSession) -> None:
    index = await answer(client, f"{site.base_url}/db_exports.json")
    assert [row["name"] for row in index] == sorted(COLUMNS)
    assert index[5]["updated_at"] == "2026-07-01T01:01:40.244-04:00"
    for row in index:
        async with client.get(row["url"]) as response:
            body = await response.read()
        assert row["url"].startswith(f"{site.static_url}/data/db_export/")
        assert (len(body), hashlib.sha256(body).hexdigest()) == (
            row["file_size"],
            row["checksum"],
        )
        assert gzip.decompress(body).decode().split("\n")[0] == COLUMNS[row["name"]]


def test_posts_export_holds_every_post_and_tells_null_from_empty(board: Board) -> None:
    body = gzip.decompress(build_exports(board)["posts"].body).decode()
    first = body.split("\n")[1]
    assert first.startswith(
        f'1,3,2020-01-16 12:00:00.12,{board.posts[0].md5},"",s,60,40,'
        "fox standing,,0,png,,999,,"
    )
    assert first.endswith(',0,"",,2020-01-16 12:00:01.12,f,f,f,1,1,0,f,f,f,,,')
    rows = rows_of(build_exports(board)["posts"].body)
    assert [int(row["id"]) for row in rows] == [1, 2, 4, 5, 7, 8, 9, 11, 12]
    assert rows[5]["description"] == 'a, "b"\r\nc'
    assert (rows[1]["is_deleted"], rows[7]["duration"], rows[8]["updated_at"]) == (
        "t",
        "2.5",
        "",
    )


def test_creator_and_approver_swap_places_between_aliases_and_implications(
    board: Board,
) -> None:
    exports = build_exports(board)
    assert rows_of(exports["tag_aliases"].body)[0]["creator_id"] == "1"
    implication = rows_of(exports["tag_implications"].body)[0]
    assert (implication["creator_id"], implication["approver_id"]) == ("1", "")
    assert implication["descendant_names"] == "{canine,mammal}"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000])
def test_stored_gzip_is_gzip(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert gzip.decompress(stored_gzip(data)) == data
