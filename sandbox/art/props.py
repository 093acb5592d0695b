"""What figures hold and what floats around them: props, symbols, letters."""

from collections.abc import Callable, Iterator

from sandbox.art.draw import RGB, Pen, darker, lighter

_INK = (25, 22, 30)
_WOOD = (150, 100, 50)
_RED = (240, 50, 40)
_BLUE = (60, 70, 200)

_COVER = [
    (-0.75, -0.55),
    (0, -0.35),
    (0.75, -0.55),
    (0.75, 0.4),
    (0, 0.6),
    (-0.75, 0.4),
]
_CANOPY = [
    (-2.0, -2.3),
    (-1.7, -3.1),
    (-0.9, -3.6),
    (0, -3.75),
    (0.9, -3.6),
    (1.7, -3.1),
    (2.0, -2.3),
    (1.35, -2.5),
    (0.7, -2.25),
    (0, -2.5),
    (-0.7, -2.25),
    (-1.35, -2.5),
]
_BLADE = [(-0.14, -0.2), (-0.14, -1.9), (0, -2.25), (0.14, -1.9), (0.14, -0.2)]
_HALF_HEART = [
    (0, 0.9),
    (-0.9, 0.0),
    (-0.95, -0.45),
    (-0.7, -0.78),
    (-0.3, -0.78),
    (0, -0.42),
]
_SPARKLE = [
    (0, -1),
    (0.2, -0.2),
    (1, 0),
    (0.2, 0.2),
    (0, 1),
    (-0.2, 0.2),
    (-1, 0),
    (-0.2, -0.2),
]
_EXCLAMATION_BAR = [(-0.28, -1.0), (0.28, -1.0), (0.12, 0.35), (-0.12, 0.35)]
_QUESTION_HOOK = [
    (-0.4, -0.5),
    (-0.3, -0.9),
    (0.1, -1.05),
    (0.45, -0.75),
    (0.35, -0.35),
    (0.0, -0.05),
    (0.0, 0.35),
]
_TOADSTOOL_STEM = [(-0.25, 0), (0.25, 0), (0.2, -0.7), (-0.2, -0.7)]
_TOADSTOOL_CAP = [
    (-0.75, -0.6),
    (-0.55, -1.15),
    (0, -1.4),
    (0.55, -1.15),
    (0.75, -0.6),
]


def flower(pen: Pen, fill: RGB) -> None:
    """A flower whose stem starts at the origin."""
    pen.stroke([(0, 0.3), (0, -0.75)], 0.1, (50, 140, 50))
    pen.blob(0.2, -0.15, 0.22, 0.1, (70, 170, 60), -0.5, outline=False)
    for x, y in ((0, -1.35), (0.36, -1.1), (0.22, -0.7), (-0.22, -0.7), (-0.36, -1.1)):
        pen.blob(x, y, 0.25, 0.25, fill)
    pen.blob(0, -1.0, 0.2, 0.2, (255, 220, 60))


def balloon(pen: Pen, fill: RGB) -> None:
    """A balloon on a string from the origin up."""
    pen.stroke([(0, 0), (0.12, -0.9), (0.05, -1.6)], 0.04, _INK)
    pen.blob(0.05, -2.4, 0.72, 0.85, fill)
    pen.blob(-0.2, -2.7, 0.16, 0.24, lighter(fill, 0.7), 0.4, outline=False)


def ball(pen: Pen, fill: RGB) -> None:
    """A ball with a light band."""
    pen.blob(0.2, -0.1, 0.55, 0.55, fill)
    pen.blob(0.2, -0.1, 0.2, 0.53, (250, 250, 250), outline=False)


def book(pen: Pen, fill: RGB) -> None:
    """An open book."""
    pen.shape(_COVER, fill)
    for sign in (-1, 1):
        edge = sign * 0.65
        page = [(0, -0.3), (edge, -0.47), (edge, 0.27), (0, 0.47)]
        pen.shape(page, (252, 250, 240))
        for y in (-0.15, 0.05, 0.22):
            line = [(sign * 0.12, y), (sign * 0.52, y - 0.1)]
            pen.stroke(line, 0.04, (120, 120, 130))


