"""Originals, samples and previews of the static host."""

import io
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from PIL import Image

from sandbox.records import Board
from sandbox.server.app import LOGIN, Site
from sandbox.server.variants import (
    NoPicture,
    has_sample,
    preview_size,
    render,
    sample_size,
)
from tests.builders.tiny_board import answer, link, md5_of, picture, post_of, refusal


async def test_original_has_the_md5_of_its_post(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    for number in (1, 8, 11):
        post = post_of(board, number)
        async with client.get(link(site, post)) as response:
            assert md5_of(await response.read()) == post.md5


@pytest.mark.parametrize(
    ("number", "kind", "ext"),
    [
        pytest.param(2, "", "png", id="deleted original"),
        pytest.param(2, "/preview", "jpg", id="deleted preview"),
        pytest.param(4, "", "png", id="young and questionable"),
        pytest.param(7, "", "png", id="hidden from anonymous"),
        pytest.param(1, "", "jpg", id="wrong extension"),
        pytest.param(1, "/sample", "jpg", id="no sample of a small picture"),
        pytest.param(11, "/sample", "jpg", id="poster of a video that cannot be drawn"),
    ],
)
async def test_file_is_not_found(
    site: Site,
    client: aiohttp.ClientSession,
    board: Board,
    number: int,
    kind: str,
    ext: str,
) -> None:
    assert (await refusal(client, link(site, post_of(board, number), kind, ext)))[
        0
    ] == 404


async def test_login_opens_what_is_hidden_from_anonymous(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    headers = {"Authorization": aiohttp.encode_basic_auth(*LOGIN)}
    async with client.get(link(site, post_of(board, 7)), headers=headers) as response:
        assert response.status == 200


async def test_unknown_md5_and_misplaced_md5_are_not_found(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    unknown = replace(board.posts[0], md5="0" * 32)
    assert (await refusal(client, link(site, unknown)))[0] == 404
    misplaced = f"{site.static_url}/data/zz/zz/{board.posts[0].md5}.png"
    assert (await refusal(client, misplaced))[0] == 404


@pytest.mark.parametrize(
    ("original", "sample", "preview"),
    [
        pytest.param((1792, 2400), (850, 1138), (256, 343), id="recorded sample"),
        pytest.param((2500, 1700), (1250, 850), (376, 256), id="recorded preview"),
        pytest.param((500, 4000), (212, 1700), (256, 512), id="long side capped"),
        pytest.param((100, 50), (1700, 850), (512, 256), id="small files are enlarged"),
    ],
)
def test_sizes_follow_the_contract(
    original: tuple[int, int], sample: tuple[int, int], preview: tuple[int, int]
) -> None:
    assert sample_size(*original) == sample
    assert preview_size(*original) == preview


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"width": 851, "height": 851}, True, id="both sides above 850"),
        pytest.param({"width": 850, "height": 1700}, False, id="neither side too long"),
        pytest.param({"width": 10, "height": 1701}, True, id="longer side above 1700"),
        pytest.param(
            {"width": 2000, "height": 2000, "ext": "gif"}, False, id="gif never"
        ),
        pytest.param(
            {"width": 2000, "height": 2000, "tags": ("animated_png",)},
            False,
            id="animated never",
        ),
        pytest.param(
            {"width": 10, "height": 10, "ext": "webm"}, True, id="video always"
        ),
    ],
)
def test_which_posts_have_samples(
    board: Board, change: dict[str, Any], expected: bool
) -> None:
    assert has_sample(replace(board.posts[0], **change)) is expected


async def test_variants_are_what_the_json_says(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    post = (await answer(client, f"{site.base_url}/posts/8.json"))["post"]
    for variant in (post["sample"], post["preview"]):
        for url, kind in ((variant["url"], "JPEG"), (variant["alt"], "WEBP")):
            async with client.get(url) as response:
                drawn = Image.open(io.BytesIO(await response.read()))
            assert (drawn.format, drawn.size) == (
                kind,
                (variant["width"], variant["height"]),
            )


@pytest.mark.parametrize(
    "size", [(586, 412), (1, 1), (999, 3), (2000, 1333), (4001, 333)]
)
@pytest.mark.parametrize("kind", ["sample", "preview"])
def test_any_size_is_rendered_to_the_size_that_the_rules_give(
    size: tuple[int, int], kind: Any
) -> None:
    rendered = Image.open(io.BytesIO(render(picture(*size, seed=1), kind, "jpg", None)))
    assert rendered.size == (sample_size if kind == "sample" else preview_size)(*size)


def test_what_is_no_picture_has_no_variants() -> None:
    with pytest.raises(NoPicture):
        render(b"not a picture", "preview", "jpg", None)


@pytest.mark.parametrize(
    ("bg_color", "expected"),
    [
        pytest.param(None, (0x15, 0x2F, 0x56), id="dark blue"),
        pytest.param("ffffff", (255, 255, 255), id="bg_color"),
    ],
)
def test_jpeg_flattens_transparency_and_webp_keeps_it(
    bg_color: str | None, expected: tuple[int, int, int]
) -> None:
    data = picture(640, 320, 9)
    jpeg = Image.open(io.BytesIO(render(data, "preview", "jpg", bg_color)))
    assert jpeg.info["progressive"]
    found = jpeg.getpixel((100, 250))
    assert isinstance(found, tuple)
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 2
    webp = Image.open(io.BytesIO(render(data, "preview", "webp", bg_color)))
    assert webp.mode == "RGBA"


async def test_range_is_honoured_for_the_same_file_only(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    url = f"{site.static_url}/data/db_export/posts.csv.gz"
    async with client.get(url) as response:
        whole, etag, modified = (
            await response.read(),
            response.headers["ETag"],
            response.headers["Last-Modified"],
        )
    for validator in (etag, modified):
        async with client.get(
            url, headers={"Range": "bytes=100-", "If-Range": validator}
        ) as response:
            assert (response.status, await response.read()) == (206, whole[100:])
            assert (
                response.headers["Content-Range"]
                == f"bytes 100-{len(whole) - 1}/{len(whole)}"
            )
    async with client.get(
        url, headers={"Range": "bytes=100-", "If-Range": '"another day"'}
    ) as response:
        assert (response.status, await response.read()) == (200, whole)
    async with client.get(url, headers={"Range": "bytes=-7"}) as response:
        assert (response.status, await response.read()) == (206, whole[-7:])
    async with client.get(url, headers={"Range": f"bytes={len(whole)}-"}) as response:
        assert response.status == 416


async def test_unchanged_file_is_not_sent_again(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    url = link(site, board.posts[0])
    async with client.head(url) as response:
        assert int(response.headers["Content-Length"]) == board.posts[0].file_size
        etag = response.headers["ETag"]
    async with client.get(url, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
