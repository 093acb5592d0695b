"""Contact sheets: many images of a board on one page, each with its tags."""

import io
from random import Random

from PIL import Image, ImageDraw, ImageFont

from sandbox.board.records import CATEGORIES, Board

_CELL, _LINES, _COLUMNS = (
    240,
    9,
    8,
)  # pixels per picture, lines of tags under it, pictures per row
_LINE = 11  # pixels per line of text
_STILL = ("jpg", "png", "webp")
_SHOWN = (CATEGORIES.index("general"), CATEGORIES.index("species"))


def contact_sheet(board: Board, n: int = 64, seed: int = 0) -> Image.Image:
    """Returns a sheet of `n` still images chosen by `seed`.

    Below each are its given general and species tags.
    """
    stills = [
        post for post in board.posts if post.ext in _STILL and not post.is_deleted
    ]
    draw = Random(f"contact/{seed}").random
    chosen = sorted(stills, key=lambda post: (draw(), post.id))[:n]
    category = {tag.name: tag.category for tag in board.tags}
    height = _CELL + _LINES * _LINE + 6
    sheet = Image.new(
        "RGB", (_COLUMNS * _CELL, -(-len(chosen) // _COLUMNS) * height), (245, 245, 242)
    )
    for place, post in enumerate(chosen):
        tags = [tag for tag in post.tags if category.get(tag) in _SHOWN]
        cell = _cell(board.original(post.md5), tags, height)
        sheet.paste(cell, (place % _COLUMNS * _CELL, place // _COLUMNS * height))
    return sheet


def _cell(data: bytes, tags: list[str], height: int) -> Image.Image:
    cell = Image.new("RGB", (_CELL, height), (245, 245, 242))
    with Image.open(io.BytesIO(data)) as original:
        picture = original.convert("RGB")
    picture.thumbnail((_CELL - 6, _CELL - 6))
    cell.paste(picture, ((_CELL - picture.width) // 2, (_CELL - picture.height) // 2))
    brush = ImageDraw.Draw(cell)
    font = ImageFont.load_default(9)
    for number, line in enumerate(_wrapped(tags, brush, font)[:_LINES]):
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
