"""Looks for files that are images or hold one: bundles must not (policy rule 8)."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_STARTS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF....WEBP",
    "AVIF": rb"....ftypavif",
}
"""Patterns at the start of an image file."""

_INSIDE = {
    "JPEG": rb"\xff\xd8\xff(\xe0..JFIF|\xe1..Exif)\0",
    "PNG": rb"\x89PNG\r\n\x1a\n....IHDR",
    "GIF": rb"GIF8[79]a.{6,8}[\0-\x0f]\0!\xff\x0bNETSCAPE",
    "WebP": rb"RIFF....WEBPVP8[ LX]",
    "image as text": rb"data:image/(jpeg|jpg|png|gif|webp|avif)",
}
"""Patterns of an image anywhere in a file. They are longer than those of the start:
weights are noise, which contains every short pattern."""

_PIECE = 1 << 20  # bytes read at once
_OVERLAP = 64  # bytes; longer than any pattern, so that none is cut in two


def find_images(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields every file of a folder that is an image or holds one, with its kind."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        kind = _image_in(path)
        if kind is not None:
            yield path, kind


def _image_in(path: Path) -> str | None:
    """Returns the kind of image that a file is or holds, or None."""
    with path.open("rb") as file:
        piece = file.read(_PIECE)
        kind = _matching(re.match, _STARTS, piece)
        if kind is not None:
            return kind
        tail = b""
        while piece:
            window = tail + piece
            kind = _matching(re.search, _INSIDE, window)
            if kind is not None:
                return f"{kind} inside"
            tail = window[-_OVERLAP:]
            piece = file.read(_PIECE)
    return None


def _matching(
    match: Callable[..., re.Match[bytes] | None],
    patterns: Mapping[str, bytes],
    content: bytes,
) -> str | None:
    """Returns the name of the first pattern that the content matches."""
    for name, pattern in patterns.items():
        if match(pattern, content, re.DOTALL):
            return name
    return None