def umbrella(pen: Pen, fill: RGB) -> None:
    """An open umbrella above the hand."""
    pen.stroke([(0, 0.3), (0, -2.9)], 0.1, _WOOD)
    pen.shape(_CANOPY, fill)


def sword(pen: Pen, _fill: RGB) -> None:
    """A sword pointing up."""
    pen.shape(_BLADE, (205, 215, 228))
    pen.limb(-0.42, -0.2, 0.42, -0.2, 0.1, 0.1, (240, 200, 60))
    pen.limb(0, -0.15, 0, 0.4, 0.1, 0.1, _WOOD)


def ice_cream(pen: Pen, _fill: RGB) -> None:
    """Two scoops in a cone."""
    pen.shape([(-0.3, -0.35), (0.3, -0.35), (0, 0.55)], (225, 170, 90))
    pen.blob(0, -0.55, 0.4, 0.36, (255, 175, 200))
    pen.blob(0, -1.0, 0.33, 0.32, (255, 245, 215))
    pen.blob(0, -1.36, 0.1, 0.1, (220, 30, 50))


def apple(pen: Pen, _fill: RGB) -> None:
    """A red apple with a leaf."""
    pen.blob(-0.16, -0.25, 0.34, 0.4, (215, 35, 40))
    pen.blob(0.16, -0.25, 0.34, 0.4, (215, 35, 40), outline=False)
    pen.stroke([(0, -0.55), (0.06, -0.85)], 0.08, _WOOD)
    pen.blob(0.22, -0.78, 0.2, 0.1, (70, 170, 60), -0.4)


def pizza(pen: Pen, _fill: RGB) -> None:
    """A slice of pizza, point down."""
    pen.shape([(-0.6, -0.9), (0.6, -0.9), (0, 0.45)], (250, 205, 80))
    pen.limb(-0.58, -0.95, 0.58, -0.95, 0.14, 0.14, (200, 135, 60))
    for x, y in ((-0.2, -0.6), (0.22, -0.55), (0, -0.15)):
        pen.blob(x, y, 0.14, 0.14, (205, 50, 40), outline=False)


HELD: dict[str, Callable[[Pen, RGB], None]] = {
    "flower": flower, "balloon": balloon, "ball": ball, "book": book,
    "umbrella": umbrella, "sword": sword,
    "ice_cream": ice_cream, "apple": apple, "pizza": pizza,
}  # fmt: skip
"""How to draw each thing that a hand can hold, from the hand's point."""


def heart(pen: Pen, _fill: RGB) -> None:
    """A heart of radius 1."""
    right = [(-x, y) for x, y in reversed(_HALF_HEART[1:-1])]
    pen.shape(_HALF_HEART + right, (235, 45, 85))


def sparkle(pen: Pen, _fill: RGB) -> None:
    """A four-pointed glint."""
    pen.shape(_SPARKLE, (255, 250, 170))


def bubble(pen: Pen, _fill: RGB) -> None:
    """A soap bubble."""
    pen.blob(0, 0, 0.8, 0.8, (190, 232, 250))
    pen.blob(-0.3, -0.3, 0.18, 0.18, (255, 255, 255), outline=False)


def note(pen: Pen, _fill: RGB) -> None:
    """A quaver."""
    pen.stroke([(0.3, 0.6), (0.3, -0.9), (0.9, -0.55)], 0.16, _INK)
    pen.blob(0.02, 0.65, 0.34, 0.25, _INK, -0.3)


def exclamation(pen: Pen, _fill: RGB) -> None:
    """An exclamation mark."""
    pen.shape(_EXCLAMATION_BAR, _RED)
    pen.blob(0, 0.75, 0.22, 0.22, _RED)


def question(pen: Pen, _fill: RGB) -> None:
    """A question mark."""
    pen.stroke(_QUESTION_HOOK, 0.24, _BLUE)
    pen.blob(0, 0.78, 0.17, 0.17, _BLUE)


