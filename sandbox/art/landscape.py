"""Landscapes by day, by night and in the rain, with what stands in them.

A unit of these pens is a tenth of the canvas's short side.
"""

from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from sandbox.art import props
from sandbox.art.draw import (
    RGB,
    Pen,
    canvas_pen,
    darker,
    gradient,
    lighter,
    rectangle,
)
from sandbox.art.palette import Palette
from sandbox.art.style import STYLES
from sandbox.art.wardrobe import star
from sandbox.world.random_choice import Draw, pick
from sandbox.world.scenes import Scene

_DAY: tuple[RGB, RGB] = ((120, 185, 240), (205, 232, 250))
_NIGHT: tuple[RGB, RGB] = ((14, 18, 52), (48, 52, 104))
_RAINY: tuple[RGB, RGB] = ((150, 162, 178), (196, 204, 212))
_RAINBOW: tuple[RGB, ...] = (
    (225, 50, 50),
    (245, 150, 40),
    (250, 225, 60),
    (70, 180, 80),
    (60, 110, 220),
)
_GROUNDS: dict[str, RGB] = {
    "grass": (96, 172, 72),
    "snow": (238, 244, 250),
    "beach": (238, 214, 150),
}
_PETALS: tuple[RGB, ...] = ((240, 80, 130), (255, 255, 255), (250, 200, 50))
_SUNBEAM = [(1.25, -0.2), (1.25, 0.2), (1.9, 0)]
_TRUNK = [(-0.25, 0), (-0.2, -1.6), (0.2, -1.6), (0.25, 0)]


@dataclass(frozen=True, slots=True)
class _Land:
    """A landscape's measures in units and the colour of its ground.

    `dim` is the share by which the night darkens everything.
    """

    columns: float
    rows: float
    horizon: float
    ground: RGB
    dim: float


def paint_landscape(
    scene: Scene, size: tuple[int, int], palette: Palette, draw: Draw
) -> Image.Image:
    """Returns a canvas that shows a landscape."""
    things = scene.things
    top, bottom = _sky(things)
    canvas = gradient(size, palette.tint(top), palette.tint(bottom))
    pen = canvas_pen(ImageDraw.Draw(canvas), STYLES[0], size, draw)
    columns, rows = size[0] / pen.unit, size[1] / pen.unit
    horizon = rows * (0.62 + 0.1 * draw())
    dim = 0.55 if "night" in things else 0.0
    land = _Land(columns, rows, horizon, _ground(things, palette, dim), dim)
    _add_heavens(pen, things, land, draw)
    if "mountain" in things:
        _add_mountains(pen, land, draw)
    if "building" in things:
        _add_buildings(pen, land, draw)
    if "beach" in things:
        _add_sea(pen, land)
        land = replace(land, horizon=horizon + (rows - horizon) * 0.4)
    _add_ground(pen, land, draw)
    _add_near_things(pen, things, land, draw)
    return canvas


def _sky(things: tuple[str, ...]) -> tuple[RGB, RGB]:
    """Returns the sky's colours at the top of the canvas and at its bottom."""
    if "night" in things:
        return _NIGHT
    if "rain" in things:
        return _RAINY
    return _DAY


def _ground(things: tuple[str, ...], palette: Palette, dim: float) -> RGB:
    kind = next(name for name in _GROUNDS if name in things)
    if kind == "snow":
        dim *= 0.5
    return darker(palette.tint(_GROUNDS[kind]), dim)


def _add_heavens(pen: Pen, things: tuple[str, ...], land: _Land, draw: Draw) -> None:
    if "star" in things:
        _add_stars(pen, land, draw)
    corner = pen.at(land.columns * pick(draw, (0.13, 0.87)), 1.7)
    if "moon" in things:
        _moon(corner)
    if "sun" in things:
        _sun(corner)
    if "rainbow" in things:
        _rainbow(pen, land)
    if "cloud" in things:
        fill = (120, 124, 150) if "night" in things else (252, 252, 255)
        _add_clouds(pen, land, fill, draw)


