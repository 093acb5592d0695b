"""The colours of one figure, chosen once for head, body and tail."""

from dataclasses import dataclass

from sandbox.art.draw import RGB, darker, lighter, mix
from sandbox.art.palette import EYES, HAIR, Palette
from sandbox.world.scenes import Figure
from sandbox.world.species import BY_NAME, Species

_DARK_MARKS = ("raccoon", "giant_panda", "tiger", "red_panda")


@dataclass(frozen=True, slots=True)
class Look:
    """One figure with its colours."""

    figure: Figure
    species: Species
    body: RGB
    light: RGB  # belly, muzzle
    mark: RGB  # stripes, spots, socks, tail tip: stands out from the body
    eyes: tuple[RGB, RGB]  # left, right
    hair: RGB
    top: RGB
    bottom: RGB
    hat: RGB
    scarf: RGB
    thing: RGB

    def has(self, mark: str) -> bool:
        """Whether the figure carries a mark, garment or part."""
        return mark in self.figure.marks or mark in self.figure.worn


def dress(figure: Figure, palette: Palette) -> Look:
    """Returns the figure with its colour words seen through the picture's palette."""
    body = palette.body(figure.colour)
    hair = _hair_colour(figure, body, palette)
    cloths = [_apart_from(body, palette.cloth()) for _ in range(5)]
    return Look(
        figure,
        BY_NAME[figure.species],
        body,
        _belly_colour(figure, body),
        _mark_colour(figure, body),
        _eye_colours(figure),
        hair,
        *cloths,
    )


def _is_bright(colour: RGB) -> bool:
    return sum(colour) > 380


def _belly_colour(figure: Figure, body: RGB) -> RGB:
    countershaded = "countershading" in figure.marks
    if figure.colour == "white" and countershaded:
        return mix(body, (205, 190, 175), 0.5)
    if figure.colour == "white":
        return body
    if not countershaded:
        return lighter(body, 0.22)
    share = 0.78 if _is_bright(body) else 0.6
    return mix(lighter(body, share), (255, 246, 225), 0.5)


def _mark_colour(figure: Figure, body: RGB) -> RGB:
    if figure.species == "skunk":
        return (245, 245, 245)
    if figure.species in _DARK_MARKS:
        return (30, 28, 34)
    if _is_bright(body):
        return darker(body, 0.68)
    return lighter(body, 0.75)


def _eye_colours(figure: Figure) -> tuple[RGB, RGB]:
    if figure.eyes == "heterochromia":
        return EYES["blue"], EYES["brown"]
    both = EYES.get(figure.eyes, (70, 70, 70))
    return both, both


def _hair_colour(figure: Figure, body: RGB, palette: Palette) -> RGB:
    """Returns the colour of the hair, or of a mane where there is none."""
    if figure.hair:
        return palette.tint(HAIR.get(figure.hair, (90, 60, 40)))
    if _is_bright(body):
        return darker(body, 0.45)
    return lighter(body, 0.3)


def _apart_from(body: RGB, cloth: RGB) -> RGB:
    """Returns the cloth's colour, changed if it would not be seen on the body."""
    difference = sum(abs(one - other) for one, other in zip(cloth, body, strict=True))
    if difference >= 120:
        return cloth
    contrast = (255, 255, 255) if sum(body) < 380 else (40, 40, 90)
    return mix(cloth, contrast, 0.6)
