"""What is behind the figures: plain grounds, rooms, landscapes by day and night.

A unit of these pens is a tenth of the canvas's short side.
"""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from sandbox.art import props
from sandbox.art.draw import RGB, Pen, darker, lighter, mix
from sandbox.art.palette import Palette
from sandbox.art.style import STYLES
from sandbox.art.wardrobe import star
from sandbox.board.scenes import Scene

Draw = Callable[[], float]
HOLE: RGB = (188, 236, 214)
"""What transparent pixels are painted with: no coat or cloth comes near it."""

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


def gradient(size: tuple[int, int], top: RGB, bottom: RGB) -> Image.Image:
    """Returns a vertical gradient from one colour at the top to another below."""
    strip = Image.new("RGB", (1, 64))
    strip.putdata([mix(top, bottom, step / 63) for step in range(64)])
    return strip.resize(
        size, Image.Resampling.NEAREST if size[1] < 64 else Image.Resampling.BILINEAR
    )


def paint(
    scene: Scene, size: tuple[int, int], palette: Palette, draw: Draw
) -> Image.Image:
    """Returns the canvas with its background, without anything in front of it."""
    if scene.place == "outside":
        return _outside(scene, size, palette, draw)
    if scene.place == "inside":
        return _inside(scene, size, palette, draw)
    return _simple(scene, size, palette, draw)


