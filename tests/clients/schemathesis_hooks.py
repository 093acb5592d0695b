"""What schemathesis cannot make up: images. Runs in its environment, without e6tag."""

import os
from pathlib import Path

import schemathesis
from hypothesis import strategies

FOLDER = Path(os.environ["E6TAG_IMAGES"])
FILES = strategies.sampled_from(
    [path.read_bytes() for path in sorted(FOLDER.iterdir())]
)

for media_type in (
    "application/octet-stream",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
):
    schemathesis.openapi.media_type(media_type, FILES)
schemathesis.openapi.format("binary", FILES)