def _add_stars(pen: Pen, land: _Land, draw: Draw) -> None:
    for _ in range(14):
        x = land.columns * draw()
        y = land.horizon * 0.75 * draw()
        spot = pen.at(x, y, 0.16 + 0.16 * draw())
        spot.shape(star(0, 0, 1.0), (255, 238, 130), outline=False)


def _moon(pen: Pen) -> None:
    pen.blob(0, 0, 1.15, 1.15, (245, 240, 205), outline=False)
    for x, y, r in ((-0.4, -0.2, 0.24), (0.35, 0.35, 0.3), (0.3, -0.5, 0.15)):
        pen.blob(x, y, r, r, (218, 212, 176), outline=False)


def _sun(pen: Pen) -> None:
    for turn in range(8):
        ray = pen.at(0, 0, 1.0, turn * 0.785)
        ray.shape(_SUNBEAM, (255, 205, 40), outline=False)
    pen.blob(0, 0, 1.1, 1.1, (255, 215, 50), outline=False)


def _rainbow(pen: Pen, land: _Land) -> None:
    x, y = land.columns / 2, land.horizon + 0.5
    for band, colour in enumerate(_RAINBOW):
        wide = land.columns * 0.55 - band * 0.35
        high = land.horizon * 0.95 - band * 0.35
        pen.arc(x, y, wide, high, 0.5, 1.0, 0.4, colour)


def _add_clouds(pen: Pen, land: _Land, fill: RGB, draw: Draw) -> None:
    for number in range(2 + int(2 * draw())):
        x = land.columns * (0.12 + 0.3 * number + 0.12 * draw())
        y = land.horizon * (0.1 + 0.3 * draw())
        _cloud(pen.at(x, y, 0.85 + 0.5 * draw()), fill)


def _cloud(pen: Pen, fill: RGB) -> None:
    for x, y, rx, ry in (
        (-0.9, 0.15, 0.7, 0.5),
        (0.9, 0.15, 0.75, 0.5),
        (0, -0.15, 0.95, 0.75),
        (0, 0.35, 1.4, 0.35),
    ):
        pen.blob(x, y, rx, ry, fill, outline=False)


def _add_mountains(pen: Pen, land: _Land, draw: Draw) -> None:
    shares = (0.1 + 0.1 * draw(), 0.5 + 0.1 * draw(), 0.9)
    for share in shares:
        _mountain(pen, land, land.columns * share, 3.0 + 2.2 * draw())


def _mountain(pen: Pen, land: _Land, x: float, tall: float) -> None:
    foot = land.horizon + 0.6
    top = land.horizon - tall
    rock = [(x - tall, foot), (x, top), (x + tall, foot)]
    pen.shape(rock, darker((128, 132, 152), land.dim))
    cap = tall * 0.3
    edge = top + cap * 1.1
    snow = [(x - cap, edge), (x, top), (x + cap, edge), (x, top + cap * 0.8)]
    pen.shape(snow, darker((250, 250, 255), land.dim * 0.4), outline=False)


def _add_buildings(pen: Pen, land: _Land, draw: Draw) -> None:
    x = 0.2
    while x < land.columns:
        wide, tall = 1.6 + draw(), 2.6 + 3.0 * draw()
        _building(pen, land, x, wide, tall)
        x += wide + 0.4 * draw()


def _building(pen: Pen, land: _Land, x: float, wide: float, tall: float) -> None:
    foot, roof = land.horizon + 0.5, land.horizon - tall
    walls = [(x, foot), (x, roof), (x + wide, roof), (x + wide, foot)]
    pen.shape(walls, darker((172, 140, 128), land.dim))
    glass = (255, 225, 110) if land.dim else (90, 110, 150)
    for row in range(int(tall / 0.9)):
        top = roof + 0.35 + row * 0.85
        for column in (0.25, 0.62):
            left = x + wide * column
            window = rectangle(left, top, left + 0.32, top + 0.42)
            pen.shape(window, glass, outline=False)


