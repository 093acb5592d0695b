"""Fingerprint: an image in numbers that hardly change by re-encoding or cropping.

An image has hashes of its grey values (Zauner 2010: signs of the lowest DCT
frequencies), which survive re-encoding and resizing, and of its edges, which survive
new colours; each of the whole image and of views into it that a slight crop would
leave. A thumbnail confirms or refutes what near hashes suggest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct

from e6tag import images

# Of red, green and blue (ITU-R BT.601), as in Pillow's "L".
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
SIDE = 64  # pixels of the square that all is worked out from; the aspect is given up
_HASHED = 32  # pixels of a side that the DCT sees; 8 x 8 of its frequencies are kept
THUMBNAIL = 16  # pixels of a side, in three colours and one plane of edges
# Steps between neighbouring pixels beyond this count as black on white.
_STRONG = 64.0

WHOLE = (0.0, 1.0, 0.0, 1.0)
VIEWS = (
    WHOLE,
    *((cut, 1 - cut, cut, 1 - cut) for cut in (0.02, 0.04, 0.06)),
    (0.06, 1.0, 0.0, 1.0),
    (0.0, 0.94, 0.0, 1.0),
    (0.0, 1.0, 0.06, 1.0),
    (0.0, 1.0, 0.0, 0.94),
)
"""Left, right, top and bottom of each view as shares.

The whole, all sides cut, one side cut. The hash of a cropped copy is near that of the
view which lies nearest to its crop (measured: bench/results/duplicates.md)."""

KINDS = ("grey", "edges")


@dataclass(frozen=True, slots=True)
class ImageFingerprint:
    """Hashes and thumbnail of an image.

    hashes: uint64 [kinds, views]; thumbnail: uint8 [THUMBNAIL, THUMBNAIL, 4], red,
    green, blue and edges.
    """

    hashes: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]

    @property
    def phash(self) -> int:
        """The grey hash of the whole image."""
        return int(self.hashes[0, 0])


def read_small(body: bytes) -> Image.Image:
    """Returns an image with about as many pixels as a fingerprint needs."""
    return images.decode(body, at_least=SIDE, approximate=True)


def shrink(image: Image.Image) -> NDArray[np.float32]:
    """Returns the pixels that `of_pixels` takes of an RGB image."""
    box = Image.Resampling.BOX
    small = image.resize((SIDE, SIDE), box, reducing_gap=2.0)
    return np.asarray(small, dtype=np.float32)


def fingerprint(body: bytes) -> ImageFingerprint:
    """Returns the fingerprint of an image; raises images.Undecodable."""
    return of_pixels(shrink(read_small(body)))


def of_pixels(pixels: NDArray[np.float32]) -> ImageFingerprint:
    """pixels: RGB [SIDE, SIDE, 3], 0 to 255."""
    grey = pixels @ _LUMA
    edges = _edges(grey)
    planes = np.concatenate([pixels, edges[:, :, None]], axis=2)
    small = np.einsum("ai,ijc,bj->abc", _SHRINK, planes, _SHRINK, optimize=True)
    thumbnail = np.clip(np.round(small), 0, 255).astype(np.uint8)
    return ImageFingerprint(_hashes(np.stack([grey, edges])), thumbnail)


def crop_views(
    thumbnails: NDArray[np.uint8], views: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns the part of each thumbnail that its view shows, float32 [n, 14, 14, 4].

    thumbnails: [n, THUMBNAIL, THUMBNAIL, 4]; views: [n], places in VIEWS.
    """
    values = thumbnails.astype(np.float32)
    across = np.einsum("nijc,nbj->nibc", values, _SEEN_X[views], optimize=True)
    return np.einsum("nai,nibc->nabc", _SEEN_Y[views], across, optimize=True)


def _edges(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns [SIDE, SIDE]: how much grey steps from each pixel to the next.

    Not the colours: most JPEGs halve their resolution, and decoders differ in how they
    restore it.
    """
    right = np.diff(grey, axis=1, append=grey[:, -1:])
    down = np.diff(grey, axis=0, append=grey[-1:])
    return np.minimum(np.hypot(right, down), _STRONG).astype(np.float32)


def _hashes(planes: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Returns uint64 [kinds, views].

    A bit is set where one of the 8 x 8 lowest frequencies is above their median; that
    of the mean brightness is always 0. Crop, shrinking and DCT of a view are one matrix
    per axis. planes: [kinds, SIDE, SIDE].
    """
    low = (
        _ROWS[:, None] @ planes[None] @ _COLUMNS[:, None].transpose(0, 1, 3, 2)
    ).transpose(1, 0, 2, 3)
    low = low.reshape(len(planes), len(VIEWS), 64)
    bits = low > np.median(low[:, :, 1:], axis=2, keepdims=True)
    bits[:, :, 0] = False
    return np.packbits(bits, axis=2).view(">u8")[:, :, 0].astype(np.uint64)


def _averaging(cells: int, low: float, high: float, pixels: int) -> NDArray[np.float32]:
    """Returns the matrix [cells, pixels] that averages part of an axis into cells.

    low, high: the part, as shares of the axis.
    """
    bounds = np.linspace(low * pixels, high * pixels, cells + 1)
    left = np.maximum(bounds[:-1, None], np.arange(pixels)[None])
    right = np.minimum(bounds[1:, None], np.arange(1, pixels + 1)[None])
    overlap = np.maximum(right - left, 0.0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


# In 64 bits: rounding seldom decides a bit.
_DCT = dct(np.eye(_HASHED), axis=0, norm="ortho")[:8]
_COLUMNS = np.stack(
    [_DCT @ _averaging(_HASHED, left, right, SIDE) for left, right, _, _ in VIEWS]
)
_ROWS = np.stack(
    [_DCT @ _averaging(_HASHED, top, bottom, SIDE) for _, _, top, bottom in VIEWS]
)
_SHRINK = _averaging(THUMBNAIL, 0.0, 1.0, SIDE)
_SEEN = THUMBNAIL - 2  # cells of a view: no more than it has pixels
_SEEN_X = np.stack(
    [_averaging(_SEEN, left, right, THUMBNAIL) for left, right, _, _ in VIEWS]
)
_SEEN_Y = np.stack(
    [_averaging(_SEEN, top, bottom, THUMBNAIL) for _, _, top, bottom in VIEWS]
)
