"""The pen: shapes in a figure's own coordinates.

They are turned, mirrored and scaled onto the canvas, with the artist's line.

A unit is the radius of a head; y grows downwards.
"""

from collections.abc import Sequence
from math import cos, hypot, pi, sin

from PIL import Image, ImageDraw

from sandbox.art.style import Style
from sandbox.world.random_choice import Draw

RGB = tuple[int, int, int]
Points = Sequence[tuple[float, float]]
Matrix = tuple[float, float, float, float, float, float]
"""An affine map: where (1, 0) and (0, 1) point, and where the origin lies."""

_INK = (30, 25, 30)
# A circle as the pen draws it: corners enough that none is seen at 200 pixels.
_CIRCLE = tuple(
    (cos(2 * pi * step / 26), sin(2 * pi * step / 26)) for step in range(26)
)
_HALF_CIRCLE = tuple(
    (cos(pi * (step / 8 - 0.5)), sin(pi * (step / 8 - 0.5))) for step in range(9)
)


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """Returns a colour on the way from `one` (share 0) to `other` (share 1)."""
    red = round(one[0] + (other[0] - one[0]) * share)
    green = round(one[1] + (other[1] - one[1]) * share)
    blue = round(one[2] + (other[2] - one[2]) * share)
    return red, green, blue


def darker(colour: RGB, share: float = 0.35) -> RGB:
    """Returns the colour on its way to black."""
    return mix(colour, (12, 8, 16), share)


def lighter(colour: RGB, share: float = 0.5) -> RGB:
    """Returns the colour on its way to white."""
    return mix(colour, (255, 255, 255), share)


def gradient(size: tuple[int, int], top: RGB, bottom: RGB) -> Image.Image:
    """Returns a vertical gradient from one colour at the top to another below."""
    strip = Image.new("RGB", (1, 64))
    colours = [mix(top, bottom, step / 63) for step in range(64)]
    strip.putdata(colours)
    if size[1] < 64:
        return strip.resize(size, Image.Resampling.NEAREST)
    return strip.resize(size, Image.Resampling.BILINEAR)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Returns the four corners, clockwise from the top left."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


class Pen:
    """Draws shapes with outlines through an affine map.

    `at` gives a pen for a part moved, turned or mirrored.
    """

    def __init__(
        self,
        canvas: ImageDraw.ImageDraw,
        style: Style,
        matrix: Matrix,
        draw: Draw,
    ) -> None:
        self.canvas, self.style, self.matrix, self.draw = canvas, style, matrix, draw
        self.unit = hypot(matrix[0], matrix[1])  # pixels per unit
        self._line = round(style.line * self.unit)

    def at(
        self,
        x: float,
        y: float,
        scale: float = 1.0,
        turn: float = 0.0,
        mirror: bool = False,
    ) -> "Pen":
        """Returns a pen whose origin is (x, y) here.

        `turn` is in radians, clockwise.
        """
        a, b, c, d, e, f = self.matrix
        right = -scale if mirror else scale
        p, q = right * cos(turn), right * sin(turn)
        r, s = -scale * sin(turn), scale * cos(turn)
        x_axis = (a * p + c * q, b * p + d * q)
        y_axis = (a * r + c * s, b * r + d * s)
        origin = (a * x + c * y + e, b * x + d * y + f)
        return Pen(self.canvas, self.style, (*x_axis, *y_axis, *origin), self.draw)

    def place(self, points: Points) -> list[tuple[float, float]]:
        """Returns the points in pixels."""
        a, b, c, d, e, f = self.matrix
        return [(a * x + c * y + e, b * x + d * y + f) for x, y in points]

    def shape(self, points: Points, fill: RGB, outline: bool = True) -> None:
        """Fills a polygon and draws its outline; sketching artists draw it twice."""
        dots = self.place(points)
        paint = lighter(fill, 0.45) if self.style.sketchy else fill
        self.canvas.polygon(dots, fill=paint)
        if outline and self._line:
            self._outline(dots, fill)

    def _outline(self, dots: list[tuple[float, float]], fill: RGB) -> None:
        ink = _INK if self.style.ink == "black" else darker(fill, 0.6)
        joint = "curve" if len(dots) < 12 else None
        closed = [*dots, dots[0], dots[1]]
        self.canvas.line(closed, fill=ink, width=self._line, joint=joint)
        if self.style.sketchy:
            self._loose_outline(dots, mix(ink, fill, 0.3))

    def _loose_outline(self, dots: list[tuple[float, float]], ink: RGB) -> None:
        off = 0.05 * self.unit
        loose = [
            (x + off * (self.draw() - 0.3), y + off * (self.draw() - 0.3))
            for x, y in dots
        ]
        width = max(1, self._line // 2)
        self.canvas.line([*loose, loose[0]], fill=ink, width=width)

    def blob(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        fill: RGB,
        turn: float = 0.0,
        outline: bool = True,
    ) -> None:
        """An ellipse with half axes rx and ry, turned by `turn` radians."""
        p, q = cos(turn), sin(turn)
        rim = [
            (x + rx * u * p - ry * v * q, y + rx * u * q + ry * v * p)
            for u, v in _CIRCLE
        ]
        self.shape(rim, fill, outline)

    def limb(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        w0: float,
        w1: float,
        fill: RGB,
    ) -> None:
        """Draws a tapering rounded bar between two points, of half width w0 to w1."""
        length = hypot(x1 - x0, y1 - y0) or 1.0
        u, v = (x1 - x0) / length, (y1 - y0) / length
        # The half circle turned into the bar's direction.
        turned = [(c * u - s * v, c * v + s * u) for c, s in _HALF_CIRCLE]
        start = [(x0 - w0 * p, y0 - w0 * q) for p, q in turned]
        end = [(x1 + w1 * p, y1 + w1 * q) for p, q in turned]
        self.shape([*start, *end], fill)

    def stroke(self, points: Points, width: float, colour: RGB) -> None:
        """A line of `width` units, at least one pixel wide, without outline."""
        pixels = max(1, round(width * self.unit))
        self.canvas.line(self.place(points), fill=colour, width=pixels, joint="curve")

    def arc(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        start: float,
        stop: float,
        width: float,
        ink: RGB,
    ) -> None:
        """Part of an ellipse's rim, angles in turns from the right, clockwise."""
        angles = [2 * pi * (start + (stop - start) * step / 8) for step in range(9)]
        rim = [(x + rx * cos(angle), y + ry * sin(angle)) for angle in angles]
        self.stroke(rim, width, ink)


def canvas_pen(
    canvas: ImageDraw.ImageDraw, style: Style, size: tuple[int, int], draw: Draw
) -> Pen:
    """Returns a pen for the whole canvas; a unit is a tenth of its short side."""
    unit = min(size) / 10
    return Pen(canvas, style, (unit, 0, 0, unit, 0, 0), draw)
