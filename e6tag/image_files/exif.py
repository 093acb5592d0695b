"""The orientation in EXIF data, which JPEG, PNG and WebP files hold alike."""

from typing import Literal

EXIF_PREFIX = b"Exif\0\0"
_EXIF_ORIENTATION = 0x0112
_EXIF_SHORT = 3


def read_orientation(exif: bytes) -> int:
    """Returns the orientation, 1 to 8 (Exif 2.32, section 4.6.4, in TIFF 6.0).

    Not read by Pillow, which warns about each of the many kinds of broken EXIF data
    in a way that is not aware of threads.
    """
    tiff = exif.removeprefix(EXIF_PREFIX)
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    entries = int.from_bytes(tiff[4:8], order)  # where the directory starts
    count = int.from_bytes(tiff[entries : entries + 2], order)
    for number in range(count):
        start = entries + 2 + 12 * number
        entry = tiff[start : start + 12]
        if len(entry) < 12:
            return 1
        if int.from_bytes(entry[:2], order) == _EXIF_ORIENTATION:
            found = int.from_bytes(entry[8:10], order)
            is_short = int.from_bytes(entry[2:4], order) == _EXIF_SHORT
            return found if is_short and 1 <= found <= 8 else 1
    return 1