def _simple(
    scene: Scene, size: tuple[int, int], palette: Palette, draw: Draw
) -> Image.Image:
    place = scene.place
    if place == "transparent_background":
        return Image.new("RGB", size, HOLE)
    if place == "white_background":
        return Image.new("RGB", size, (254, 254, 254))
    if place == "grey_background":
        return Image.new("RGB", size, mix((150, 150, 152), (198, 198, 200), draw()))
    if place == "blue_background":
        return Image.new("RGB", size, mix((70, 130, 225), (130, 185, 245), draw()))
    colour = lighter(palette.cloth(), 0.45)
    if place == "gradient_background":
        return gradient(size, lighter(colour, 0.6), darker(colour, 0.5))
    canvas = Image.new("RGB", size, mix(colour, (235, 190, 160), 0.5))
    if place == "pattern_background":
        brush, step = ImageDraw.Draw(canvas), max(24, min(size) // 8)
        dot, radius = lighter(colour, 0.6), step // 4
        for row, y in enumerate(range(step // 2, size[1] + step, step)):
            for x in range(step // 2 if row % 2 else 0, size[0] + step, step):
                brush.ellipse(
                    (x - radius, y - radius, x + radius, y + radius), fill=dot
                )
    return canvas


def _inside(
    scene: Scene, size: tuple[int, int], palette: Palette, draw: Draw
) -> Image.Image:
    width, height = size
    wall = lighter(palette.cloth(), 0.62)
    canvas = Image.new("RGB", size, wall)
    brush = ImageDraw.Draw(canvas)
    floor = int(height * 0.74)
    step = max(10, width // 9)
    for x in range(0, width + step, step):  # wallpaper
        brush.rectangle((x, 0, x + step // 3, floor), fill=darker(wall, 0.08))
    brush.rectangle((0, floor, width, height), fill=(170, 118, 70))
    brush.rectangle((0, floor, width, floor + height // 50), fill=(245, 240, 230))
    for line in range(1, 4):
        y = floor + height // 50 + (height - floor) * line // 4
        brush.line((0, y, width, y), fill=(120, 80, 46), width=max(2, height // 150))
    pen = _pen(brush, size, draw)
    columns, rows = width / pen.unit, height / pen.unit
    if "window" in scene.things:
        pane = pen.at(columns * (0.18 if draw() < 0.5 else 0.82), rows * 0.3, 1.35)
        pane.shape(
            [(-1.4, -1.5), (1.4, -1.5), (1.4, 1.5), (-1.4, 1.5)], (250, 250, 245)
        )
        for u in (-0.65, 0.65):
            for v in (-0.7, 0.7):
                glass = [
                    (u - 0.55, v - 0.6),
                    (u + 0.55, v - 0.6),
                    (u + 0.55, v + 0.6),
                    (u - 0.55, v + 0.6),
                ]
                pane.shape(glass, (140, 205, 245))
    else:  # a lamp, so that a bare room is a room
        pen.at(columns * (0.12 if draw() < 0.5 else 0.88), 0).shape(
            [(-0.9, 1.8), (-0.35, 0.7), (0.35, 0.7), (0.9, 1.8)], (250, 225, 130)
        )
    if "potted" in scene.things:
        pot = pen.at(columns * (0.1 if draw() < 0.5 else 0.9), rows * 0.86, 1.2)
        for turn in (-0.7, -0.25, 0.25, 0.7):
            pot.blob(turn * 1.4, -1.3 + abs(turn) * 0.6, 0.3, 0.95, (55, 140, 70), turn)
        pot.shape([(-0.6, -0.5), (0.6, -0.5), (0.42, 0.6), (-0.42, 0.6)], (190, 95, 60))
    return canvas


@dataclass(frozen=True, slots=True)
class _Land:
    """A landscape's measures in units, its ground's colour.

    And how much the night dims everything.
    """

    columns: float
    rows: float
    horizon: float
    ground: RGB
    dim: float


def _outside(
    scene: Scene, size: tuple[int, int], palette: Palette, draw: Draw
) -> Image.Image:
    things = scene.things
    sky = _NIGHT if "night" in things else _RAINY if "rain" in things else _DAY
    canvas = gradient(size, palette.tint(sky[0]), palette.tint(sky[1]))
    pen = _pen(ImageDraw.Draw(canvas), size, draw)
    columns, rows = size[0] / pen.unit, size[1] / pen.unit
    horizon = rows * (0.62 + 0.1 * draw())
    _heavens(pen, scene, columns, horizon, draw)
    dim = 0.55 if "night" in things else 0.0
    if "mountain" in things:
        _mountains(pen, columns, horizon, dim, draw)
    if "building" in things:
        _buildings(pen, columns, horizon, dim, draw)
    if "beach" in things:
        sea = [(-1, horizon), (columns + 1, horizon), (columns + 1, rows), (-1, rows)]
        pen.shape(sea, darker((40, 130, 205), dim), outline=False)
        horizon += (rows - horizon) * 0.4
    kind = next(name for name in _GROUNDS if name in things)
    ground = darker(
        palette.tint(_GROUNDS[kind]), dim * (0.5 if kind == "snow" else 1.0)
    )
    bumps = [
        (columns * step / 6, horizon + 0.35 * (draw() - 0.5)) for step in range(-1, 8)
    ]
    pen.shape([*bumps, (columns + 3, rows + 1), (-3, rows + 1)], ground, outline=False)
    _near_things(pen, scene, _Land(columns, rows, horizon, ground, dim), draw)
    return canvas


def _heavens(
    pen: Pen, scene: Scene, columns: float, horizon: float, draw: Draw
) -> None:
    things = scene.things
    if "star" in things:
        for _ in range(14):
            spot = pen.at(
                columns * draw(), horizon * 0.75 * draw(), 0.16 + 0.16 * draw()
            )
            spot.shape(star(0, 0, 1.0), (255, 238, 130), outline=False)
    corner = pen.at(columns * (0.13 if draw() < 0.5 else 0.87), 1.7)
    if "moon" in things:
        _moon(corner)
    if "sun" in things:
        _sun(corner)
    if "rainbow" in things:
        for band, colour in enumerate(_RAINBOW):
            wide, high = columns * 0.55 - band * 0.35, horizon * 0.95 - band * 0.35
            pen.arc(columns / 2, horizon + 0.5, wide, high, 0.5, 1.0, 0.4, colour)
    if "cloud" in things:
        fill = (120, 124, 150) if "night" in things else (252, 252, 255)
        for number in range(2 + int(2 * draw())):
            x, y = (
                columns * (0.12 + 0.3 * number + 0.12 * draw()),
                horizon * (0.1 + 0.3 * draw()),
            )
            _cloud(pen.at(x, y, 0.85 + 0.5 * draw()), fill)


def _moon(pen: Pen) -> None:
    pen.blob(0, 0, 1.15, 1.15, (245, 240, 205), outline=False)
    for x, y, r in ((-0.4, -0.2, 0.24), (0.35, 0.35, 0.3), (0.3, -0.5, 0.15)):
        pen.blob(x, y, r, r, (218, 212, 176), outline=False)


def _sun(pen: Pen) -> None:
    for turn in range(8):
        ray = pen.at(0, 0, 1.0, turn * 0.785)
        ray.shape([(1.25, -0.2), (1.25, 0.2), (1.9, 0)], (255, 205, 40), outline=False)
    pen.blob(0, 0, 1.1, 1.1, (255, 215, 50), outline=False)


def _cloud(pen: Pen, fill: RGB) -> None:
    for x, y, rx, ry in (
        (-0.9, 0.15, 0.7, 0.5),
        (0.9, 0.15, 0.75, 0.5),
        (0, -0.15, 0.95, 0.75),
        (0, 0.35, 1.4, 0.35),
    ):
        pen.blob(x, y, rx, ry, fill, outline=False)


def _mountains(
    pen: Pen, columns: float, horizon: float, dim: float, draw: Draw
) -> None:
    rock = darker((128, 132, 152), dim)
    for share in (0.1 + 0.1 * draw(), 0.5 + 0.1 * draw(), 0.9):
        x, tall = columns * share, 3.0 + 2.2 * draw()
        pen.shape(
            [(x - tall, horizon + 0.6), (x, horizon - tall), (x + tall, horizon + 0.6)],
            rock,
        )
        cap = tall * 0.3
        snow = [
            (x - cap, horizon - tall + cap * 1.1),
            (x, horizon - tall),
            (x + cap, horizon - tall + cap * 1.1),
            (x, horizon - tall + cap * 0.8),
        ]
        pen.shape(snow, darker((250, 250, 255), dim * 0.4), outline=False)


def _buildings(
    pen: Pen, columns: float, horizon: float, dim: float, draw: Draw
) -> None:
    x = 0.2
    while x < columns:
        wide, tall = 1.6 + draw(), 2.6 + 3.0 * draw()
        pen.shape(
            [
                (x, horizon + 0.5),
                (x, horizon - tall),
                (x + wide, horizon - tall),
                (x + wide, horizon + 0.5),
            ],
            darker((172, 140, 128), dim),
        )
        for row in range(int(tall / 0.9)):
            for column in (0.25, 0.62):
                left, top = x + wide * column, horizon - tall + 0.35 + row * 0.85
                pen.shape([(left, top), (left + 0.32, top), (left + 0.32, top + 0.42),
                (left, top + 0.42)],
                          (255, 225, 110) if dim else (90, 110, 150),
                          outline=False)  # fmt: skip
        x += wide + 0.4 * draw()


def _near_things(pen: Pen, scene: Scene, land: "_Land", draw: Draw) -> None:
    things, columns, rows = scene.things, land.columns, land.rows
    if "tree" in things:
        for side in [0.1, 0.92, 0.26] if draw() < 0.5 else [0.93, 0.07]:
            spot = pen.at(
                columns * side, land.horizon + 0.5 + 0.4 * draw(), 1.15 + 0.4 * draw()
            )
            _tree(spot, land.dim, "snow" in things, draw)
    if "fence" in things:
        _fence(pen, land)
    if "grass" in things:
        _tufts(pen, land, draw)
    if "flower" in things:
        petals = [(240, 80, 130), (255, 255, 255), (250, 200, 50)][int(3 * draw())]
        for share in (0.06, 0.15, 0.85, 0.95):
            props.flower(
                pen.at(columns * share, rows * 0.95 - 0.5 * draw(), 0.75), petals
            )
    if "mushroom" in things:
        for share in (0.1, 0.9):
            props.mushroom(pen.at(columns * share, rows * 0.95, 0.9))
    if "butterfly" in things:
        spot = pen.at(columns * (0.12 if draw() < 0.5 else 0.88), rows * 0.4, 0.8)
        props.butterfly(spot, (250, 150, 40))


def _fence(pen: Pen, land: "_Land") -> None:
    wood, y = darker((225, 205, 175), land.dim), land.horizon
    for rail in (-0.3, 0.35):
        pen.limb(-1, y + rail, land.columns + 1, y + rail, 0.16, 0.16, wood)
    for x in range(int(land.columns) + 2):
        slat = [
            (x, y - 0.8),
            (x + 0.22, y - 1.05),
            (x + 0.45, y - 0.8),
            (x + 0.45, y + 0.9),
            (x, y + 0.9),
        ]
        pen.shape(slat, wood)


def _tufts(pen: Pen, land: "_Land", draw: Draw) -> None:
    blade = darker(land.ground, 0.3)
    for _ in range(12):
        x, y = (
            land.columns * draw(),
            land.horizon + 0.6 + (land.rows - land.horizon - 0.6) * draw(),
        )
        pen.stroke(
            [
                (x - 0.2, y - 0.35),
                (x, y),
                (x + 0.06, y - 0.45),
                (x + 0.12, y),
                (x + 0.35, y - 0.3),
            ],
            0.08,
            blade,
        )


def _tree(pen: Pen, dim: float, snowy: bool, draw: Draw) -> None:
    pen.shape(
        [(-0.25, 0), (-0.2, -1.6), (0.2, -1.6), (0.25, 0)], darker((120, 78, 45), dim)
    )
    leaf = darker((48, 128, 62), dim * 0.8)
    if draw() < 0.5:
        for y, half in ((-0.9, 1.25), (-1.9, 1.0), (-2.8, 0.72)):
            pen.shape(
                [(-half, y), (0, y - 1.6), (half, y)],
                lighter(leaf, 0.35) if snowy else leaf,
            )
    else:
        for x, y, r in ((-0.6, -1.9, 0.85), (0.6, -1.9, 0.85), (0, -2.6, 1.0)):
            pen.blob(x, y, r, r, leaf)
        if snowy:
            pen.blob(0, -3.1, 0.8, 0.4, (245, 250, 255), outline=False)


def _pen(brush: ImageDraw.ImageDraw, size: tuple[int, int], draw: Draw) -> Pen:
    unit = min(size) / 10
    return Pen(brush, STYLES[0], (unit, 0, 0, unit, 0, 0), draw)
