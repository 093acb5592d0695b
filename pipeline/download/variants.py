"""Which file of a post to request, by the site's size rules (contract section 4).

The rules are applied offline, and only to still images, which are all that the policy
permits: of others the site makes samples by other rules.
"""

from dataclasses import dataclass

ImageKey = tuple[str, str]
"""md5 and variant: what no two requests of a run share."""

# Pixels; the site makes samples of images beyond these.
SAMPLE_SHORTER, SAMPLE_LONGER = 850, 1700

# Pixels; small images are enlarged, what is longer is cropped.
PREVIEW_SHORTER, PREVIEW_LONGER = 256, 512

# Pixels; of previews made before 2025-06-26, which the site replaces in batches.
OLD_PREVIEW_LONGER = 150

MAY_BE_TRANSPARENT = frozenset({"png", "webp"})
"""Originals whose variants are requested as WebP, which preserves alpha: in the JPEG
twin the site has flattened it on a colour of the post's own, and every image here lies
on images.BACKGROUND."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to fetch.

    width, height: pixels of the variant by the rules; file_size: bytes of the original;
    old_size: pixels that the file may have instead, where the rules changed.
    """

    md5: str
    post_id: int
    variant: str
    path: str
    width: int
    height: int
    file_size: int
    old_size: tuple[int, int] | None = None

    @property
    def key(self) -> ImageKey:
        """md5 and variant."""
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
    """Returns the request for `variant` of a post's image.

    It is the original where the site makes no such variant of this image. width,
    height and file_size are the original's.
    """
    folder = f"{md5[:2]}/{md5[2:4]}/{md5}"
    twin = "webp" if ext in MAY_BE_TRANSPARENT else "jpg"
    if variant == "preview" and has_preview(width, height):
        return ImageRequest(
            md5,
            post_id,
            variant,
            f"/data/preview/{folder}.{twin}",
            *preview_size(width, height),
            file_size,
            old_preview_size(width, height),
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
    path = f"/data/{folder}.{ext}"
    return ImageRequest(md5, post_id, "original", path, width, height, file_size)


def has_sample(width: int, height: int) -> bool:
    """Returns whether the site makes a sample of a still image of this size."""
    return min(width, height) > SAMPLE_SHORTER or max(width, height) > SAMPLE_LONGER


def has_preview(width: int, height: int) -> bool:
    """Returns whether the site makes a preview.

    It makes none of the 1 x 1 entries of its early days.
    """
    return max(width, height) > 1


def sample_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height of the sample.

    Its shorter side is 850, or its longer 1700 where that is smaller.

    >>> sample_size(1792, 2400)
    (850, 1138)
    """
    scale = min(SAMPLE_SHORTER / min(width, height), SAMPLE_LONGER / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def preview_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height of the preview.

    Its shorter side is 256, the longer is cropped to at most 512.

    >>> preview_size(2500, 1700)
    (376, 256)
    """
    scale = PREVIEW_SHORTER / min(width, height)
    wide = min(PREVIEW_LONGER, round(width * scale))
    high = min(PREVIEW_LONGER, round(height * scale))
    return wide, high


def old_preview_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height of a preview by the rule before 2025-06-26.

    Its longer side is 150.

    >>> old_preview_size(2500, 1700)
    (150, 102)
    """
    scale = OLD_PREVIEW_LONGER / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
