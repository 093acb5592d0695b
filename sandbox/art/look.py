"""The colours of one figure, chosen once for head, body and tail."""

from dataclasses import dataclass

from sandbox.art.draw import RGB, darker, lighter, mix
from sandbox.art.palette import EYES, HAIR, Palette
from sandbox.board.scenes import Figure
from sandbox.board.species import BY_NAME, Species


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
    """Returns the figure's look.

    Its colour words seen through the picture's palette.
    """
    body = palette.body(figure.colour)
    bright = sum(body) > 380
    pale = lighter(body, 0.78 if bright else 0.6)
    light = (
        mix(pale, (255, 246, 225), 0.5)
        if "countershading" in figure.marks
        else lighter(body, 0.22)
    )
    if figure.colour == "white":
        light = (
            mix(body, (205, 190, 175), 0.5)
            if "countershading" in figure.marks
            else body
        )
    mark = darker(body, 0.68) if bright else lighter(body, 0.75)
    if figure.species in ("skunk", "raccoon", "giant_panda", "tiger", "red_panda"):
        mark = (245, 245, 245) if figure.species == "skunk" else (30, 28, 34)
    words = (
        ("blue", "brown")
        if figure.eyes == "heterochromia"
        else (figure.eyes, figure.eyes)
    )
    eyes = tuple(EYES.get(word, (70, 70, 70)) for word in words)
    hair = palette.tint(HAIR.get(figure.hair, (90, 60, 40)))
    if not figure.hair:
        hair = darker(body, 0.45) if bright else lighter(body, 0.3)  # manes
    cloths = [palette.cloth() for _ in range(5)]
    for number, cloth in enumerate(
        cloths
    ):  # clothes of the coat's own colour would not be seen
        if sum(abs(one - other) for one, other in zip(cloth, body, strict=True)) < 120:
            cloths[number] = mix(
                cloth, (255, 255, 255) if sum(body) < 380 else (40, 40, 90), 0.6
            )
    return Look(
        figure,
        BY_NAME[figure.species],
        body,
        light,
        mark,
        (eyes[0], eyes[1]),
        hair,
        *cloths,
    )
