"""From a scene to a picture.

Background, figures one after another, what floats above them, the artist's surface.
"""

from collections.abc import Callable
from hashlib import shake_128
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageOps

from sandbox.art import backdrop, bodies, props, wardrobe
from sandbox.art.draw import Pen
from sandbox.art.heads import draw_head
from sandbox.art.look import Look, dress
from sandbox.art.palette import Palette
from sandbox.art.style import STYLES, Style
from sandbox.board.scenes import Figure, Scene

Draw = Callable[[], float]
# Pixels; longer sides are drawn at half size and enlarged, others at double size and
# reduced
_LARGE = 1_000


def render(scene: Scene) -> Image.Image:
    """Returns the RGB image at full size, before cropping and shrinking."""
    draw = Random(scene.key).random
    style = STYLES[scene.artist]
    large = max(scene.width, scene.height) > _LARGE
    size = (scene.width, scene.height) if large else (scene.width * 2, scene.height * 2)
    palette = Palette(style, draw)
    canvas = backdrop.paint(scene, size, palette, draw)
    brush = ImageDraw.Draw(canvas)
    _figures(brush, scene, size, style, palette, draw)
    _symbols(brush, scene, size, style, draw)
    canvas = canvas if large else canvas.reduce(2)
    return _finish(canvas, scene, style)


def _figures(
    brush: ImageDraw.ImageDraw,
    scene: Scene,
    size: tuple[int, int],
    style: Style,
    palette: Palette,
    draw: Draw,
) -> None:
    count = len(scene.figures)
    slot = size[0] / count
    for number, figure in enumerate(scene.figures):
        look = dress(figure, palette)
        left, top, right, bottom = _bounds(look, scene)
        fit = min(
            slot * (0.92 if count == 1 else 1.0) / (right - left),
            size[1] * 0.93 / (bottom - top),
        )
        scale = fit * (0.84 + 0.16 * draw())
        mirror = draw() < 0.5 if count == 1 else number == 0
        middle = slot * (number + 0.5) + (slot - (right - left) * scale) * 0.6 * (
            draw() - 0.5
        )
        x = middle + (right + left) / 2 * scale * (1 if mirror else -1)
        y = size[1] * (0.965 if scene.framing == "full_body" else 1.0) - bottom * scale
        if figure.pose == "jumping":
            y -= 0.05 * size[1]
        matrix = (-scale if mirror else scale, 0.0, 0.0, scale, x, y)
        pen = Pen(brush, style, matrix, draw)
        if "shadow" in scene.things:
            centre = (left + right) / 2
            pen.blob(
                centre,
                bottom - 0.05,
                (right - left) * 0.36,
                0.28,
                (72, 72, 84),
                outline=False,
            )
        _figure(pen, look, scene.view)


def _bounds(look: Look, scene: Scene) -> tuple[float, float, float, float]:
    """Returns left, top, right, bottom of the visible part, in figure units."""
    figure = look.figure
    tall = (
        look.species.ears == "long"
        or look.has("antlers")
        or look.has("wizard_hat")
        or look.has("top_hat")
    )
    top = -2.5 if tall else -1.95 if figure.worn or look.has("horn") else -1.8
    if scene.framing == "headshot_portrait":
        return -1.55, top, 1.55, 1.25
    wide = 2.3 if look.has("wings") else 1.75
    if figure.held == "umbrella":
        wide, top = 3.0, -2.2
    if figure.held == "balloon":
        top = -1.95
    if scene.framing == "half-length_portrait":
        return (-wide, top, wide, 2.3) if figure.anthro else (-1.7, top, 2.9, 2.3)
    if not figure.anthro:
        if look.species.covering == "feathers":
            return -1.6, top, 3.0, 3.4
        return {
            "standing": (-1.5, top, 3.9, 3.4), "sitting": (-1.5, top, 2.9, 3.4),
            "lying": (-1.5, top, 3.9, 2.4),
            "jumping": (-1.7, top, 3.9, 3.5),
        }[figure.pose]  # fmt: skip
    if figure.pose == "lying":
        return -1.7, top, 3.9, 1.3
    return -wide, top, wide, 3.2 if figure.pose == "sitting" else 3.75


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
    if figure.held:
        return "waving" if figure.held == "waving" else "held"
    return "jumping" if figure.pose == "jumping" else ""


