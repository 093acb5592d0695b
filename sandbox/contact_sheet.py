"""Contact sheets: many images of a board on one page, each with its tags."""

import io
from random import Random

from PIL import Image, ImageDraw, ImageFont

from sandbox.records import CATEGORIES, Board, Post

_CELL = 240  # pixels per image
_LINES = 9  # of tags under it
_COLUMNS = 8  # images per row
_LINE = 11  # pixels per line of text
_HEIGHT = _CELL + _LINES * _LINE + 6  # pixels per image and its tags
_PAPER = (245, 245, 242)
_STILL = ("jpg", "png", "webp")
_SHOWN = (CATEGORIES.index("general"), CATEGORIES.index("species"))


def contact_sheet(board: Board, n: int = 64, seed: int = 0) -> Image.Image:
    """Returns a sheet of `n` still images chosen by `seed`.

    Below each are its given general and species tags.
    """
    chosen = _choose(board, n, seed)
    category = {tag.name: tag.category for tag in board.tags}
    rows = -(-len(chosen) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _CELL, rows * _HEIGHT), _PAPER)
    for place, post in enumerate(chosen):
        row, column = divmod(place, _COLUMNS)
        tags = [tag for tag in post.tags if category.get(tag) in _SHOWN]
        cell = _cell(board.original(post.md5), tags)
        sheet.paste(cell, (column * _CELL, row * _HEIGHT))
    return sheet


def _choose(board: Board, n: int, seed: int) -> list[Post]:
    draw = Random(f"contact/{seed}").random
    stills = [
        post for post in board.posts if post.ext in _STILL and not post.is_deleted
    ]
    return sorted(stills, key=lambda post: (draw(), post.id))[:n]


def _cell(data: bytes, tags: list[str]) -> Image.Image:
    cell = Image.new("RGB", (_CELL, _HEIGHT), _PAPER)
    with Image.open(io.BytesIO(data)) as original:
        picture = original.convert("RGB")
    picture.thumbnail((_CELL - 6, _CELL - 6))
    left, top = (_CELL - picture.width) // 2, (_CELL - picture.height) // 2
    cell.paste(picture, (left, top))
    brush = ImageDraw.Draw(cell)
    font = ImageFont.load_default(9)
    lines = _wrapped(tags, brush, font)[:_LINES]
    for number, line in enumerate(lines):
        brush.text((4, _CELL + number * _LINE), line, fill=(30, 30, 30), font=font)
    return cell


def _wrapped(
    words: list[str],
    brush: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> list[str]:
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and brush.textlength(longer, font=font) > _CELL - 8:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
