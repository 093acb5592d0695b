"""From a scene to a picture.

Background, figures one after another, what floats above them, the artist's surface.
"""

from hashlib import shake_128
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageOps

from sandbox.art import backdrop, bodies, props, wardrobe
from sandbox.art.draw import RGB, Matrix, Pen, canvas_pen, gradient, rectangle
from sandbox.art.heads import draw_head
from sandbox.art.look import Look, dress
from sandbox.art.palette import Palette
from sandbox.art.style import STYLES, Style
from sandbox.world.random_choice import Draw, pick
from sandbox.world.scenes import Figure, Scene

# Pixels; longer sides are drawn at half size and enlarged, others at double size and
# reduced
_LARGE = 1_000

Bounds = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_ON_FOURS = {
    "standing": (-1.5, 3.9, 3.4),
    "sitting": (-1.5, 2.9, 3.4),
    "lying": (-1.5, 3.9, 2.4),
    "jumping": (-1.7, 3.9, 3.5),
}
"""Left, right and bottom of four-legged figures by pose, in figure units."""
_CORNERS = ((0.12, 0.12), (0.88, 0.12), (0.12, 0.45), (0.88, 0.42))
"""Where symbols float, as shares of the canvas."""
_NEVER_ALONE = ("heart_symbol", "sparkles", "bubbles")
_WHITE: RGB = (255, 255, 255)
_MONOCHROMES: tuple[tuple[RGB, RGB], ...] = (
    ((20, 20, 70), (225, 235, 255)),
    ((60, 20, 10), (255, 236, 205)),
    ((10, 50, 25), (228, 250, 225)),
)
"""Darkest and lightest colour of monochrome images."""
_GRAIN = {"grain": 26, "paper": 14}
"""How much a surface darkens at most, of 255."""


def render(scene: Scene) -> Image.Image:
    """Returns the RGB image at full size, before cropping and shrinking."""
    draw = Random(scene.key).random
    style = STYLES[scene.artist]
    large = max(scene.width, scene.height) > _LARGE
    enlarge = 1 if large else 2
    size = (scene.width * enlarge, scene.height * enlarge)
    palette = Palette(style, draw)
    canvas = backdrop.paint(scene, size, palette, draw)
    brush = ImageDraw.Draw(canvas)
    for number, figure in enumerate(scene.figures):
        look = dress(figure, palette)
        bounds = _bounds(look, scene)
        matrix = _place(number, bounds, scene, size, draw)
        pen = Pen(brush, style, matrix, draw)
        if "shadow" in scene.things:
            _shadow(pen, bounds)
        _figure(pen, look, scene.view)
    _add_foreground(brush, scene, size, style, draw)
    if not large:
        canvas = canvas.reduce(2)
    return _finish(canvas, scene, style)


def _place(
    number: int, bounds: Bounds, scene: Scene, size: tuple[int, int], draw: Draw
) -> Matrix:
    """Returns where on the canvas a figure stands, how large, facing which way."""
    width, height = size
    left, _, right, bottom = bounds
    slot = width / len(scene.figures)
    alone = len(scene.figures) == 1
    usable = slot * 0.92 if alone else slot
    scale = _scale(bounds, usable, height * 0.93, draw)
    mirror = draw() < 0.5 if alone else number == 0
    facing = -1 if mirror else 1
    spare = slot - (right - left) * scale
    middle = slot * (number + 0.5) + spare * 0.6 * (draw() - 0.5)
    x = middle - (right + left) / 2 * scale * facing
    floor = height * 0.965 if scene.framing == "full_body" else height
    y = floor - bottom * scale
    if scene.figures[number].pose == "jumping":
        y -= 0.05 * height
    return facing * scale, 0.0, 0.0, scale, x, y


def _scale(bounds: Bounds, width: float, height: float, draw: Draw) -> float:
    """Returns a figure's pixels per unit, at most what fits into width and height."""
    left, top, right, bottom = bounds
    fit = min(width / (right - left), height / (bottom - top))
    return fit * (0.84 + 0.16 * draw())


