"""Rooms: wallpaper, floor, a window or a lamp, a potted plant."""

from PIL import Image, ImageDraw

from sandbox.art.draw import RGB, Pen, canvas_pen, darker, lighter, rectangle
from sandbox.art.palette import Palette
from sandbox.art.style import STYLES
from sandbox.world.random_choice import Draw, pick
from sandbox.world.scenes import Scene

_PLANKS: RGB = (170, 118, 70)
_GAPS: RGB = (120, 80, 46)
_SKIRTING: RGB = (245, 240, 230)
_LAMPSHADE = [(-0.9, 1.8), (-0.35, 0.7), (0.35, 0.7), (0.9, 1.8)]
_POT = [(-0.6, -0.5), (0.6, -0.5), (0.42, 0.6), (-0.42, 0.6)]


def paint_room(
    scene: Scene, size: tuple[int, int], palette: Palette, draw: Draw
) -> Image.Image:
    """Returns a canvas that shows a room."""
    wall = lighter(palette.cloth(), 0.62)
    canvas = Image.new("RGB", size, wall)
    brush = ImageDraw.Draw(canvas)
    floor = int(size[1] * 0.74)
    _paint_wallpaper(brush, size[0], floor, darker(wall, 0.08))
    _paint_floor(brush, size, floor)
    pen = canvas_pen(brush, STYLES[0], size, draw)
    columns, rows = size[0] / pen.unit, size[1] / pen.unit
    if "window" in scene.things:
        _window(pen.at(columns * pick(draw, (0.18, 0.82)), rows * 0.3, 1.35))
    else:  # so that a bare room is a room
        lamp = pen.at(columns * pick(draw, (0.12, 0.88)), 0)
        lamp.shape(_LAMPSHADE, (250, 225, 130))
    if "potted" in scene.things:
        _potted_plant(pen.at(columns * pick(draw, (0.1, 0.9)), rows * 0.86, 1.2))
    return canvas


def _paint_wallpaper(
    brush: ImageDraw.ImageDraw, width: int, floor: int, stripe: RGB
) -> None:
    step = max(10, width // 9)
    for x in range(0, width + step, step):
        brush.rectangle((x, 0, x + step // 3, floor), fill=stripe)


def _paint_floor(brush: ImageDraw.ImageDraw, size: tuple[int, int], floor: int) -> None:
    width, height = size
    skirting = floor + height // 50
    brush.rectangle((0, floor, width, height), fill=_PLANKS)
    brush.rectangle((0, floor, width, skirting), fill=_SKIRTING)
    thickness = max(2, height // 150)
    for line in range(1, 4):
        y = skirting + (height - floor) * line // 4
        brush.line((0, y, width, y), fill=_GAPS, width=thickness)


def _window(pen: Pen) -> None:
    pen.shape(rectangle(-1.4, -1.5, 1.4, 1.5), (250, 250, 245))
    for u in (-0.65, 0.65):
        for v in (-0.7, 0.7):
            glass = rectangle(u - 0.55, v - 0.6, u + 0.55, v + 0.6)
            pen.shape(glass, (140, 205, 245))


def _potted_plant(pen: Pen) -> None:
    for turn in (-0.7, -0.25, 0.25, 0.7):
        leaf = -1.3 + abs(turn) * 0.6
        pen.blob(turn * 1.4, leaf, 0.3, 0.95, (55, 140, 70), turn)
    pen.shape(_POT, (190, 95, 60))