def _symbols(
    brush: ImageDraw.ImageDraw,
    scene: Scene,
    size: tuple[int, int],
    style: Style,
    draw: Draw,
) -> None:
    unit = min(size) / 10
    pen = Pen(brush, style, (unit, 0, 0, unit, 0, 0), draw)
    columns, rows = size[0] / unit, size[1] / unit
    if "rain" in scene.things:
        for _ in range(70):
            x, y = columns * draw(), rows * draw()
            pen.stroke([(x, y), (x - 0.15, y + 0.6)], 0.06, (200, 222, 240))
    corners = [(0.12, 0.12), (0.88, 0.12), (0.12, 0.45), (0.88, 0.42)]
    start = int(draw() * 4)
    for number, name in enumerate(
        name for name in scene.things if name in props.SYMBOLS
    ):
        u, v = corners[(start + number) % 4]
        props.SYMBOLS[name](pen.at(columns * u, rows * v, 0.95), (255, 255, 255))
        if name in ("heart_symbol", "sparkles", "bubbles"):  # never alone
            for step in (1, 2):
                u, v = corners[(start + number + step) % 4]
                props.SYMBOLS[name](
                    pen.at(
                        columns * u + draw() - 0.5,
                        rows * v + draw(),
                        0.4 + 0.35 * draw(),
                    ),
                    (255, 255, 255),
                )
    word = props.WORDS[int(draw() * len(props.WORDS))]
    if "speech_bubble" in scene.things:
        props.speech(pen.at(columns - 0.52 * len(word) - 0.6, 1.2, 0.58), word)
    if "text" in scene.things:
        caption = pen.at(columns / 2, rows - 0.85, 0.95)
        caption.shape(
            [(-columns, -0.85), (columns, -0.85), (columns, 0.85), (-columns, 0.85)],
            (250, 250, 250),
            outline=False,
        )
        props.letters(caption, word, (25, 22, 30))
    if "signature" in scene.things:
        _signature(pen.at(columns - 1.8, rows - 0.7, 1.25), scene)
    if "border" in scene.things:
        ink = (20, 20, 24) if draw() < 0.5 else (250, 250, 250)
        brush.rectangle(
            (0, 0, size[0] - 1, size[1] - 1), outline=ink, width=round(unit * 0.55)
        )


def _signature(pen: Pen, scene: Scene) -> None:
    """A scribble on a light strip, the same for all pictures of an artist."""
    hand = Random(f"signature/{scene.artist}").random
    pen.shape(
        [(-1.2, -0.35), (1.25, -0.35), (1.25, 0.35), (-1.2, 0.35)],
        (250, 248, 240),
        outline=False,
    )
    points = [(-1.05 + 0.21 * step, 0.5 * (hand() - 0.5)) for step in range(11)]
    pen.stroke(points, 0.09, (40, 35, 110))
    pen.stroke([(-1.05, 0.26), (1.05, 0.22)], 0.05, (40, 35, 110))


def _finish(picture: Image.Image, scene: Scene, style: Style) -> Image.Image:
    size = picture.size
    if style.hatched:
        picture = ImageChops.multiply(picture, _hatching(size))
    opaque = scene.place != "transparent_background"
    if style.shaded and opaque:
        shade = backdrop.gradient(size, (255, 255, 255), (232, 229, 238))
        picture = ImageChops.multiply(picture, shade)
    if style.surface and opaque:
        picture = _grain(picture, scene.key, 26 if style.surface == "grain" else 14)
    if scene.finish == "greyscale":
        picture = picture.convert("L").convert("RGB")
    elif scene.finish == "monochrome":
        inks = (
            ((20, 20, 70), (225, 235, 255)),
            ((60, 20, 10), (255, 236, 205)),
            ((10, 50, 25), (228, 250, 225)),
        )
        dark, pale = inks[scene.artist % 3]
        picture = ImageOps.colorize(picture.convert("L"), dark, pale)
    return picture


def _hatching(size: tuple[int, int]) -> Image.Image:
    step = max(10, max(size) // 34)
    lines = Image.new("RGB", size, (255, 255, 255))
    brush = ImageDraw.Draw(lines)
    for x in range(-size[1], size[0], step):
        brush.line(
            (x, size[1], x + size[1], 0), fill=(165, 160, 165), width=max(2, step // 5)
        )
    return lines


def _grain(picture: Image.Image, key: str, strength: int) -> Image.Image:
    """Darkens the picture a little by coarse noise from a hash.

    64 x 64 specks, enlarged.
    """
    specks = Image.frombytes("L", (64, 64), shake_128(key.encode()).digest(64 * 64))
    noise = specks.point([255 - strength * value // 255 for value in range(256)])
    noise = noise.resize(picture.size, Image.Resampling.NEAREST)
    return ImageChops.multiply(picture, Image.merge("RGB", (noise, noise, noise)))
