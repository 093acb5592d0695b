"""Colours as a screen shows them."""

import struct
import zlib
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageCms

from e6tag import colours, images
from sandbox.art.png import chunk
from tests.builders.image_cases import FOLDER, encode

RED, WHITE = (255, 0, 0), (255, 255, 255)
PIXELS = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("RGB")


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        pytest.param(Image.new("RGBA", (2, 2), (255, 0, 0, 0)), WHITE, id="clear"),
        pytest.param(
            Image.new("RGBA", (2, 2), (255, 0, 0, 128)), (255, 127, 127), id="half"
        ),
        pytest.param(Image.new("LA", (2, 2), (0, 255)), (0, 0, 0), id="grey"),
        pytest.param(Image.new("LA", (2, 2), (0, 0)), WHITE, id="clear grey"),
        pytest.param(Image.new("L", (2, 2), 7), (7, 7, 7), id="grey, no alpha"),
        pytest.param(Image.new("1", (2, 2), 1), WHITE, id="one bit"),
        pytest.param(Image.new("I;16", (2, 2), 256 * 90), (90, 90, 90), id="16 bits"),
    ],
)
def test_every_mode_becomes_rgb_on_white(
    image: Image.Image, pixel: tuple[int, int, int]
) -> None:
    found = colours.flatten(image)
    assert found.mode == "RGB"
    assert np.allclose(found.getpixel((0, 0)), pixel, atol=1)


def test_palette_with_a_clear_colour() -> None:
    image = PIXELS.quantize(4)
    body = encode(image, "PNG", transparency=0)
    found = np.asarray(images.decode(body))
    is_clear = np.asarray(image) == 0
    assert is_clear.any()
    assert not is_clear.all()
    assert (found[is_clear] == 255).all()
    opaque = np.asarray(image.convert("RGB"))
    assert (found[~is_clear] == opaque[~is_clear]).all()


def profile_of(name: str) -> bytes:
    """Returns the colour profile of a case."""
    with Image.open(FOLDER / name) as image:
        profile: bytes = image.info["icc_profile"]
    return profile


def with_profile(image: Image.Image, profile: bytes) -> np.ndarray:
    """Returns the pixels of an image in a PNG with a profile."""
    return np.asarray(images.decode(encode(image, "PNG", icc_profile=profile)))


def test_profile_of_another_colour_space_is_ignored() -> None:
    grey, swapped = profile_of("07-icc-grey.png"), profile_of("05-icc-swap.png")
    assert (with_profile(PIXELS, grey) == np.asarray(PIXELS)).all()
    level = PIXELS.convert("L")
    assert (with_profile(level, swapped) == np.asarray(level.convert("RGB"))).all()


def test_profile_applies_below_transparency() -> None:
    swapped = profile_of("05-icc-swap.png")
    opaque = with_profile(PIXELS, swapped)
    assert (opaque != np.asarray(PIXELS)).any()
    clear = PIXELS.copy()
    clear.putalpha(Image.new("L", clear.size, 255))
    assert (with_profile(clear, swapped) == opaque).all()
    clear.putalpha(Image.new("L", clear.size, 0))
    assert (with_profile(clear, swapped) == 255).all()


def test_palette_is_converted_by_its_profile_too() -> None:
    swapped = profile_of("05-icc-swap.png")
    image = PIXELS.quantize(64)
    expected = with_profile(image.convert("RGB"), swapped)
    assert (with_profile(image, swapped) == expected).all()


def test_profile_that_is_srgb_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (with_profile(PIXELS, srgb) == np.asarray(PIXELS)).all()


def ink_profile() -> bytes:
    """Returns a CMYK profile whose inks, but for black, are three shades of grey.

    A lut8 of two grid points an ink to CIE Lab (ICC.1:2001, section 6.5.9); one of a
    printer takes half a megabyte.
    """
    grid = bytearray()
    for cyan, magenta, yellow, black in product((0, 1), repeat=4):
        lightness = 0 if black else 255 - 60 * (cyan + magenta + yellow)
        grid += bytes([lightness, 128, 128])
    unchanged = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix
    lut += unchanged * 4 + bytes(grid) + unchanged * 3
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    point = b"XYZ " + bytes(4) + white
    start = 128 + 4 + 2 * 12
    table = struct.pack(">I", 2)
    table += struct.pack(">4sII", b"A2B0", start, len(lut))
    table += struct.pack(">4sII", b"wtpt", start + len(lut), len(point))
    header = struct.pack(">I4xI", start + len(lut) + len(point), 0x0240_0000)
    header += b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28) + white
    return header.ljust(128, b"\0") + table + lut + point


@pytest.mark.parametrize(
    ("inks", "shown"),
    [
        pytest.param((0, 255, 255, 0), (126, 126, 126), id="two inks"),
        pytest.param((0, 0, 0, 0), WHITE, id="no ink"),
        pytest.param((0, 0, 0, 255), (0, 0, 0), id="black"),
    ],
)
def test_inks_are_converted_by_their_profile(
    inks: tuple[int, ...], shown: tuple[int, ...]
) -> None:
    body = encode(Image.new("CMYK", (8, 8), inks), "JPEG", icc_profile=ink_profile())
    assert images.decode(body).getpixel((4, 4)) == pytest.approx(shown, abs=3)


def test_profile_that_is_of_no_inks_is_ignored() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    plain = images.decode(encode(image, "JPEG"))
    assert plain.getpixel((4, 4)) == pytest.approx(RED, abs=6)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    unfitting = images.decode(encode(image, "JPEG", icc_profile=lab))
    assert unfitting.tobytes() == plain.tobytes()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_clear_level_of_a_grey_png_is_on_the_scale_of_its_depth(depth: int) -> None:
    levels = 1 << depth
    for clear in {0, 1, levels - 1}:
        found = np.asarray(images.decode(grey_png(depth, clear)))[0, :, 0]
        for level in range(min(levels, 16)):
            shown = 255 if level == clear else level * 255 // (levels - 1)
            assert found[level] == shown, (depth, clear, level)


def grey_png(depth: int, clear: int) -> bytes:
    """Returns a grey PNG of one row, 0, 1, 2, ..., whose level `clear` is clear."""
    levels = list(range(1 << min(depth, 4)))
    bits = "".join(f"{level:0{depth}b}" for level in levels)
    row = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2)
    packed = row.to_bytes(-(-len(bits) // 8), "big")
    header = len(levels).to_bytes(4, "big") + (1).to_bytes(4, "big")
    parts = (
        (b"IHDR", header + bytes([depth, 0, 0, 0, 0])),
        (b"tRNS", clear.to_bytes(2, "big")),
        (b"IDAT", zlib.compress(b"\0" + packed)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def test_clear_colour_of_a_deep_png() -> None:
    """16 bits a channel, of which Pillow keeps the upper 8."""
    pixels = bytes.fromhex("1234 5678 9abc ffff 0000 0000".replace(" ", ""))
    header = (2).to_bytes(4, "big") + (1).to_bytes(4, "big")
    parts = (
        (b"IHDR", header + bytes([16, 2, 0, 0, 0])),
        (b"tRNS", pixels[:6]),
        (b"IDAT", zlib.compress(b"\0" + pixels)),
        (b"IEND", b""),
    )
    body = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)
    found = images.decode(body)
    assert found.getpixel((0, 0)) == WHITE
    assert found.getpixel((1, 0)) == RED
