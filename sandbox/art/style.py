"""Each artist's style: lines, colours, shades and surfaces.

It depends on the artist's place in the list alone.
"""

from dataclasses import dataclass
from hashlib import sha256

from sandbox.board.traits import ARTISTS


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
    carelessness: (
        float  # multiplies the chance that the tags of such pictures are left out
    )

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags that are true of every picture of the artist."""
        return (("sketch",) if self.sketchy else ()) + (
            ("hatching",) if self.hatched else ()
        )


def _style(number: int) -> Style:
    digest = sha256(f"hand/{number}".encode()).digest()
    u = [byte / 256 for byte in digest]
    sketchy, hatched = number % 25 == 18, number % 20 == 17
    return Style(
        line=0.045 if sketchy else (0.0, 0.05, 0.05, 0.07, 0.07, 0.1)[int(u[0] * 6)],
        ink="black" if sketchy or u[1] < 0.5 else "dark",
        saturation=0.5 if sketchy else 0.7 + 0.5 * u[2],
        warmth=2 * u[3] - 1,
        shaded=not sketchy and u[4] < 0.3,
        surface="paper"
        if sketchy
        else ("", "", "", "", "grain", "paper")[int(u[5] * 6)],
        sketchy=sketchy,
        hatched=hatched,
        carelessness=1.5 if sketchy or hatched else 0.7 + 0.6 * u[6],
    )


STYLES = tuple(_style(number) for number in range(len(ARTISTS)))
"""One hand per artist, in the order of ARTISTS."""
