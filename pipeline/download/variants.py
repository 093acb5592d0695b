"""Which file of a post to ask for, worked out offline by the site's own size rules (contract section 4)."""

from dataclasses import dataclass

SAMPLE_SHORTER, SAMPLE_LONGER = 850, 1700  # pixels; the site makes samples of pictures beyond these


@dataclass(frozen=True, slots=True)
class Wanted:
    """One picture to fetch. Sizes are pixels of the variant as the rules have them; `file_size` is the original's."""

    md5: str
    post_id: int
    variant: str
    path: str
    width: int
    height: int
    file_size: int


def wanted(post_id: int, md5: str, ext: str, width: int, height: int, file_size: int, variant: str) -> Wanted:
    """Returns the file that serves `variant`: the original where the site makes no sample."""
    folder = f"{md5[:2]}/{md5[2:4]}/{md5}"
    if variant == "preview":
        return Wanted(md5, post_id, variant, f"/data/preview/{folder}.jpg", *preview_size(width, height), file_size)
    if variant == "sample" and has_sample(width, height):
        return Wanted(md5, post_id, variant, f"/data/sample/{folder}.jpg", *sample_size(width, height), file_size)
    return Wanted(md5, post_id, "original", f"/data/{folder}.{ext}", width, height, file_size)


def has_sample(width: int, height: int) -> bool:
    """Returns whether the site makes a sample of a still picture of this size."""
    return min(width, height) > SAMPLE_SHORTER or max(width, height) > SAMPLE_LONGER


def sample_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height of the sample: shorter side 850, then the longer at most 1700.

    >>> sample_size(1792, 2400)
    (850, 1138)
    """
    scale = SAMPLE_SHORTER / min(width, height)
    if max(width, height) * scale > SAMPLE_LONGER:
        scale = SAMPLE_LONGER / max(width, height)
    return round(width * scale), round(height * scale)


def preview_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height of the preview: shorter side 256, the longer cropped to at most 512.

    >>> preview_size(2500, 1700)
    (376, 256)
    """
    scale = 256 / min(width, height)
    return min(512, round(width * scale)), min(512, round(height * scale))
