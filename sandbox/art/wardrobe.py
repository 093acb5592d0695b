"""Clothes, hats and glasses, in the coordinates of the body they sit on."""

from sandbox.art.draw import RGB, Pen, darker, lighter, mix
from sandbox.art.look import Look

INK = (24, 22, 28)
_GOLD = (250, 205, 60)
_FRAMES = (30, 26, 34)
_WHITE = (250, 250, 250)

_CAPE = [
    (-0.7, 0.85),
    (0.7, 0.85),
    (1.75, 3.2),
    (0.6, 3.05),
    (-0.6, 3.2),
    (-1.75, 3.05),
]
_SKIRT = [
    (-0.6, 2.05),
    (0.6, 2.05),
    (1.15, 2.95),
    (0.4, 3.05),
    (-0.4, 3.05),
    (-1.15, 2.95),
]
_SHIRT = [
    (-0.6, 0.95),
    (-0.2, 0.82),
    (0.2, 0.82),
    (0.6, 0.95),
    (0.8, 1.7),
    (0.78, 2.35),
    (-0.78, 2.35),
    (-0.8, 1.7),
]
_PANTS = [(-0.74, 1.95), (0.74, 1.95), (0.8, 2.7), (0, 2.85), (-0.8, 2.7)]
_POCKET = [(-0.4, 1.75), (0.4, 1.75), (0.52, 2.2), (-0.52, 2.2)]
_CAP = [
    (-0.85, -0.62),
    (-0.78, -1.15),
    (-0.4, -1.48),
    (0.2, -1.52),
    (0.66, -1.25),
    (0.85, -0.62),
]
_BRIM_FROM_THE_FRONT = [
    (-0.95, -0.75),
    (0.95, -0.75),
    (1.1, -0.48),
    (0, -0.36),
    (-1.1, -0.48),
]
_BRIM_FROM_THE_SIDE = [(-0.8, -0.66), (-1.55, -0.5), (-1.45, -0.36), (0.3, -0.56)]
_BEANIE = [(-0.88, -0.6), (-0.75, -1.2), (0, -1.55), (0.75, -1.2), (0.88, -0.6)]
_TOP_HAT = [(-0.62, -0.7), (-0.7, -2.0), (0.7, -2.0), (0.62, -0.7)]
_TOP_HAT_BAND = [(-0.62, -0.85), (0.62, -0.85), (0.64, -1.12), (-0.64, -1.12)]
_CROWN = [
    (-0.62, -0.72),
    (-0.72, -1.5),
    (-0.35, -1.1),
    (0, -1.6),
    (0.35, -1.1),
    (0.72, -1.5),
    (0.62, -0.72),
]
_HALF_STAR = [
    (0, -1),
    (0.24, -0.32),
    (0.95, -0.31),
    (0.38, 0.12),
    (0.59, 0.81),
    (0, 0.4),
]
"""The right half of a five-pointed star, from its upper to its lower middle."""


def sleeve(look: Look) -> RGB | None:
    """The colour of the sleeves, or None for bare arms."""
    if _has_shirt(look):
        return look.top
    return None


def _has_shirt(look: Look) -> bool:
    return any(look.has(name) for name in ("shirt", "striped_shirt", "hoodie"))


def draw_behind(pen: Pen, look: Look) -> None:
    """What hangs behind the body."""
    if look.has("cape"):
        pen.shape(_CAPE, look.scarf)


def draw_clothes(pen: Pen, look: Look, view: str) -> None:
    """What covers the trunk and legs of an upright figure, arms aside."""
    sitting = look.figure.pose == "sitting"
    if look.has("pants"):
        _pants(pen, look, sitting)
    if look.has("skirt"):
        pen.shape(_SKIRT, look.bottom)
    if _has_shirt(look):
        pen.shape(_SHIRT, look.top)
    if look.has("striped_shirt"):
        for y in (1.2, 1.6, 2.0):
            stripe = [(-0.72, y), (0.72, y), (0.74, y + 0.2), (-0.74, y + 0.2)]
            pen.shape(stripe, _WHITE, outline=False)
    if look.has("hoodie"):
        _hoodie(pen, look, view)


def _pants(pen: Pen, look: Look, sitting: bool) -> None:
    pen.shape(_PANTS, look.bottom)
    for sign in (-1, 1):
        if sitting:
            pen.limb(sign * 0.42, 2.4, sign * 0.95, 2.62, 0.44, 0.38, look.bottom)
        else:
            pen.limb(sign * 0.37, 2.4, sign * 0.43, 3.2, 0.4, 0.36, look.bottom)


def _hoodie(pen: Pen, look: Look, view: str) -> None:
    pen.limb(-0.62, 0.98, 0.62, 0.98, 0.24, 0.24, darker(look.top, 0.2))
    if view == "rear_view":
        return
    pen.shape(_POCKET, darker(look.top, 0.22))
    for x in (-0.16, 0.16):
        pen.stroke([(x, 1.1), (x * 1.2, 1.6)], 0.07, _WHITE)


