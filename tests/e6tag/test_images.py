"""From bytes to pixels."""

import io
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from e6tag import image_files, images
from e6tag.images import Damage, Undecodable
from tests.builders import image_cases
from tests.builders.image_cases import Case, encode, exif
from tests.builders.project import ROOT

RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)
CASES = image_cases.load()

UPRIGHT = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("RGB")
"""An image that no turning and no mirroring leaves as it is."""

STORED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
"""How the upright image lies in a file of each orientation."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_image_shows_what_every_viewer_shows(case: Case) -> None:
    ours = images.decode(case.body)
    assert (ours.mode, ours.size) == ("RGB", case.right.size)
    assert case.difference() <= 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_size_is_that_of_the_upright_image(case: Case) -> None:
    info = images.read_info(case.body)
    assert (info.width, info.height) == case.right.size


def test_page_on_pixels_shows_every_case() -> None:
    page = (ROOT / "docs" / "pixels.md").read_text()
    for case in CASES:
        (told,) = re.findall(rf"\| `{re.escape(case.name)}` \| ([\d.]+) \|", page)
        # Decoders of other versions round differently.
        assert float(told) == pytest.approx(case.difference(), abs=0.3), case.name


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_of_every_format(form: str, orientation: int) -> None:
    stored = STORED[orientation](UPRIGHT)
    options = {"lossless": True} if form == "WEBP" else {}
    body = encode(stored, form, exif=exif(orientation), **options)
    found = images.decode(body)
    assert found.size == UPRIGHT.size
    difference = np.abs(np.asarray(found, np.int16) - np.asarray(UPRIGHT))
    assert difference.mean() < (8 if form == "JPEG" else 0.01)


def test_png_may_tell_its_orientation_after_its_pixels() -> None:
    body = encode(STORED[6](UPRIGHT), "PNG", exif=exif(6))
    start = body.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(body[start : start + 4], "big")
    last = body.index(b"IEND") - 4
    moved = body[:start] + body[end:last] + body[start:end] + body[last:]
    assert images.read_info(moved).width == UPRIGHT.width
    assert images.decode(moved).tobytes() == UPRIGHT.tobytes()


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(exif(0), id="0"),
        pytest.param(exif(9), id="9"),
        pytest.param(b"Exif\0\0", id="nothing"),
        pytest.param(b"Exif\0\0" + b"\xff" * 200, id="no TIFF"),
        pytest.param(exif(6)[:-10], id="cut off"),
        pytest.param(exif(6).replace(b"\0\3", b"\0\5"), id="another type"),
    ],
)
def test_nonsense_for_an_orientation_is_ignored(nonsense: bytes) -> None:
    body = encode(UPRIGHT, "PNG", exif=nonsense)
    assert image_files.read(body).orientation == 1
    assert images.decode(body).tobytes() == UPRIGHT.tobytes()


def test_orientation_in_either_order_of_bytes() -> None:
    """Cameras write both; Pillow writes the first, whose numbers end low."""
    tags = bytes.fromhex("4949 2a00 0800 0000 0100 1201 0300 0100 0000 0600 0000")
    for data in (exif(6), b"Exif\0\0" + tags + bytes(4)):
        body = encode(UPRIGHT, "PNG", exif=data)
        assert image_files.read(body).orientation == 6


@pytest.mark.parametrize("orientation", [1, 6])
def test_first_scan_shows_the_whole_image_upright(orientation: int) -> None:
    large = UPRIGHT.resize((1200, 900))
    body = encode(
        STORED[orientation](large), "JPEG", progressive=True, exif=exif(orientation)
    )
    whole = images.decode(body, at_least=64)
    rough = images.decode(body, at_least=64, approximate=True)
    assert rough.size == whole.size == (150, 113)
    difference = np.abs(np.asarray(rough, np.int16) - np.asarray(whole))
    assert difference.max() > 0  # else the first scan was not what was read
    assert difference.max() <= 2  # means that were not smoothed


def test_jpeg_is_decoded_no_smaller_than_asked() -> None:
    body = encode(UPRIGHT.resize((1600, 1200)), "JPEG")
    width, height = images.decode(body, at_least=200).size
    assert min(width, height) >= 200
    assert width < 1600


@pytest.mark.parametrize(
    ("fit", "corner", "left"),
    [
        pytest.param("pad", WHITE, RED, id="pad"),
        pytest.param("crop", RED, RED, id="crop"),
        pytest.param("stretch", RED, RED, id="stretch"),
    ],
)
def test_square_of_a_wide_image(
    fit: str, corner: tuple[int, int, int], left: tuple[int, int, int]
) -> None:
    found = images.square(Image.new("RGB", (64, 32), RED), size=16, fit=fit)
    assert found.size == (16, 16)
    assert found.getpixel((0, 0)) == corner
    assert found.getpixel((0, 8)) == left


def test_crop_keeps_the_centre_and_stretch_keeps_all() -> None:
    wide = Image.new("RGB", (64, 32), WHITE)
    wide.paste(RED, (0, 0, 16, 32))  # the part that a crop cuts off
    cropped = images.square(wide, size=16, fit="crop")
    stretched = images.square(wide, size=16, fit="stretch")
    assert cropped.getpixel((0, 8))[1] > 200  # type: ignore[index]
    assert stretched.getpixel((0, 8)) == RED


def test_square_of_a_turned_image_is_upright() -> None:
    wide = Image.new("RGB", (64, 32), RED)
    wide.paste(BLUE, (0, 0, 64, 8))
    body = encode(STORED[6](wide), "PNG", exif=exif(6))
    jpeg = images.fit_jpeg(body, size=32, fit="pad", quality=95)
    with Image.open(io.BytesIO(jpeg)) as fitted:
        assert fitted.getpixel((16, 1))[1] > 240  # padding above
        assert fitted.getpixel((16, 9))[2] > 150  # what is on top
        assert fitted.getpixel((16, 20))[0] > 150


def test_jpeg_has_the_size_and_bad_bytes_are_named() -> None:
    body = encode(Image.new("RGB", (300, 200), RED), "PNG")
    jpeg = images.fit_jpeg(body, size=96, fit="pad", quality=90)
    with Image.open(io.BytesIO(jpeg)) as opened:
        assert (opened.format, opened.size) == ("JPEG", (96, 96))
    for broken, damage in (
        (b"", Damage.NOT_AN_IMAGE),
        (b"<html>", Damage.NOT_AN_IMAGE),
        (body[:60], Damage.PARTIAL),
        (body[:12], Damage.HEADER),
    ):
        with pytest.raises(Undecodable) as raised:
            images.fit_jpeg(broken, size=96, fit="pad", quality=90)
        assert raised.value.damage == damage
        assert str(raised.value) == damage.value


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_more_pixels_than_allowed_are_not_decoded(form: str) -> None:
    body = encode(UPRIGHT, form)
    pixels = UPRIGHT.width * UPRIGHT.height
    images.decode(body, max_pixels=pixels)
    with pytest.raises(Undecodable, match="too many pixels"):
        images.decode(body, max_pixels=pixels - 1)
    with pytest.raises(Undecodable, match="too many pixels"):
        images.read_info(body, max_pixels=pixels - 1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_half_a_file_is_found_where_it_is_read_to_the_end(form: str) -> None:
    body = encode(Image.effect_noise((200, 200), 90).convert("RGB"), form)
    half = body[: len(body) // 2]
    with pytest.raises(Undecodable):
        images.read_info(half, to_the_end=True)
    assert images.read_info(body, to_the_end=True).format == form.lower()


def test_one_pixel_is_read_to_the_end() -> None:
    body = encode(Image.new("RGB", (1, 1), RED), "JPEG")
    assert images.read_info(body, to_the_end=True).width == 1


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """Draws the bytes of a case with some of them changed, lost or added."""
    body = bytearray(draw(st.sampled_from(CASES)).body)
    for _ in range(draw(st.integers(1, 6))):
        position = draw(st.integers(0, max(0, len(body) - 1)))
        if draw(st.booleans()):
            body[position : position + 1] = draw(st.binary(max_size=4))
        else:
            del body[position : position + draw(st.integers(1, 60))]
    end = draw(st.one_of(st.none(), st.integers(0, len(body))))
    return bytes(body[:end])


@given(spoilt(), st.sampled_from([None, 32]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_an_image_or_one_of_the_known_reasons(
    body: bytes, at_least: int | None, approximate: bool
) -> None:
    # Anything else that is raised fails the test.
    with suppress(Undecodable):
        found = images.decode(body, at_least=at_least, approximate=approximate)
        assert found.mode == "RGB"


DECODE = """
import sys
from pathlib import Path
from e6tag import images, stills
stills.prepare(Path(sys.argv[1]).read_bytes(), images.decode)
"""

EXIF_CUT_OFF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01"


def jpeg_of_damaged_exif() -> bytes:
    """Returns a JPEG whose EXIF is not dropped: a byte before it hides the segment."""
    body = encode(UPRIGHT, "JPEG", exif=EXIF_CUT_OFF)
    return body.replace(b"\xff\xe1", b"\0\xff\xe1", 1)


def avif_of_damaged_exif() -> bytes:
    with warnings.catch_warnings(action="ignore"):
        return encode(UPRIGHT, "AVIF", exif=EXIF_CUT_OFF)


def png_of_transparent_colours() -> bytes:
    return encode(UPRIGHT.quantize(4), "PNG", transparency=bytes([0, 80, 160, 255]))


@pytest.mark.parametrize(
    "make", [jpeg_of_damaged_exif, avif_of_damaged_exif, png_of_transparent_colours]
)
def test_pillow_prints_no_warning(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = tmp_path / "photo"
    path.write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DECODE, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_each_colour_of_a_palette_has_its_own_transparency() -> None:
    colours = Image.new("P", (3, 1))
    colours.putpalette([*RED, *RED, *RED])
    colours.putdata([0, 1, 2])
    body = encode(colours, "PNG", transparency=bytes([0, 51, 255]))
    decoded = images.decode(body)
    pixels = [decoded.getpixel((column, 0)) for column in range(3)]
    assert pixels == [WHITE, (255, 204, 204), RED]


OUT_OF_MEMORY = """
import resource, sys
from e6tag import image_files, images, stills
body = open(sys.argv[1], "rb").read()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    stills.prepare(body, images.decode)
except MemoryError:
    print("memory")
except images.Undecodable as error:
    print("damage", error)
"""


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_want_of_memory_is_not_taken_for_damage(tmp_path: Path, form: str) -> None:
    path = tmp_path / "large"
    path.write_bytes(encode(Image.new("RGB", (9000, 6000), RED), form))
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "memory"


def test_formats_are_known_though_no_file_can_be_opened() -> None:
    """A plugin that Pillow cannot load now must not make an image unknown."""
    code = """
import resource, sys
from e6tag import image_files, images
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
print(images.read_info(bytes.fromhex(sys.argv[1])).format)
"""
    for form in ("JPEG", "PNG", "WEBP"):
        body = encode(Image.new("RGB", (8, 8), RED), form)
        done = subprocess.run(
            [sys.executable, "-c", code, body.hex()],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == form.lower()
