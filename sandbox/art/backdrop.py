"""What is behind the figures: plain grounds, rooms, landscapes by day and night."""

from PIL import Image, ImageDraw

from sandbox.art.draw import RGB, darker, gradient, lighter, mix
from sandbox.art.landscape import paint_landscape
from sandbox.art.palette import Palette
from sandbox.art.room import paint_room
from sandbox.world.random_choice import Draw
from sandbox.world.scenes import Scene

HOLE: RGB = (188, 236, 214)
"""What transparent pixels are painted with: no coat or cloth comes near it."""


def paint(
    scene: Scene, size: tuple[int, int], palette: Palette, draw: Draw
) -> Image.Image:
    """Returns the canvas with its background, without anything in front of it."""
    if scene.place == "outside":
        return paint_landscape(scene, size, palette, draw)
    if scene.place == "inside":
        return paint_room(scene, size, palette, draw)
    return _simple(scene.place, size, palette, draw)


def _simple(
    place: str, size: tuple[int, int], palette: Palette, draw: Draw
) -> Image.Image:
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
        _add_dots(canvas, lighter(colour, 0.6))
    return canvas


def _add_dots(canvas: Image.Image, colour: RGB) -> None:
    width, height = canvas.size
    brush = ImageDraw.Draw(canvas)
    step = max(24, min(canvas.size) // 8)
    radius = step // 4
    for row, y in enumerate(range(step // 2, height + step, step)):
        first = step // 2 if row % 2 else 0
        for x in range(first, width + step, step):
            brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
