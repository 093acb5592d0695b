"""The bytes of an image file, and what viewers overlook in damaged ones."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from e6tag import image_files, images
from e6tag.image_files.damage import Damage, Undecodable
from e6tag.image_files.jpeg import first_scan
from e6tag.image_files.png import PNG_SIGNATURE
from e6tag.image_files.webp import webp_pixels
from sandbox.art.png import chunk
from tests.builders.image_cases import encode

NOISE = Image.effect_noise((320, 240), 80).convert("RGB")
FRAMES = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
JPEG = encode(NOISE, "JPEG")
PROGRESSIVE = encode(NOISE, "JPEG", progressive=True)
PNG = encode(NOISE, "PNG")
WEBP = encode(NOISE, "WEBP")
END = b"\xff\xd9"


def damage_of(body: bytes) -> Damage | None:
    """Returns why bytes give no image; None where they do."""
    try:
        images.decode(body)
    except Undecodable as error:
        return error.damage
    return None


def difference(body: bytes, other: bytes) -> float:
    """Returns how far two files of one size are apart on average, of 255."""
    ours, theirs = images.decode(body), images.decode(other)
    return float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs)).mean())


@pytest.mark.parametrize(
    ("body", "form"),
    [
        pytest.param(JPEG, "jpeg", id="jpeg"),
        pytest.param(PNG, "png", id="png"),
        pytest.param(WEBP, "webp", id="webp"),
    ],
)
def test_format_is_told_by_the_bytes(body: bytes, form: str) -> None:
    file = image_files.read(body)
    assert (file.format, file.is_cut, file.orientation) == (form, False, 1)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "AVIF"])
def test_other_formats_are_not_read(form: str) -> None:
    assert damage_of(encode(NOISE, form)) == Damage.NOT_AN_IMAGE


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_animation_is_no_image(form: str) -> None:
    body = encode(FRAMES[0], form, save_all=True, append_images=FRAMES[1:])
    assert damage_of(body) == Damage.ANIMATION


def test_animation_of_one_frame_is_an_image() -> None:
    body = encode(FRAMES[0], "PNG")
    header = len(PNG_SIGNATURE) + 25
    control = chunk(b"acTL", (1).to_bytes(4, "big") + bytes(4))
    assert damage_of(body[:header] + control + body[header:]) is None


def test_photograph_with_a_second_image_behind_it_is_one_image() -> None:
    """What cameras write: a JPEG that Pillow opens as a file of two frames."""
    body = encode(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:])
    with Image.open(io.BytesIO(body)) as opened:
        assert opened.n_frames == 2
    assert image_files.read(body).format == "jpeg"
    assert images.decode(body).getpixel((4, 4))[0] > 200  # type: ignore[index]


@pytest.mark.parametrize("lost", [0, 1, 2, 3, 20, 60])
@pytest.mark.parametrize("body", [JPEG, PROGRESSIVE], ids=["baseline", "progressive"])
def test_jpeg_may_lose_its_end_marker_and_a_few_bytes(body: bytes, lost: int) -> None:
    assert body.endswith(END)
    cut = body[: len(body) - lost]
    assert image_files.read(cut).is_cut == (lost > 0)
    assert difference(cut, body) < 3


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_part_of_a_jpeg_is_no_image(share: float) -> None:
    assert damage_of(JPEG[: 3 + int(len(JPEG) * share)]) == Damage.PARTIAL


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5])
def test_progressive_jpeg_without_its_last_scan_is_no_image(share: float) -> None:
    """Also where the whole image shows already, as at half of its bytes."""
    cut = PROGRESSIVE[: int(len(PROGRESSIVE) * share)]
    assert damage_of(cut) == Damage.PARTIAL
    with pytest.raises(Undecodable):
        images.decode(cut, at_least=32, approximate=True)


@pytest.mark.parametrize("header", [b"\xff\xc2\0\x02", b"\xff\xc2\0\x0b"])
def test_jpeg_that_ends_in_the_header_of_a_frame(header: bytes) -> None:
    body = JPEG.removesuffix(b"\xff\xd9") + header
    assert image_files.read(body).is_cut


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("extended", [False, True])
def test_pixels_of_a_webp(*, lossless: bool, extended: bool) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0" if extended else b""
    image = Image.new("RGB", (321, 123))
    body = encode(image, "WEBP", lossless=lossless, exif=exif)
    assert (b"VP8X" in body) == extended
    assert webp_pixels(body) == 321 * 123
    assert webp_pixels(body[:12]) == 0


@pytest.mark.parametrize("form", ["L", "CMYK"])
def test_jpeg_of_other_colours_that_is_cut(form: str) -> None:
    body = encode(NOISE.convert(form), "JPEG")
    assert damage_of(body[:-20]) is None
    assert damage_of(body[: len(body) // 2]) == Damage.PARTIAL


def test_thumbnail_in_the_metadata_is_not_the_end_of_a_jpeg() -> None:
    """A photograph holds a small JPEG, with an end marker, before its own pixels."""
    thumbnail = encode(FRAMES[0], "JPEG")
    exif = b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\0" + thumbnail
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    body = JPEG[:2] + segment + JPEG[2:]
    assert damage_of(body) is None
    half = body[: len(segment) + len(JPEG) // 2]
    assert damage_of(half) == Damage.PARTIAL
    header = body[: len(segment) + 40]
    assert damage_of(header) is not None


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("lost", [1, 4, 12, 13, 16])
def test_png_may_lose_its_end(lost: int, *, interlaced: bool) -> None:
    """The end marker has 12 bytes, the checksum of the pixels before it 4 more."""
    body = interlace(NOISE) if interlaced else PNG
    assert difference(body[: len(body) - lost], body) < 3


def test_rows_that_a_png_lost_are_white() -> None:
    cut = PNG[: len(PNG) - 200]
    found = np.asarray(images.decode(cut))
    whole = np.asarray(NOISE)
    assert (found[-1] == 255).all()
    assert (found[:-10] == whole[:-10]).all()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_part_of_a_png_is_no_image(share: float) -> None:
    header = len(PNG_SIGNATURE) + 25
    cut = PNG[: header + int((len(PNG) - header) * share)]
    assert damage_of(cut) == Damage.PARTIAL


def interlace(image: Image.Image) -> bytes:
    """Returns an interlaced PNG, which Pillow does not write (Adam7)."""
    pixels = np.asarray(image)
    rows = b""
    for top, left, down, right in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        for row in pixels[top::down, left::right]:
            rows += b"\0" + row.tobytes()
    header = image.width.to_bytes(4, "big") + image.height.to_bytes(4, "big")
    parts = (
        (b"IHDR", header + bytes([8, 2, 0, 0, 1])),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return PNG_SIGNATURE + b"".join(chunk(*part) for part in parts)


def with_wrong_checksum(body: bytes, kind: bytes) -> bytes:
    """Returns a PNG in which the first chunk of a kind has a wrong checksum."""
    start = body.index(kind) - 4
    end = start + 12 + int.from_bytes(body[start : start + 4], "big")
    return body[: end - 4] + bytes(4) + body[end:]


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        pytest.param(b"tEXt", None, id="a caption"),
        pytest.param(b"eXIf", None, id="metadata"),
        pytest.param(b"IHDR", Damage.PIXELS, id="the header"),
        pytest.param(b"IDAT", Damage.PIXELS, id="the pixels"),
    ],
)
def test_wrong_checksum_matters_where_pixels_are(
    kind: bytes, damage: Damage | None
) -> None:
    text = PngInfo()
    text.add_text("Comment", "a caption")
    tags = Image.Exif()
    tags[0x0112] = 1
    body = encode(NOISE, "PNG", pnginfo=text, exif=tags.tobytes())
    assert damage_of(body) is None
    assert damage_of(with_wrong_checksum(body, kind)) == damage


def test_clear_colour_with_a_wrong_checksum_is_no_clear_colour() -> None:
    body = encode(NOISE, "PNG", transparency=NOISE.getpixel((3, 3)))
    assert difference(body, PNG) > 0
    assert difference(with_wrong_checksum(body, b"tRNS"), PNG) == 0


def test_metadata_may_have_any_size() -> None:
    header = len(PNG_SIGNATURE) + 25
    caption = b"Comment\0\0" + zlib.compress(b"a" * (80 << 20))
    profile = b"profile\0\0" + zlib.compress(bytes(2 << 20))
    for extra in (chunk(b"zTXt", caption), chunk(b"iCCP", profile)):
        assert difference(PNG[:header] + extra + PNG[header:], PNG) == 0
    comment = b"\xff\xfe\xff\xff" + b"a" * 65_533
    assert difference(JPEG[:2] + comment * 200 + JPEG[2:], JPEG) == 0


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_may_lose_a_few_bytes(*, lossless: bool) -> None:
    body = encode(NOISE, "WEBP", lossless=lossless)
    cut = body[:-20]
    assert image_files.read(cut).is_cut
    assert difference(cut, body) < 3
    assert damage_of(body[: len(body) // 2]) == Damage.PARTIAL


def test_header_of_a_bomb_does_not_fill_the_memory() -> None:
    """A PNG without an end whose few bytes promise 60,000 x 60,000 pixels."""
    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(bytes(64 << 20))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels)
    assert damage_of(PNG_SIGNATURE + parts) == Damage.TOO_MANY_PIXELS


def test_first_scan_needs_all_colours() -> None:
    scan = PROGRESSIVE.find(b"\xff\xda")
    assert PROGRESSIVE[scan + 4] == 3
    assert first_scan(PROGRESSIVE) is not None
    one_colour = bytearray(PROGRESSIVE)
    one_colour[scan + 4] = 1
    assert first_scan(bytes(one_colour)) is None
    assert first_scan(JPEG) is None
