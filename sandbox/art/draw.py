"""The pen: shapes in a figure's own coordinates.

They are turned, mirrored and scaled onto the canvas, with the artist's line.

A unit is the radius of a head; y grows downwards.
"""

from collections.abc import Callable, Sequence
from math import cos, hypot, pi, sin

from PIL import ImageDraw

from sandbox.art.style import Style

RGB = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

# A circle as the pen draws it: corners enough that none is seen at 200 pixels.
_CIRCLE = tuple(
    (cos(2 * pi * step / 26), sin(2 * pi * step / 26)) for step in range(26)
)


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """Returns a colour on the way from `one` (share 0) to `other` (share 1)."""
    return (
        round(one[0] + (other[0] - one[0]) * share),
        round(one[1] + (other[1] - one[1]) * share),
        round(one[2] + (other[2] - one[2]) * share),
    )


def darker(colour: RGB, share: float = 0.35) -> RGB:
    """Returns the colour on its way to black."""
    return mix(colour, (12, 8, 16), share)


def lighter(colour: RGB, share: float = 0.5) -> RGB:
    """Returns the colour on its way to white."""
    return mix(colour, (255, 255, 255), share)


class Pen:
    """Draws shapes with outlines through an affine map.

    `at` gives a pen for a part moved, turned or mirrored.
    """

    def __init__(
        self,
        canvas: ImageDraw.ImageDraw,
        style: Style,
        matrix: tuple[float, float, float, float, float, float],
        draw: Callable[[], float],
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
        right, down = (-scale if mirror else scale), scale
        p, q, r, s = (
            right * cos(turn),
            right * sin(turn),
            -down * sin(turn),
            down * cos(turn),
        )
        moved = (
            a * p + c * q,
            b * p + d * q,
            a * r + c * s,
            b * r + d * s,
            a * x + c * y + e,
            b * x + d * y + f,
        )
        return Pen(self.canvas, self.style, moved, self.draw)

    def place(self, points: Points) -> list[tuple[float, float]]:
        """Returns the points in pixels."""
        a, b, c, d, e, f = self.matrix
        return [(a * x + c * y + e, b * x + d * y + f) for x, y in points]

    def shape(self, points: Points, fill: RGB, outline: bool = True) -> None:
        """Fills a polygon and draws its outline; sketching artists draw it twice."""
        dots = self.place(points)
        style = self.style
        self.canvas.polygon(dots, fill=lighter(fill, 0.45) if style.sketchy else fill)
        if not outline or not self._line:
            return
        ink = (30, 25, 30) if style.ink == "black" else darker(fill, 0.6)
        joint = "curve" if len(dots) < 12 else None
        self.canvas.line(
            [*dots, dots[0], dots[1]], fill=ink, width=self._line, joint=joint
        )
        if style.sketchy:
            off = 0.05 * self.unit
            loose = [
                (x + off * (self.draw() - 0.3), y + off * (self.draw() - 0.3))
                for x, y in dots
            ]
            self.canvas.line(
                [*loose, loose[0]],
                fill=mix(ink, fill, 0.3),
                width=max(1, self._line // 2),
            )

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
        self.shape(
            [
                (x + rx * u * p - ry * v * q, y + rx * u * q + ry * v * p)
                for u, v in _CIRCLE
            ],
            fill,
            outline,
        )

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
        start = [
            (x0 - w0 * (c * u - s * v), y0 - w0 * (c * v + s * u)) for c, s in _HALF
        ]
        end = [(x1 + w1 * (c * u - s * v), y1 + w1 * (c * v + s * u)) for c, s in _HALF]
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
        steps = [2 * pi * (start + (stop - start) * step / 8) for step in range(9)]
        self.stroke(
            [(x + rx * cos(step), y + ry * sin(step)) for step in steps], width, ink
        )


_HALF = tuple(
    (cos(pi * (step / 8 - 0.5)), sin(pi * (step / 8 - 0.5))) for step in range(9)
)
