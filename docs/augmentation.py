"""Draws what each augmentation makes of images of the sandbox.

    python docs/augmentation.py      # in the project's folder

Writes      docs/images/augmentation.png     a row for each augmentation, a column for
                                             each image; the first row is unchanged
"""  # noqa: INP001 - a script, not a package

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from e6tag import images as e6tag_images
from pipeline.model import backend
from sandbox.board.drawn import SandboxBoard

SHEET = Path(__file__).parent / "images" / "augmentation.png"

SIDE = 96  # pixels, the default of train.size
COLUMNS = 9
GAP = 6
LABEL = 150  # pixels, of the text on the left
PAPER = (236, 236, 232)
SEED = [621, 1]

OFF: dict[str, Any] = {"flip": False, "shift": 0.0}
MIXUP = "mixup"

ROWS: dict[str, dict[str, Any]] = {
    "unchanged": {},
    "flip, shift 0.06": {"flip": True, "shift": 0.06},
    "rotation 20": {"rotation": 20.0},
    "zoom 0.2": {"zoom": 0.2},
    "contrast 0.5": {"contrast": 0.5},
    "trivial_augment": {"trivial_augment": True},
    "mixup 0.4": {MIXUP: 0.4},
}
"""What is changed, by the text of its row."""


def main() -> None:
    """Writes the sheet."""
    backend.start("tensorflow")
    SHEET.parent.mkdir(exist_ok=True)
    # A palette: a third of the size, and nobody sees the difference.
    sheet(_images()).quantize(256).save(SHEET, optimize=True)


def sheet(images: np.ndarray) -> Image.Image:
    """Returns the rows, with their texts. images: uint8 [n, SIDE, SIDE, 3]."""
    step = SIDE + GAP
    size = (LABEL + len(images) * step + GAP, len(ROWS) * step + GAP)
    paper = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(paper)
    font = ImageFont.load_default(14)
    for row, (text, changes) in enumerate(ROWS.items()):
        top = GAP + row * step
        draw.text((GAP, top + SIDE // 2 - 8), text, fill=(20, 20, 20), font=font)
        for column, pixels in enumerate(_changed(images, changes)):
            left = LABEL + GAP + column * step
            paper.paste(Image.fromarray(pixels), (left, top))
    return paper


def _changed(images: np.ndarray, changes: dict[str, Any]) -> np.ndarray:
    from pipeline.data.augment import augment, mix_up

    others = OFF | changes
    alpha = others.pop(MIXUP, 0.0)
    changed = augment(images, SEED, **others)
    if alpha > 0:
        changed, _ = mix_up(changed, np.zeros((len(images), 1)), SEED, alpha=alpha)
    return np.asarray(changed)


def _images() -> np.ndarray:
    board = SandboxBoard()
    stills = (post for post in board.posts if post.ext in ("jpg", "png", "webp"))
    prepared = []
    for post in islice(stills, COLUMNS):
        body = board.original(post.md5)
        prepared.append(
            e6tag_images.prepare(body, size=SIDE, fit="pad", fitted_size=256)
        )
    return np.stack(prepared).astype(np.uint8)


if __name__ == "__main__":
    main()
