"""Inputs: which images are found, in which order, and what is said of the others."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

from e6tag import images, inputs, stills
from e6tag.inputs import Finder, Input, NoList, Unreadable
from tests.builders import toy_images
from tests.builders.toy_images import BLUE, RED


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with images and other things in it."""
    for name in ("pics/b.png", "pics/a.jpg", "pics/deep/c.webp", "pics/z.GIF"):
        toy_images.write(tmp_path / name, RED)
    for name in ("a.txt", "a.json", ".hidden.png", ".hidden/d.png", "video.webm"):
        path = tmp_path / "pics" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "pics" / "loop").symlink_to(tmp_path / "pics")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*arguments: str, **options: bool) -> list[str]:
    return [found.name for found in Finder(**options).find(arguments)]


def problem(argument: str, **options: bool) -> str | None:
    (found,) = Finder(**options).find([argument])
    return found.problem


def test_folder_is_searched_in_order_of_names(folder: Path) -> None:
    assert names("pics") == [
        "pics/a.jpg",
        "pics/b.png",
        "pics/deep/c.webp",
        "pics/z.GIF",
    ]
    assert names("pics", is_recursive=False) == [
        "pics/a.jpg",
        "pics/b.png",
        "pics/z.GIF",
    ]


def test_every_image_is_found_once(folder: Path) -> None:
    found = names("pics/b.png", "pics", str(folder / "pics" / "a.jpg"), "./pics/b.png")
    assert found == ["pics/b.png", "pics/a.jpg", "pics/deep/c.webp", "pics/z.GIF"]


def test_pattern_that_no_shell_has_replaced(folder: Path) -> None:
    assert names("pics/*") == names("pics")
    assert names("pics/**/*.webp") == ["pics/deep/c.webp"]
    assert problem("*.jpeg") == "no such file, and no file matches it"


@pytest.mark.parametrize("pattern", ["**.png", "pics/**.jpg", "pics/a**/*.jpg"])
def test_stars_within_a_name_are_no_pattern(folder: Path, pattern: str) -> None:
    assert problem(pattern) == "no valid pattern: ** stands alone, as in pics/**/*.png"


def test_wildcards_stand_for_no_dot_at_the_start(folder: Path) -> None:
    toy_images.write(folder / "pics/.dots/e.png", RED)
    assert names("p*/.dots/*.png") == ["pics/.dots/e.png"]
    assert problem("pics/**/e.png") == "no such file, and no file matches it"


def test_link_that_leads_nowhere_is_named_and_the_rest_found(folder: Path) -> None:
    (folder / "pics/loop.png").symlink_to("loop.png")
    (folder / "pics/lost.png").symlink_to("none")
    for argument in ("pics", "pics/*"):
        found = {one.name: one.problem for one in Finder().find([argument])}
        assert found == {
            "pics/a.jpg": None,
            "pics/b.png": None,
            "pics/deep/c.webp": None,
            "pics/loop.png": "too many levels of symbolic links",
            "pics/lost.png": "no such file or directory",
            "pics/z.GIF": None,
        }


def test_pipe_in_a_folder_is_no_image_but_can_be_named(folder: Path) -> None:
    os.mkfifo(folder / "pics/p.png")
    (folder / "pics/q.png").symlink_to("p.png")
    (folder / "pics/link.png").symlink_to("b.png")
    for argument in ("pics", "pics/*"):
        found = names(argument)
        assert "pics/link.png" in found
        assert not {"pics/p.png", "pics/q.png"} & set(found)
    assert problem("pics/p.png") is None


def test_brackets_in_the_name_of_a_file_are_no_pattern(folder: Path) -> None:
    toy_images.write(folder / "[artist] a.png", RED)
    assert names("[artist] a.png") == ["[artist] a.png"]


def test_named_file_is_read_whatever_its_name(folder: Path) -> None:
    (folder / "picture").write_bytes(toy_images.image(RED))
    assert problem("picture") is None


def test_empty_name_is_not_the_working_folder(folder: Path) -> None:
    assert problem("") == "an empty name"


def test_missing_file_keeps_its_place(folder: Path) -> None:
    found = list(Finder().find(["none.png", "pics/a.jpg"]))
    assert found == [
        Input("none.png", problem="no such file or directory"),
        Input("pics/a.jpg", Path("pics/a.jpg")),
    ]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Gives up root's right to read everything, where the tests run as root."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(own)


def test_unreadable_folder_and_file_are_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        toy_images.write(top / "closed" / "a.png", RED)
        (top / "b.png").write_bytes(toy_images.image(RED))
        (top / "closed").chmod(0)
        (top / "b.png").chmod(0)
        with as_nobody():
            file, closed = Finder().find([name])
            by_pattern = list(Finder().find([f"{name}/*/*.png", f"{name}/**/a.png"]))
            with pytest.raises(Unreadable, match="permission denied"):
                inputs.read(file)
        (top / "closed").chmod(0o755)
    assert closed == Input(f"{name}/closed", problem="permission denied")
    assert by_pattern == [closed]


def test_list_of_paths(folder: Path) -> None:
    path = folder / "list.txt"
    path.write_bytes(b"a b.png\r\n\n\xff.png\n")
    assert list(inputs.read_list(str(path))) == ["a b.png", os.fsdecode(b"\xff.png")]
    with pytest.raises(NoList, match=r"none\.txt cannot be read: no such file"):
        list(inputs.read_list("none.txt"))


