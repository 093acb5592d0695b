"""Each artist's style: lines, colours, shades and surfaces.

It depends on the artist's place in the list alone.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

from sandbox.world.traits import ARTISTS

_LINES = (0.0, 0.05, 0.05, 0.07, 0.07, 0.1)
_SURFACES = ("", "", "", "", "grain", "paper")


@dataclass(frozen=True, slots=True)
class Style:
    """One artist's hand. Lengths are in units of a head's radius."""

    line: float  # outline thickness; 0: no outlines
    ink: str  # "black" or "dark" (a darker shade of what is outlined)
    saturation: float  # 1: as named
    warmth: float  # -1 cold to 1 warm
    shaded: bool  # a little darker towards the ground
    surface: str  # "", "grain", "paper"
    sketchy: bool  # loose double lines, pale fills
    hatched: bool
    # Multiplies the chance that the tags of such pictures are left out.
    carelessness: float

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags that are true of every picture of the artist."""
        tags = {"sketch": self.sketchy, "hatching": self.hatched}
        return tuple(name for name, is_true in tags.items() if is_true)


def _style(number: int) -> Style:
    digest = sha256(f"hand/{number}".encode()).digest()
    u = [byte / 256 for byte in digest]
    style = Style(
        line=_LINES[int(u[0] * 6)],
        ink="black" if u[1] < 0.5 else "dark",
        saturation=0.7 + 0.5 * u[2],
        warmth=2 * u[3] - 1,
        shaded=u[4] < 0.3,
        surface=_SURFACES[int(u[5] * 6)],
        sketchy=False,
        hatched=number % 20 == 17,
        carelessness=0.7 + 0.6 * u[6],
    )
    if number % 25 == 18:
        style = _sketchy(style)
    if style.sketchy or style.hatched:
        style = replace(style, carelessness=1.5)
    return style


def _sketchy(style: Style) -> Style:
    """Returns the style with the loose hand of a sketcher."""
    return replace(
        style,
        line=0.045,
        ink="black",
        saturation=0.5,
        shaded=False,
        surface="paper",
        sketchy=True,
    )


STYLES = tuple(_style(number) for number in range(len(ARTISTS)))
"""One hand per artist, in the order of ARTISTS."""
