"""An image file as its bytes tell it, before a decoder sees it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file of one of image_files.FORMATS.

    body: what a decoder shall read: of the file, what the pixels need; orientation: of
    its EXIF data, 1 to 8, and 1 where that makes no sense; is_cut: whether bytes at the
    end of the file are lost.
    """

    format: str
    body: bytes
    orientation: int
    is_cut: bool