def test_mark_at_the_start_of_a_list_is_no_part_of_a_name(folder: Path) -> None:
    path = folder / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa.png\r\n\xef\xbb\xbfb.png\r\n")
    assert list(inputs.read_list(str(path))) == ["a.png", "\ufeffb.png"]


def test_standard_input_that_holds_a_list_is_no_image() -> None:
    (found,) = Finder(stdin_problem="a list").find(["-"])
    assert found == Input("-", problem="a list")


def test_huge_file_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / "huge.png").open("wb") as file:
        file.truncate(inputs.MAX_BYTES + 1)
    (huge,) = Finder().find(["huge.png"])
    with pytest.raises(Unreadable, match="more than 256 MiB"):
        inputs.read(huge)


class Answers(BaseHTTPRequestHandler):
    """Serves an image, redirects and errors."""

    def do_GET(self) -> None:
        """Answers one request."""
        if self.path == "/a.png":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(toy_images.image(RED))
            return
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_error(404)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server on loopback."""
    served = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()


def test_url_is_fetched_only_on_request(server: str) -> None:
    assert problem(f"{server}/a.png") == "a URL: needs --allow-urls"
    (found,) = Finder(url_problem="not here").find([f"{server}/a.png"])
    assert found.problem == "not here"
    (found,) = Finder(allows_urls=True).find([f"{server}/a.png"])
    assert inputs.read(found) == toy_images.image(RED)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param("/none", "the server answers 404", id="404"),
        pytest.param("/to/file:///etc/passwd", "not allowed", id="to a file"),
        pytest.param("/to/ftp://127.0.0.1/a", "away from the web", id="to ftp"),
    ],
)
def test_url_that_gives_nothing(server: str, path: str, reason: str) -> None:
    (found,) = Finder(allows_urls=True).find([f"{server}{path}"])
    with pytest.raises(Unreadable, match=reason):
        inputs.read(found)


@pytest.mark.parametrize(
    "url", ["http://[::1/x.jpg", "http://", "http://127.0.0.1:x/", "http://a b/\0"]
)
def test_malformed_url_is_an_input_with_a_problem(url: str) -> None:
    (found,) = Finder(allows_urls=True).find([url])
    with pytest.raises(Unreadable, match="cannot be fetched: "):
        inputs.read(found)


def test_server_that_is_not_there() -> None:
    (found,) = Finder(allows_urls=True).find(["http://127.0.0.1:9/a.png"])
    with pytest.raises(Unreadable, match="cannot be fetched"):
        inputs.read(found)


decode = partial(stills.prepare, decode=images.decode)


def colour(image: Image.Image) -> tuple[bool, ...]:
    """Which of red, green and blue are high, since formats change colours a bit."""
    return tuple(channel > 128 for channel in image.getpixel((12, 12)))


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF"])
def test_first_frame_of_an_animation(form: str) -> None:
    prepared = decode(toy_images.animation([RED, BLUE], form))
    assert colour(prepared.result) == (True, False, False)
    assert prepared.note == "an animation: its first frame"


def test_animated_png_with_a_caption_that_names_the_chunk() -> None:
    png = toy_images.animation([RED, BLUE], "PNG")
    caption = b"\0\0\0\x0btEXtacTL\0in textxxx"
    assert decode(png[:33] + caption + png[33:]).note == stills.FIRST_FRAME


def test_bytes_behind_an_animated_png_are_not_its_chunks() -> None:
    png = toy_images.animation([RED, BLUE], "PNG")
    behind = b"\xff\xff\xff\xffacTL"
    assert colour(decode(png + behind).result) == (True, False, False)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_formats_that_are_read(form: str) -> None:
    prepared = decode(toy_images.image(BLUE, form))
    assert (colour(prepared.result), prepared.note) == ((False, False, True), None)


def test_transparent_gif_is_on_white() -> None:
    clear = Image.new("P", (24, 24), 0)
    clear.putpalette([255, 0, 0])
    path = Path(tempfile.mkdtemp()) / "clear.gif"
    clear.save(path, transparency=0)
    assert decode(path.read_bytes()).result.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "an empty file", id="zero bytes"),
        pytest.param(b"a fox", "not an image; read are JPEG, PNG", id="text"),
        pytest.param(toy_images.image(RED, "TIFF"), "a file of TIFF; read", id="tiff"),
        pytest.param(b"<!DOCTYPE html>", "a file of HTML", id="a page"),
        pytest.param(b"\0\0\0\x18ftypheic", "a file of HEIF", id="heic"),
        pytest.param(
            toy_images.image(RED, "GIF")[:40], "cannot be decoded|header", id="cut gif"
        ),
        pytest.param(
            toy_images.image(RED, "JPEG", (300, 300))[:-900],
            "part of it",
            id="cut jpeg",
        ),
        pytest.param(
            b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08",
            "too many pixels",
            id="huge gif",
        ),
    ],
)
def test_why_an_image_is_not_read(tmp_path: Path, body: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(body)
    with pytest.raises(Unreadable, match=reason):
        inputs.decode(Input(str(path), path), images.decode)
