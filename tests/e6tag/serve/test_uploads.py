"""Uploads: bounded in bytes, pixels, number and time, and never on the disk."""

import asyncio
import io
import os
import resource
import socket
import struct
import zlib
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession, FormData
from PIL import Image
from yarl import URL

from e6tag.serve import connections
from e6tag.serve.limits import Limits
from tests.builders import toy_images
from tests.builders.tag_server import Server, exchange, serving, serving_here
from tests.builders.toy_images import BLUE, RED


async def refused(
    client: ClientSession, data: object, path: str = "/v1/tag", **more: object
) -> tuple[int, str]:
    async with client.post(path, data=data, **more) as response:
        return response.status, (await response.json())["error"]["code"]


async def is_alive(client: ClientSession) -> bool:
    """Returns whether a good image still gets its tag."""
    async with client.post("/v1/tag", data=toy_images.image(RED)) as response:
        answer = await response.json()
    return answer["images"][0]["tags"][0]["name"] == "red"


def bomb(side: int) -> bytes:
    """Returns a PNG of few bytes whose header promises side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content)
        png += struct.pack(">I", len(content)) + kind + content
        png += struct.pack(">I", checksum)
    return png


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(b"", 422, "not_an_image", id="zero bytes"),
        pytest.param(b"<svg></svg>", 422, "not_an_image", id="no format"),
        pytest.param(toy_images.image(RED)[:60], 422, "damaged_image", id="cut"),
        pytest.param(b"\xff\xd8\xff" + bytes(99), 422, "damaged_image", id="no JPEG"),
        pytest.param(bomb(50_000), 413, "too_many_pixels", id="too many pixels"),
        pytest.param(bytes(20 << 20) + b"1", 413, "too_many_bytes", id="too long"),
    ],
)
async def test_bad_image_is_refused_and_the_server_stays_up(
    client: ClientSession, data: bytes, status: int, code: str
) -> None:
    assert await refused(client, io.BytesIO(data)) == (status, code)
    assert await is_alive(client)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "PNG", "JPEG"])
async def test_pixels_are_counted_before_they_are_decoded(toy: Path, kind: str) -> None:
    limits = Limits(workers=1, max_pixels=1_000)
    async with serving_here(toy, limits) as url, ClientSession(url) as client:
        large = toy_images.image(RED, kind, size=(50, 50))
        assert await refused(client, large) == (413, "too_many_pixels")
        assert await is_alive(client)


async def test_too_many_images_are_refused(client: ClientSession) -> None:
    data = FormData()
    for _ in range(33):
        data.add_field("image", toy_images.image(RED), filename="a.png")
    assert await refused(client, data) == (400, "too_many_images")


async def test_form_without_images_is_refused(client: ClientSession) -> None:
    data = FormData({"picture": "words"})
    content = {"Content-Type": "application/x-www-form-urlencoded"}
    found = await refused(client, b"image=1", headers=content)
    assert found == (415, "unsupported_media_type")
    data = FormData(default_to_multipart=True)
    data.add_field("picture", "words")
    assert await refused(client, data) == (400, "bad_request")
    empty = {"Content-Type": "multipart/form-data; boundary=b"}
    assert await refused(client, b"--b--\r\n", headers=empty) == (400, "no_image")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("multipart/form-data", id="no boundary"),
        pytest.param("multipart/form-data; boundary=b", id="another boundary"),
        pytest.param("multipart/mixed; boundary=a", id="no form"),
    ],
)
async def test_broken_form_is_refused(client: ClientSession, head: str) -> None:
    body = b'--a\r\nContent-Disposition: form-data; name="image"\r\n\r\nx\r\n--a--\r\n'
    status, _ = await refused(client, body, headers={"Content-Type": head})
    assert status in (400, 415)
    assert await is_alive(client)


async def test_what_a_client_sends_is_not_printed(toy: Path) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=a"}
    part = b'--a\r\nContent-Disposition: form-data; name="image"; %s\r\n\r\n%s\r\n--a--'
    red = toy_images.image(RED)
    with serving(toy) as server:
        async with ClientSession(server.url) as client:
            for name in (b'filename="\xff.png"', b"file\xffame=a", b'"; filename='):
                async with client.post(
                    "/v1/tag", data=part % (name, red), headers=head
                ) as response:
                    assert response.status in (200, 400)
                    (await response.text()).encode()
        assert await asyncio.to_thread(server.end) == (0, "")


async def test_form_that_ends_early_is_refused(client: ClientSession) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=a"}
    body = b'--a\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc'
    assert await refused(client, body, headers=head) == (400, "bad_request")


def packed_zeros() -> bytes:
    """Returns 1 MB that unpack to 1 GB, which takes seconds."""
    packer = zlib.compressobj(wbits=31)  # gzip
    parts = [packer.compress(bytes(1 << 20)) for _ in range(1_024)]
    return b"".join([*parts, packer.flush()])


async def test_compressed_upload_is_refused_and_never_unpacked(
    server: Server, client: ClientSession
) -> None:
    packed = packed_zeros()
    before = sum(psutil.Process(server.process.pid).cpu_times()[:2])
    for path, status in (("/v1/tag", 415), ("/v1/heatmap?tag=red", 415), ("/no", 404)):
        headers = {"Content-Encoding": "gzip"}
        found, _ = await refused(client, packed, path, headers=headers)
        assert found == status
        assert await is_alive(client)
    used = sum(psutil.Process(server.process.pid).cpu_times()[:2]) - before
    assert used < 1


async def test_encoding_that_changes_nothing_is_accepted(client: ClientSession) -> None:
    image = toy_images.image(RED)
    headers = {"Content-Encoding": "Identity"}
    async with client.post("/v1/tag", data=image, headers=headers) as response:
        assert response.status == 200


async def test_half_a_head_is_given_up_on_a_connection_that_was_answered(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "KEEPALIVE_SECONDS", 0.5)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving_here(toy, Limits(workers=1)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(url).port)
        writer.write(request + request[:30])
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_slow_upload_is_given_up(toy: Path) -> None:
    limits = Limits(workers=1, upload_seconds=0.3)

    async def trickle():
        for _ in range(100):
            yield b"\xff"
            await asyncio.sleep(0.1)

    async with serving_here(toy, limits) as url, ClientSession(url) as client:
        assert await refused(client, trickle()) == (408, "upload_took_too_long")
        assert await is_alive(client)


async def test_full_queue_is_answered_by_503_and_when_to_try_again(toy: Path) -> None:
    limits = Limits(workers=1, queue=1, upload_seconds=5)

    async def wait_first():
        yield toy_images.image(RED)
        await asyncio.sleep(0.5)

    async with serving_here(toy, limits) as url, ClientSession(url) as client:
        slow = asyncio.create_task(client.post("/v1/tag", data=wait_first()))
        await asyncio.sleep(0.2)
        async with client.post("/v1/tag", data=toy_images.image(RED)) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json())["error"]["code"] == "busy"
        assert (await slow).status == 200
        assert await is_alive(client)


async def test_uploads_beyond_the_memory_for_them_are_answered_by_503(
    toy: Path,
) -> None:
    limits = Limits(workers=1, buffered_bytes=10_000)

    async def wait_in_the_middle():
        yield bytes(9_000)
        await asyncio.sleep(0.5)

    async with serving_here(toy, limits) as url, ClientSession(url) as client:
        slow = asyncio.create_task(client.post("/v1/tag", data=wait_in_the_middle()))
        await asyncio.sleep(0.2)
        assert await refused(client, bytes(2_000)) == (503, "busy")
        await slow
        # What was refused is no longer counted.
        for _ in range(3):
            assert await is_alive(client)


async def test_request_that_can_never_fit_is_not_told_to_try_again(toy: Path) -> None:
    limits = Limits(workers=1, buffered_bytes=10_000)
    async with serving_here(toy, limits) as url, ClientSession(url) as client:
        assert await refused(client, bytes(20_000)) == (413, "too_many_bytes")
        form = FormData()
        for _ in range(3):
            form.add_field("image", bytes(4_000), filename="a.png")
        async with client.post("/v1/tag", data=form) as response:
            assert response.status == 413
            assert "together" in (await response.json())["error"]["message"]
        assert await is_alive(client)


async def test_client_that_goes_away_harms_nobody(
    server: Server, client: ClientSession
) -> None:
    head = b"POST /v1/tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head + b"Content-Length: 1000000\r\n\r\nabc")
    assert await is_alive(client)


async def test_what_is_no_http_is_answered_in_json(
    server: Server, client: ClientSession
) -> None:
    for sent in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
        answer = exchange(server.port, sent)
        assert b" 400 " in answer.splitlines()[0]
        assert b'{"error": {"code": "bad_request"' in answer
    assert await is_alive(client)


def write_no_files() -> None:
    """Lets a process write to pipes only."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


async def test_nothing_is_written_to_disk(toy: Path) -> None:
    """Of 2 MB: what aiohttp's own reading of forms spools into a temporary file."""
    picture = Image.frombytes("RGB", (1_000, 700), os.urandom(2_100_000))
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    encoded.seek(0)
    with serving(toy, before=write_no_files) as server:
        async with ClientSession(server.url) as client:
            data = FormData()
            data.add_field("image", encoded, filename="noise.png")
            data.add_field("image", toy_images.image(BLUE), filename="blue.png")
            async with client.post("/v1/tag", data=data) as response:
                answer = await response.json()
    _, blue = answer["images"]
    assert [tag["name"] for tag in blue["tags"]] == ["blue_fox"]
