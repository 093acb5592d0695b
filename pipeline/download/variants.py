"""Which file of a post to ask for, worked out offline by the site's own size rules (contract section 4).

Only for still pictures, which are all that policy lets through: of others the site makes samples by other rules.
"""

from dataclasses import dataclass

SAMPLE_SHORTER, SAMPLE_LONGER = (
    850,
    1700,
)  # pixels; the site makes samples of pictures beyond these
PREVIEW_SHORTER, PREVIEW_LONGER = (
    256,
    512,
)  # pixels; small pictures are enlarged, what is longer is cropped
OLD_PREVIEW_LONGER = (
    150  # pixels; of previews made before 2025-06-26, which are replaced in batches
)

MAY_BE_TRANSPARENT = frozenset({"png", "webp"})
"""Originals whose variants are asked for as WebP, which keeps alpha.

In the JPEG twin the site has flattened it on a
colour of the post's own, and every picture here lies on pictures.GROUND."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One picture to fetch.

    Sizes are pixels of the variant as the rules have them; `file_size` is the
    original's.
    """

    md5: str
    post_id: int
    variant: str
    path: str
    width: int
    height: int
    file_size: int
    old_size: tuple[int, int] | None = (
        None  # pixels that the file may have instead, where the rules changed
    )

    @property
    def key(self) -> tuple[str, str]:
        """What no two wishes of a run share."""
        return self.md5, self.variant


def image_request(
    post_id: int,
    md5: str,
    ext: str,
    width: int,
    height: int,
    file_size: int,
    variant: str,
) -> ImageRequest:
    """Returns the file that serves `variant`.

    The original where the site makes none of such a picture.
    """
    folder = f"{md5[:2]}/{md5[2:4]}/{md5}"
    twin = "webp" if ext in MAY_BE_TRANSPARENT else "jpg"
    if variant == "preview" and has_preview(width, height):
        path, old = f"/data/preview/{folder}.{twin}", old_preview_size(width, height)
        return ImageRequest(
            md5, post_id, variant, path, *preview_size(width, height), file_size, old
        )
    if variant == "sample" and has_sample(width, height):
        return ImageRequest(
            md5,
            post_id,
            variant,
            f"/data/sample/{folder}.{twin}",
            *sample_size(width, height),
            file_size,
        )
    return ImageRequest(
        md5, post_id, "original", f"/data/{folder}.{ext}", width, height, file_size
    )


def has_sample(width: int, height: int) -> bool:
    """Returns whether the site makes a sample of a still picture of this size."""
    return min(width, height) > SAMPLE_SHORTER or max(width, height) > SAMPLE_LONGER


def has_preview(width: int, height: int) -> bool:
    """Returns whether the site makes a preview.

    Not of the 1 x 1 entries of its early days.
    """
    return max(width, height) > 1


def sample_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height of the sample.

    Shorter side 850, or longer side 1700 where that is smaller.

    >>> sample_size(1792, 2400)
    (850, 1138)
    """
    scale = min(SAMPLE_SHORTER / min(width, height), SAMPLE_LONGER / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def preview_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height of the preview.

    Shorter side 256, the longer cropped to at most 512.

    >>> preview_size(2500, 1700)
    (376, 256)
    """
    scale = PREVIEW_SHORTER / min(width, height)
    return min(PREVIEW_LONGER, round(width * scale)), min(
        PREVIEW_LONGER, round(height * scale)
    )


def old_preview_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height of a preview made by the rule before 2025-06-26.

    Longer side 150.

    >>> old_preview_size(2500, 1700)
    (150, 102)
    """
    scale = OLD_PREVIEW_LONGER / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