def _bounds(look: Look, scene: Scene) -> Bounds:
    """Returns the bounds of the visible part, in figure units."""
    figure = look.figure
    top = _top(look)
    if scene.framing == "headshot_portrait":
        return -1.55, top, 1.55, 1.25
    wide = 2.3 if look.has("wings") else 1.75
    if figure.held == "umbrella":
        wide, top = 3.0, -2.2
    if figure.held == "balloon":
        top = -1.95
    half = scene.framing == "half-length_portrait"
    if not figure.anthro:
        if half:
            return -1.7, top, 2.9, 2.3
        if look.species.covering == "feathers":
            return -1.6, top, 3.0, 3.4
        left, right, bottom = _ON_FOURS[figure.pose]
        return left, top, right, bottom
    if half:
        return -wide, top, wide, 2.3
    if figure.pose == "lying":
        return -1.7, top, 3.9, 1.3
    bottom = 3.2 if figure.pose == "sitting" else 3.75
    return -wide, top, wide, bottom


def _top(look: Look) -> float:
    """Returns how far up ears, horns and hats reach."""
    if look.species.ears == "long" or look.has("antlers"):
        return -2.5
    if look.has("wizard_hat") or look.has("top_hat"):
        return -2.5
    if look.figure.worn or look.has("horn"):
        return -1.95
    return -1.8


def _shadow(pen: Pen, bounds: Bounds) -> None:
    left, _, right, bottom = bounds
    centre, half = (left + right) / 2, (right - left) * 0.36
    pen.blob(centre, bottom - 0.05, half, 0.28, (72, 72, 84), outline=False)


def _figure(pen: Pen, look: Look, view: str) -> None:
    figure = look.figure
    if not figure.anthro:
        bodies.draw_on_fours(pen, look)
        wardrobe.draw_neckwear(pen.at(0.3, 0.95, 1.05, -0.35), look)
    elif figure.pose == "lying":
        _upright(pen.at(0, 0.2, 1.0, -1.45), look, view)
    else:
        _upright(pen, look, view)
    head = pen.at(0, 0, 1.0, 0.16 * (pen.draw() - 0.5))
    draw_head(head, look, view)
    wardrobe.draw_headwear(head, look, view)
    if figure.held and figure.held != "waving":
        x, y = bodies.hand("held")
        props.HELD[figure.held](pen.at(x, y, 0.95), look.thing)
        pen.blob(x, y, 0.2, 0.2, look.body)


def _upright(pen: Pen, look: Look, view: str) -> None:
    gesture = _gesture(look.figure)
    wardrobe.draw_behind(pen, look)
    bodies.draw_upright(pen, look, view)
    wardrobe.draw_clothes(pen, look, view)
    bodies.draw_arms(pen, look, gesture, wardrobe.sleeve(look))
    wardrobe.draw_neckwear(pen.at(0, 1.02), look)


def _gesture(figure: Figure) -> str:
    if figure.held == "waving":
        return "waving"
    if figure.held:
        return "held"
    if figure.pose == "jumping":
        return "jumping"
    return ""


def _add_foreground(
    brush: ImageDraw.ImageDraw,
    scene: Scene,
    size: tuple[int, int],
    style: Style,
    draw: Draw,
) -> None:
    """Draws the rain, symbols, words, signature and border in front of the figures."""
    pen = canvas_pen(brush, style, size, draw)
    columns, rows = size[0] / pen.unit, size[1] / pen.unit
    if "rain" in scene.things:
        _add_rain(pen, columns, rows, draw)
    _add_symbols(pen, scene, columns, rows, draw)
    word = pick(draw, props.WORDS)
    if "speech_bubble" in scene.things:
        props.speech(pen.at(columns - 0.52 * len(word) - 0.6, 1.2, 0.58), word)
    if "text" in scene.things:
        _caption(pen.at(columns / 2, rows - 0.85, 0.95), word, columns)
    if "signature" in scene.things:
        _signature(pen.at(columns - 1.8, rows - 0.7, 1.25), scene)
    if "border" in scene.things:
        _add_border(pen, size, draw)


