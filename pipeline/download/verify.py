"""Verifies received bytes: are they the image that was requested?"""

import hashlib
from concurrent.futures import ThreadPoolExecutor

from e6tag import images
from e6tag.images import Damage, ImageInfo, Undecodable
from pipeline import progress
from pipeline.download import spool
from pipeline.download.spool import SpooledImage
from pipeline.download.variants import ImageKey, ImageRequest
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site import responses
from pipeline.site.client import PermanentFailure, Response, TransientFailure

_REASONS = {
    Damage.NOT_AN_IMAGE: DownloadFailure.UNSUPPORTED_FORMAT,
    Damage.ANIMATION: DownloadFailure.UNSUPPORTED_FORMAT,
    Damage.TOO_MANY_PIXELS: DownloadFailure.DECOMPRESSION_BOMB,
    Damage.PARTIAL: DownloadFailure.TRUNCATED,
}
"""The failures that are not BROKEN_IMAGE."""

_FOR_GOOD = (DownloadFailure.UNSUPPORTED_FORMAT, DownloadFailure.DECOMPRESSION_BOMB)
"""What no retry fixes: whole files of the wrong kind."""

SIZE_TOLERANCE = 1  # pixels; the site rounds the sizes of samples

THREADS = 2
"""Threads that verify images and write them to the spool; hashing, decoding and writing
release the GIL."""


def verify_image(wanted: ImageRequest, answer: Response, max_pixels: int) -> ImageInfo:
    """Returns what the received image is.

    Raises PermanentFailure, or TransientFailure where a retry may bring better bytes.

    An original is identified by its md5, after which its header is enough: bytes that
    are the uploader's own and still cannot be decoded are found when the manifest is
    made. The site publishes no hash of other variants: those are decoded, and their
    size must follow the rules.
    """
    if wanted.variant == "original":
        return _verify_original(wanted, answer, max_pixels)
    return _verify_variant(wanted, answer, max_pixels)


def verify_all_spooled(
    wanted: list[ImageRequest],
    records: dict[ImageKey, SpooledImage],
    max_pixels: int,
) -> dict[ImageKey, ImageInfo]:
    """Returns those of the images that an earlier run spooled whole. Writes nothing."""
    spooled = [one for one in wanted if one.key in records]

    def verify(one: ImageRequest) -> ImageInfo | None:
        body = spool.read_bytes(records[one.key])
        return verify_spooled(one, body, max_pixels)

    with ThreadPoolExecutor(THREADS) as threads:
        infos = list(threads.map(verify, spooled))
    return {
        one.key: info
        for one, info in zip(spooled, infos, strict=True)
        if info is not None
    }


def verify_spooled(
    wanted: ImageRequest, body: bytes, max_pixels: int
) -> ImageInfo | None:
    """Returns what an image is that an earlier run spooled; None if it is not whole."""
    try:
        return verify_image(wanted, Response("", body), max_pixels)
    except (PermanentFailure, TransientFailure):
        return None


def _is_html(answer: Response) -> bool:
    """Returns whether a page came instead of a file, whatever its status."""
    is_page = responses.looks_like_html(answer.body)
    return is_page or "html" in answer.content_type


def _verify_original(
    wanted: ImageRequest, answer: Response, max_pixels: int
) -> ImageInfo:
    md5 = hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
    if md5 != wanted.md5:
        # A truncated response without a length looks the same; both are worth a retry.
        if _is_html(answer):
            raise _html_failure(answer)
        raise TransientFailure(
            f"the bytes have md5 {md5}", reason=DownloadFailure.MD5_MISMATCH
        )
    try:
        return images.read_info(answer.body, max_pixels=max_pixels)
    except Undecodable as error:  # these are the right bytes: a retry brings the same
        progress.log_undecodable("download", wanted.md5, error)
        raise PermanentFailure(_reason(error), error.damage.value) from error


def _verify_variant(
    wanted: ImageRequest, answer: Response, max_pixels: int
) -> ImageInfo:
    if _is_html(answer):
        raise _html_failure(answer)
    try:
        info = images.read_info(answer.body, max_pixels=max_pixels, to_the_end=True)
    except Undecodable as error:
        progress.log_undecodable("download", wanted.md5, error)
        reason = _reason(error)
        if reason in _FOR_GOOD:
            raise PermanentFailure(reason, error.damage.value) from error
        raise TransientFailure(error.damage.value, reason=reason) from error
    if not _has_expected_size(info, wanted):
        raise PermanentFailure(
            DownloadFailure.WRONG_DIMENSIONS,
            f"{info.width} x {info.height} instead of {wanted.width} x {wanted.height}",
        )
    return info


def _reason(error: Undecodable) -> DownloadFailure:
    return _REASONS.get(error.damage, DownloadFailure.BROKEN_IMAGE)


def _html_failure(answer: Response) -> TransientFailure:
    return TransientFailure(
        f"{answer.content_type}: HTML where an image belongs",
        reason=DownloadFailure.NOT_AN_IMAGE,
    )


def _has_expected_size(info: ImageInfo, wanted: ImageRequest) -> bool:
    """Returns whether the pixels are those that the rules give, upright or not.

    Sizes and samples from before 2026-08-26 are as the pixels are stored, later ones
    are upright (contract section 4): each may be turned by 90 degrees to the other.
    """
    sizes = [(wanted.width, wanted.height)]
    if wanted.old_size is not None:
        sizes.append(wanted.old_size)
    return any(
        _is_near(info, (width, height)) or _is_near(info, (height, width))
        for width, height in sizes
    )


def _is_near(info: ImageInfo, size: tuple[int, int]) -> bool:
    width_off = abs(info.width - size[0])
    height_off = abs(info.height - size[1])
    return max(width_off, height_off) <= SIZE_TOLERANCE