def sleep(pen: Pen, _fill: RGB) -> None:
    """Three Z of a snorer."""
    for x, y, size in ((-0.8, 0.7, 0.35), (0.0, 0.0, 0.5), (0.9, -0.8, 0.65)):
        left, right = x - size, x + size
        top, bottom = y - size, y + size
        letter = [(left, top), (right, top), (left, bottom), (right, bottom)]
        pen.stroke(letter, 0.18, (60, 70, 160))


SYMBOLS: dict[str, Callable[[Pen, RGB], None]] = {
    "heart_symbol": heart, "sparkles": sparkle, "bubbles": bubble, "musical_note": note,
    "exclamation_point": exclamation, "?": question, "zzz": sleep,
}  # fmt: skip
"""How to draw each floating symbol, about one unit in radius."""

_STROKES = {
    "A": "0 2,1 0,2 2|0.5 1.2,1.5 1.2", "E": "2 0,0 0,0 2,2 2|0 1,1.5 1",
    "F": "2 0,0 0,0 2|0 1,1.5 1",
    "H": "0 0,0 2|2 0,2 2|0 1,2 1", "I": "1 0,1 2", "L": "0 0,0 2,2 2",
    "M": "0 2,0 0,1 1,2 0,2 2",
    "N": "0 2,0 0,2 2,2 0",
    "O": "0 0.4,0.5 0,1.5 0,2 0.4,2 1.6,1.5 2,0.5 2,0 1.6,0 0.4",
    "T": "0 0,2 0|1 0,1 2",
    "W": "0 0,0.5 2,1 1,1.5 2,2 0", "Y": "0 0,1 1,2 0|1 1,1 2",
}  # fmt: skip
"""Letters as strokes on a grid of 2 x 2: no font file, so no font's version."""

WORDS = (
    "HELLO",
    "OH NO",
    "YAWN",
    "FLOOF",
    "TAIL",
    "MINE",
    "OH WHY",
    "WHAT",
    "NO WAY",
    "I AM LATE",
)


def letters(pen: Pen, word: str, ink: RGB) -> None:
    """Writes a word with its middle at the origin, letters one unit high."""
    x = -len(word) * 0.62
    for letter in word:
        for stroke in _strokes(letter):
            points = [(x + u * 0.5, v * 0.5 - 0.5) for u, v in stroke]
            pen.stroke(points, 0.17, ink)
        x += 1.27


def _strokes(letter: str) -> Iterator[list[tuple[float, float]]]:
    """Yields the points of each stroke; none for a space."""
    if letter not in _STROKES:
        return
    for stroke in _STROKES[letter].split("|"):
        dots = [dot.split() for dot in stroke.split(",")]
        yield [(float(u), float(v)) for u, v in dots]


def speech(pen: Pen, word: str) -> None:
    """A speech bubble around a word, its tip to the lower left."""
    half = 0.75 * len(word) + 0.5
    pen.blob(0, 0, half, 1.25, (255, 255, 255))
    tip = [(-half * 0.55, 0.75), (-half * 0.15, 1.05), (-half * 0.75, 2.1)]
    pen.shape(tip, (255, 255, 255), outline=False)
    letters(pen, word, _INK)


def mushroom(pen: Pen) -> None:
    """A toadstool standing on the origin."""
    pen.shape(_TOADSTOOL_STEM, (245, 235, 215))
    pen.shape(_TOADSTOOL_CAP, (215, 40, 40))
    for x, y in ((-0.35, -0.85), (0.05, -1.12), (0.38, -0.8)):
        pen.blob(x, y, 0.12, 0.1, (255, 255, 255), outline=False)


def butterfly(pen: Pen, fill: RGB) -> None:
    """A butterfly of about one unit."""
    for sign in (-1, 1):
        pen.blob(sign * 0.45, -0.3, 0.42, 0.5, fill, sign * 0.5)
        pen.blob(sign * 0.35, 0.35, 0.3, 0.35, darker(fill, 0.2))
    pen.limb(0, -0.5, 0, 0.6, 0.09, 0.07, _INK)