def _add_rain(pen: Pen, columns: float, rows: float, draw: Draw) -> None:
    for _ in range(70):
        x, y = columns * draw(), rows * draw()
        pen.stroke([(x, y), (x - 0.15, y + 0.6)], 0.06, (200, 222, 240))


def _add_symbols(
    pen: Pen, scene: Scene, columns: float, rows: float, draw: Draw
) -> None:
    start = int(draw() * 4)
    symbols = [name for name in scene.things if name in props.SYMBOLS]
    for number, name in enumerate(symbols, start):
        draw_symbol = props.SYMBOLS[name]
        u, v = _CORNERS[number % 4]
        draw_symbol(pen.at(columns * u, rows * v, 0.95), _WHITE)
        if name not in _NEVER_ALONE:
            continue
        for step in (1, 2):
            u, v = _CORNERS[(number + step) % 4]
            x = columns * u + draw() - 0.5
            y = rows * v + draw()
            draw_symbol(pen.at(x, y, 0.4 + 0.35 * draw()), _WHITE)


def _caption(pen: Pen, word: str, columns: float) -> None:
    """A word on a light strip across the canvas."""
    strip = rectangle(-columns, -0.85, columns, 0.85)
    pen.shape(strip, (250, 250, 250), outline=False)
    props.letters(pen, word, (25, 22, 30))


def _signature(pen: Pen, scene: Scene) -> None:
    """A scribble on a light strip, the same for all pictures of an artist."""
    hand = Random(f"signature/{scene.artist}").random
    strip = rectangle(-1.2, -0.35, 1.25, 0.35)
    pen.shape(strip, (250, 248, 240), outline=False)
    points = [(-1.05 + 0.21 * step, 0.5 * (hand() - 0.5)) for step in range(11)]
    pen.stroke(points, 0.09, (40, 35, 110))
    pen.stroke([(-1.05, 0.26), (1.05, 0.22)], 0.05, (40, 35, 110))


def _add_border(pen: Pen, size: tuple[int, int], draw: Draw) -> None:
    ink = pick(draw, ((20, 20, 24), (250, 250, 250)))
    frame = (0, 0, size[0] - 1, size[1] - 1)
    pen.canvas.rectangle(frame, outline=ink, width=round(pen.unit * 0.55))


def _finish(picture: Image.Image, scene: Scene, style: Style) -> Image.Image:
    size = picture.size
    if style.hatched:
        picture = ImageChops.multiply(picture, _hatching(size))
    opaque = scene.place != "transparent_background"
    if style.shaded and opaque:
        shade = gradient(size, (255, 255, 255), (232, 229, 238))
        picture = ImageChops.multiply(picture, shade)
    if style.surface and opaque:
        picture = _grain(picture, scene.key, _GRAIN[style.surface])
    if scene.finish == "greyscale":
        picture = picture.convert("L").convert("RGB")
    elif scene.finish == "monochrome":
        dark, pale = _MONOCHROMES[scene.artist % 3]
        picture = ImageOps.colorize(picture.convert("L"), dark, pale)
    return picture


def _hatching(size: tuple[int, int]) -> Image.Image:
    width, height = size
    step = max(10, max(size) // 34)
    thickness = max(2, step // 5)
    lines = Image.new("RGB", size, _WHITE)
    brush = ImageDraw.Draw(lines)
    for x in range(-height, width, step):
        line = (x, height, x + height, 0)
        brush.line(line, fill=(165, 160, 165), width=thickness)
    return lines


def _grain(picture: Image.Image, key: str, strength: int) -> Image.Image:
    """Darkens the picture a little by coarse noise from a hash.

    64 x 64 specks, enlarged.
    """
    specks = Image.frombytes("L", (64, 64), shake_128(key.encode()).digest(64 * 64))
    darkening = [255 - strength * value // 255 for value in range(256)]
    noise = specks.point(darkening).resize(picture.size, Image.Resampling.NEAREST)
    return ImageChops.multiply(picture, Image.merge("RGB", (noise, noise, noise)))