def _add_sea(pen: Pen, land: _Land) -> None:
    sea = rectangle(-1, land.horizon, land.columns + 1, land.rows)
    pen.shape(sea, darker((40, 130, 205), land.dim), outline=False)


def _add_ground(pen: Pen, land: _Land, draw: Draw) -> None:
    columns, bottom = land.columns, land.rows + 1
    bumps = [
        (columns * step / 6, land.horizon + 0.35 * (draw() - 0.5))
        for step in range(-1, 8)
    ]
    corners = [(columns + 3, bottom), (-3, bottom)]
    pen.shape([*bumps, *corners], land.ground, outline=False)


def _add_near_things(
    pen: Pen, things: tuple[str, ...], land: _Land, draw: Draw
) -> None:
    if "tree" in things:
        _add_trees(pen, land, "snow" in things, draw)
    if "fence" in things:
        _add_fence(pen, land)
    if "grass" in things:
        _add_tufts(pen, land, draw)
    if "flower" in things:
        _add_flowers(pen, land, draw)
    if "mushroom" in things:
        for share in (0.1, 0.9):
            props.mushroom(pen.at(land.columns * share, land.rows * 0.95, 0.9))
    if "butterfly" in things:
        x = land.columns * pick(draw, (0.12, 0.88))
        props.butterfly(pen.at(x, land.rows * 0.4, 0.8), (250, 150, 40))


def _add_trees(pen: Pen, land: _Land, snowy: bool, draw: Draw) -> None:
    for share in pick(draw, ([0.1, 0.92, 0.26], [0.93, 0.07])):
        x = land.columns * share
        y = land.horizon + 0.5 + 0.4 * draw()
        _tree(pen.at(x, y, 1.15 + 0.4 * draw()), land.dim, snowy, draw)


def _tree(pen: Pen, dim: float, snowy: bool, draw: Draw) -> None:
    pen.shape(_TRUNK, darker((120, 78, 45), dim))
    leaf = darker((48, 128, 62), dim * 0.8)
    if draw() < 0.5:
        _needles(pen, leaf, snowy)
        return
    for x, y, r in ((-0.6, -1.9, 0.85), (0.6, -1.9, 0.85), (0, -2.6, 1.0)):
        pen.blob(x, y, r, r, leaf)
    if snowy:
        pen.blob(0, -3.1, 0.8, 0.4, (245, 250, 255), outline=False)


def _needles(pen: Pen, leaf: RGB, snowy: bool) -> None:
    fill = lighter(leaf, 0.35) if snowy else leaf
    for y, half in ((-0.9, 1.25), (-1.9, 1.0), (-2.8, 0.72)):
        pen.shape([(-half, y), (0, y - 1.6), (half, y)], fill)


def _add_fence(pen: Pen, land: _Land) -> None:
    wood = darker((225, 205, 175), land.dim)
    y = land.horizon
    for rail in (-0.3, 0.35):
        pen.limb(-1, y + rail, land.columns + 1, y + rail, 0.16, 0.16, wood)
    top, bottom = y - 0.8, y + 0.9
    for x in range(int(land.columns) + 2):
        middle, right = x + 0.22, x + 0.45
        tip = (middle, y - 1.05)
        pen.shape([(x, top), tip, (right, top), (right, bottom), (x, bottom)], wood)


def _add_tufts(pen: Pen, land: _Land, draw: Draw) -> None:
    blade = darker(land.ground, 0.3)
    for _ in range(12):
        x = land.columns * draw()
        y = land.horizon + 0.6 + (land.rows - land.horizon - 0.6) * draw()
        tuft = [
            (x - 0.2, y - 0.35),
            (x, y),
            (x + 0.06, y - 0.45),
            (x + 0.12, y),
            (x + 0.35, y - 0.3),
        ]
        pen.stroke(tuft, 0.08, blade)


def _add_flowers(pen: Pen, land: _Land, draw: Draw) -> None:
    petals = pick(draw, _PETALS)
    for share in (0.06, 0.15, 0.85, 0.95):
        y = land.rows * 0.95 - 0.5 * draw()
        props.flower(pen.at(land.columns * share, y, 0.75), petals)
