"""Colour words as colours, seen through an artist's taste and a little chance."""

from sandbox.art.draw import RGB, mix
from sandbox.art.style import Style
from sandbox.world.random_choice import Draw, pick

BODY: dict[str, RGB] = {
    "white": (240, 238, 232), "grey": (140, 142, 150), "black": (52, 50, 58),
    "brown": (128, 78, 42),
    "orange": (235, 125, 35), "tan": (220, 182, 130), "yellow": (245, 215, 60),
    "red": (200, 50, 45),
    "green": (80, 165, 70), "blue": (70, 120, 215), "purple": (135, 80, 180),
    "pink": (245, 150, 185),
}  # fmt: skip
HAIR: dict[str, RGB] = {
    "black": (28, 26, 34), "brown": (98, 56, 28), "blonde": (242, 210, 100),
    "red": (185, 50, 30),
    "blue": (60, 140, 235), "pink": (255, 120, 180),
}  # fmt: skip
EYES: dict[str, RGB] = {
    "blue": (40, 120, 255), "green": (30, 185, 50), "yellow": (245, 205, 20),
    "brown": (120, 66, 25),
    "red": (220, 25, 30), "purple": (150, 55, 205),
}  # fmt: skip
CLOTH: tuple[RGB, ...] = (
    (200, 45, 55), (40, 90, 180), (45, 140, 90), (240, 190, 50), (120, 70, 160), (60,
    60, 70), (235, 235, 235),
    (240, 130, 60), (90, 190, 200), (230, 120, 160),
)  # fmt: skip
"""Colours of clothes and things, which are no tags."""


class Palette:
    """Looks colour words up for one picture.

    They take on the artist's saturation and warmth, and a jitter per picture.
    """

    def __init__(self, style: Style, draw: Draw) -> None:
        self._style, self._draw = style, draw
        self._light = 0.92 + 0.14 * draw()

    def tint(self, colour: RGB) -> RGB:
        """Returns the colour as this artist mixes it."""
        style = self._style
        grey = (colour[0] * 3 + colour[1] * 6 + colour[2]) // 10
        red, green, blue = (
            grey + (value - grey) * style.saturation for value in colour
        )
        light = self._light
        return (
            _clip(red * light + 7 * style.warmth),
            _clip(green * light),
            _clip(blue * light - 7 * style.warmth),
        )

    def body(self, word: str) -> RGB:
        """A body colour, a little different from picture to picture."""
        red, green, blue = BODY[word]
        wobble = 22 * (self._draw() - 0.5)
        red = _clip(red + wobble)
        green = _clip(green + wobble * 0.8)
        blue = _clip(blue - wobble * 0.4)
        return self.tint((red, green, blue))

    def cloth(self) -> RGB:
        """Any colour for a thing."""
        colour = pick(self._draw, CLOTH)
        return self.tint(mix(colour, (128, 128, 128), 0.2 * self._draw()))


def _clip(value: float) -> int:
    return max(0, min(255, round(value)))