def draw_neckwear(pen: Pen, look: Look) -> None:
    """Scarf, collar and bow tie, at the throat (the pen's origin)."""
    if look.has("scarf"):
        pen.limb(0.3, 0.05, 0.55, 1.0, 0.22, 0.24, darker(look.scarf, 0.12))
        pen.limb(-0.6, 0.0, 0.6, 0.0, 0.27, 0.27, look.scarf)
    if look.has("collar"):
        pen.limb(-0.52, -0.02, 0.52, -0.02, 0.13, 0.13, look.scarf)
        if look.has("bell"):
            pen.blob(0, 0.22, 0.2, 0.2, _GOLD)
            pen.stroke([(-0.12, 0.27), (0.12, 0.27)], 0.05, INK)
        else:
            pen.blob(0, 0.12, 0.09, 0.1, (225, 225, 230))
    if look.has("bow_tie"):
        for sign in (-1, 1):
            pen.shape([(0, 0.08), (sign * 0.5, -0.16), (sign * 0.5, 0.36)], look.hat)
        pen.blob(0, 0.1, 0.13, 0.13, darker(look.hat))


def draw_headwear(pen: Pen, look: Look, view: str) -> None:
    """Hats, glasses and headphones on a head of radius 1 around the origin."""
    side = view == "side_view"
    if look.has("glasses") or look.has("sunglasses"):
        _glasses(pen, look, side)
    if look.has("headphones"):
        _headphones(pen, look, side)
    hat = pen.at(0.0, 0.0, 1.0, -0.06)
    if side:
        hat = pen.at(0.1, 0.0, 1.0, 0.08)
    for name in look.figure.worn:
        if name in _HATS:
            _HATS[name](hat, look.hat, side)


def _headphones(pen: Pen, look: Look, side: bool) -> None:
    x = 0.1 if side else 0
    pen.arc(x, -0.2, 1.08, 0.95, 0.5, 1.0, 0.17, (60, 60, 70))
    for ear in (0.15,) if side else (-1.05, 1.05):
        pen.blob(ear, -0.05, 0.26, 0.38, look.hat)


def _cap(pen: Pen, fill: RGB, side: bool) -> None:
    pen.shape(_CAP, fill)
    brim = _BRIM_FROM_THE_SIDE if side else _BRIM_FROM_THE_FRONT
    pen.shape(brim, darker(fill, 0.3))


def _beanie(pen: Pen, fill: RGB, _side: bool) -> None:
    pen.shape(_BEANIE, fill)
    pen.limb(-0.8, -0.62, 0.8, -0.62, 0.2, 0.2, lighter(fill, 0.5))
    pen.blob(0, -1.65, 0.27, 0.27, _WHITE)


def _top_hat(pen: Pen, fill: RGB, _side: bool) -> None:
    felt = (40, 38, 48)
    pen.shape(_TOP_HAT, felt)
    pen.shape(_TOP_HAT_BAND, fill, outline=False)
    pen.limb(-1.0, -0.7, 1.0, -0.7, 0.12, 0.12, felt)


def _wizard_hat(pen: Pen, fill: RGB, _side: bool) -> None:
    velvet = mix(fill, (70, 40, 150), 0.75)
    pen.shape([(-0.75, -0.7), (0.05, -2.5), (0.75, -0.7)], velvet)
    pen.blob(0, -0.7, 1.25, 0.25, velvet)
    for x, y in ((-0.2, -1.1), (0.15, -1.5)):
        pen.shape(star(x, y, 0.2), _GOLD, outline=False)


def _party_hat(pen: Pen, fill: RGB, _side: bool) -> None:
    pen.shape([(-0.48, -0.78), (0, -2.1), (0.48, -0.78)], fill)
    for x, y in ((-0.15, -1.0), (0.12, -1.3), (-0.02, -1.65)):
        pen.blob(x, y, 0.1, 0.1, (250, 240, 90), outline=False)
    pen.blob(0, -2.12, 0.17, 0.17, (255, 90, 140))


def _crown(pen: Pen, _fill: RGB, _side: bool) -> None:
    pen.shape(_CROWN, _GOLD)
    pen.blob(0, -0.92, 0.11, 0.13, (220, 30, 60), outline=False)


_HATS = {
    "hat": _cap, "beanie": _beanie, "top_hat": _top_hat, "wizard_hat": _wizard_hat,
    "party_hat": _party_hat,
    "crown": _crown,
}  # fmt: skip


def _glasses(pen: Pen, look: Look, side: bool) -> None:
    y = -0.14
    for x in (-0.42,) if side else (-0.44, 0.44):
        if look.has("sunglasses"):
            pen.blob(x, y, 0.42, 0.36, (18, 18, 26))
            glint = [(x - 0.2, y - 0.05), (x + 0.05, y - 0.22)]
            pen.stroke(glint, 0.06, (200, 210, 230))
        else:
            pen.arc(x, y, 0.42, 0.42, 0.0, 0.5, 0.1, _FRAMES)
            pen.arc(x, y, 0.42, 0.42, 0.5, 1.0, 0.1, _FRAMES)
    bridge = [(-0.06, y), (0.06, y)]
    if side:
        bridge = [(0.0, -0.16), (0.95, -0.25)]
    pen.stroke(bridge, 0.1, _FRAMES)


def star(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """The ten corners of a five-pointed star."""
    left = [(-u, v) for u, v in reversed(_HALF_STAR[1:-1])]
    return [(x + radius * u, y + radius * v) for u, v in _HALF_STAR + left]
