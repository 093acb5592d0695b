"""Fits a picture to the square it is trained on."""

import io
import warnings

from PIL import Image, ImageOps

from e6tag import images
from pipeline.errors import E6tagError
from pipeline.params import Shard

PAD = images.GROUND
"""What fills a padded square: the ground that transparency is flattened on."""


class Undecodable(E6tagError):
    """A picture that cannot be decoded; it becomes a row of schemas.REJECTED."""


def fit(body: bytes, params: Shard) -> bytes:
    """Returns the picture as a square JPEG of params.size pixels.

    Raises Undecodable.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(body)) as opened:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # JPEG only: decodes at 1/2 to 1/8 of the size, still at least as large as
            # what is wanted.
            opened.draft("RGB", (params.size, params.size))
            picture = images.flat(opened)
            square = _square(picture, params)
    except images.BROKEN as error:
        raise Undecodable(f"cannot be decoded: {error}") from error
    square.save(out := io.BytesIO(), "JPEG", quality=params.quality)
    return out.getvalue()


def _square(picture: Image.Image, params: Shard) -> Image.Image:
    side = (params.size, params.size)
    if params.fit == "pad":
        return ImageOps.pad(picture, side, Image.Resampling.LANCZOS, color=PAD)
    if params.fit == "crop":
        return ImageOps.fit(picture, side, Image.Resampling.LANCZOS)
    return picture.resize(side, Image.Resampling.LANCZOS, reducing_gap=2.0)
