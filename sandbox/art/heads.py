"""Heads: ears, muzzle, eyes, mouth and markings.

Side views look to the left; the pen mirrors them.
"""

from sandbox.art.draw import RGB, Pen, darker, lighter, mix
from sandbox.art.look import Look

INK = (26, 22, 28)
_PINK = (240, 150, 160)
_MOUTH = (130, 25, 40)
_TONGUE = (250, 110, 130)
_BEAK = (250, 165, 40)
_BONE = (225, 205, 160)
_ANTLER = (
    [(0.35, -0.8), (0.65, -1.6), (0.5, -2.3)],
    [(0.58, -1.4), (1.15, -1.95)],
    [(0.62, -1.6), (0.95, -2.4)],
)
_HORN = [(0.2, -0.8), (0.62, -0.65), (1.0, -1.2), (0.95, -1.75), (0.62, -1.25)]
_UNICORN_HORN = [(-0.18, -0.8), (0.18, -0.8), (0, -2.0)]
_BEAK_FROM_THE_SIDE = [(-0.8, -0.05), (-1.65, 0.3), (-0.75, 0.55)]
_BEAK_FROM_THE_FRONT = [(-0.32, 0.12), (0.32, 0.12), (0, 0.72)]
_SNOUT_FROM_THE_SIDE = [
    (-0.6, -0.12),
    (-1.2, 0.12),
    (-1.62, 0.25),
    (-1.66, 0.5),
    (-1.3, 0.68),
    (-0.5, 0.78),
]
_FRINGE = [
    (-0.85, -0.35),
    (-0.95, -0.85),
    (-0.5, -1.2),
    (0.1, -1.3),
    (0.65, -1.12),
    (0.98, -0.75),
    (0.92, -0.25),
    (0.6, -0.6),
    (0.35, -0.3),
    (0.1, -0.62),
    (-0.15, -0.32),
    (-0.4, -0.6),
]


def draw_head(pen: Pen, look: Look, view: str) -> None:
    """Draws a head of radius 1 around the pen's origin."""
    side, rear = view == "side_view", view == "rear_view"
    _behind(pen, look, side)
    floppy = look.species.ears == "floppy"
    if not floppy:
        _ears(pen, look, side, rear)
    _skull(pen, look, side, rear)
    if not rear:
        _face(pen, look, side)
    elif look.has("stripes"):
        _stripes(pen, look, 0.0)
    if floppy:
        _ears(pen, look, side, rear)
    if look.figure.hair:
        _hair(pen, look, side, rear)


def _face(pen: Pen, look: Look, side: bool) -> None:
    _markings(pen, look, side)
    _muzzle(pen, look, side)
    _eyes(pen, look, side)
    _mouth(pen, look, side)
    _emotion(pen, look, side)


def _behind(pen: Pen, look: Look, side: bool) -> None:
    """Long hair, manes and horns."""
    if look.figure.long_hair:
        for x in (-0.85, 0.85):
            pen.blob(x, 0.65, 0.42, 1.1, look.hair, 0.0)
    if look.has("mane") and look.species.parent == "equine":
        for x, y in ((0.3, -0.95), (0.75, -0.6), (1.0, 0.0), (1.05, 0.65)):
            pen.blob(x, y, 0.42, 0.45, look.hair)
    elif look.has("mane"):
        x = 0.25 if side else 0
        pen.blob(x, 0.05, 1.4, 1.32, look.hair)
    _horns(pen, look)


def _skull(pen: Pen, look: Look, side: bool, rear: bool) -> None:
    species = look.species
    if species.ears == "pointed" and species.muzzle == "long":
        light = look.has("countershading") and not rear
        fill = look.light if light else look.body
        _cheek_tufts(pen, fill, side)
    if species.muzzle == "flat":
        pen.blob(0, 0.1, 1.2, 0.88, look.body)
    else:
        pen.blob(0, 0, 1.02, 0.94, look.body)


def _cheek_tufts(pen: Pen, fill: RGB, side: bool) -> None:
    """What canines have on their cheeks."""
    for sign in (1,) if side else (-1, 1):
        x = sign * 0.8
        pen.shape([(x * 0.5, 0.05), (x + sign * 0.5, 0.45), (x * 0.6, 0.85)], fill)


def _ears(pen: Pen, look: Look, side: bool, rear: bool) -> None:
    draw_ear = _EARS.get(look.species.ears)
    if not draw_ear:
        return
    inner = look.body if rear else mix(lighter(look.body, 0.3), _PINK, 0.6)
    x = 0.22 if side else 0.0
    for mirror in (False, True):
        if side and mirror and look.species.ears in ("floppy", "leaf"):
            continue  # the far one is hidden
        draw_ear(pen.at(x, 0, 1.0, 0.0, mirror), look, inner)


def _pointed_ear(pen: Pen, look: Look, inner: RGB) -> None:
    tall = -1.8 if look.species.parent in ("fox", "canine") else -1.55
    pen.shape([(0.2, -0.75), (0.98, -0.35), (0.85, tall)], look.body)
    pen.shape([(0.42, -0.82), (0.85, -0.6), (0.8, tall + 0.35)], inner, outline=False)


def _tufted_ear(pen: Pen, look: Look, _inner: RGB) -> None:
    pen.shape([(0.4, -0.8), (0.85, -0.5), (0.95, -1.5)], look.body)


def _round_ear(pen: Pen, look: Look, inner: RGB) -> None:
    outer = look.mark if look.species.name == "giant_panda" else look.body
    pen.blob(0.74, -0.76, 0.4, 0.4, outer)
    pen.blob(0.74, -0.74, 0.2, 0.2, inner, outline=False)


def _dish_ear(pen: Pen, look: Look, inner: RGB) -> None:
    pen.blob(0.98, -0.72, 0.62, 0.62, look.body)
    pen.blob(0.98, -0.7, 0.42, 0.42, inner, outline=False)


def _long_ear(pen: Pen, look: Look, inner: RGB) -> None:
    pen.blob(0.45, -1.55, 0.28, 0.92, look.body, 0.14)
    pen.blob(0.45, -1.5, 0.14, 0.68, inner, 0.14, outline=False)


def _floppy_ear(pen: Pen, look: Look, _inner: RGB) -> None:
    pen.blob(0.98, 0.0, 0.3, 0.74, darker(look.body, 0.3), -0.22)


def _leaf_ear(pen: Pen, look: Look, _inner: RGB) -> None:
    pen.blob(1.2, -0.4, 0.45, 0.2, look.body, -0.35)


def _bulge(pen: Pen, look: Look, _inner: RGB) -> None:
    pen.blob(0.52, -0.72, 0.42, 0.4, look.body)


def _gills(pen: Pen, _look: Look, _inner: RGB) -> None:
    for angle in (-0.5, -0.05, 0.4):
        pen.limb(0.9, angle, 1.65, angle * 2.1 - 0.1, 0.12, 0.1, (235, 85, 130))


_EARS = {
    "pointed": _pointed_ear, "tufted": _tufted_ear, "round": _round_ear,
    "dish": _dish_ear, "long": _long_ear,
    "floppy": _floppy_ear, "leaf": _leaf_ear, "bulge": _bulge, "gills": _gills,
}  # fmt: skip
"""The right ear by the species' word for it.

What frogs and axolotls have instead is drawn in the same place.
"""


def _horns(pen: Pen, look: Look) -> None:
    halves = [pen.at(0, 0, 1.0, 0.0, mirror) for mirror in (False, True)]
    if look.has("antlers"):
        for half in halves:
            _antler(half)
    elif look.has("horn") and look.species.name == "unicorn":
        pen.shape(_UNICORN_HORN, (255, 225, 110))
    elif look.has("horn"):
        for half in halves:
            half.shape(_HORN, _BONE)


def _antler(pen: Pen) -> None:
    for points in _ANTLER:
        pen.stroke(points, 0.24, darker(_BONE, 0.6))
        pen.stroke(points, 0.15, mix(_BONE, (140, 100, 60), 0.5))


def _markings(pen: Pen, look: Look, side: bool) -> None:
    shift = -0.25 if side else 0.0
    if look.has("countershading"):
        _light_face(pen, look, shift)
    if look.has("facial_markings"):
        for x, tilt in ((-0.42, -0.5), (0.42, 0.5)):
            pen.blob(x + shift, -0.05, 0.46, 0.34, look.mark, tilt, outline=False)
    if look.has("stripes"):
        _stripes(pen, look, shift)
    if look.has("spots"):
        for x, y, r in (
            (-0.62, -0.4, 0.2),
            (0.5, -0.55, 0.24),
            (0.75, 0.1, 0.15),
            (-0.05, -0.7, 0.13),
        ):
            pen.blob(x, y, r, r * 0.85, look.mark, outline=False)


def _light_face(pen: Pen, look: Look, shift: float) -> None:
    """A light chin, or a bird's light cheeks."""
    if look.species.muzzle != "beak":
        pen.blob(shift * 2, 0.48, 0.72, 0.42, look.light, outline=False)
        return
    for x in (-0.35, 0.35):
        pen.blob(x + shift, 0.05, 0.45, 0.58, look.light, outline=False)


def _stripes(pen: Pen, look: Look, shift: float) -> None:
    if look.species.name == "skunk":
        pen.blob(shift, -0.55, 0.18, 0.38, look.mark, outline=False)
        return
    for x in (-0.3, 0.0, 0.3):
        left, right, tip = x - 0.09 + shift, x + 0.09 + shift, x * 0.8 + shift
        brow = [(left, -0.9), (right, -0.9), (tip, -0.42)]
        pen.shape(brow, look.mark, outline=False)
    for sign in (-1, 1):
        for y in (0.05, 0.35):
            cheek = [(sign, y - 0.1), (sign, y + 0.1), (sign * 0.6, y)]
            pen.shape(cheek, look.mark, outline=False)


def _muzzle(pen: Pen, look: Look, side: bool) -> None:
    nose = INK if look.species.covering == "fur" else darker(look.body, 0.5)
    if look.species.muzzle == "beak":
        beak = _BEAK_FROM_THE_SIDE if side else _BEAK_FROM_THE_FRONT
        pen.shape(beak, _BEAK)
    elif side:
        _muzzle_from_the_side(pen, look, nose)
    else:
        _muzzle_from_the_front(pen, look, nose)
    if look.has("whiskers"):
        _whiskers(pen, look, side)


def _muzzle_from_the_side(pen: Pen, look: Look, nose: RGB) -> None:
    kind = look.species.muzzle
    if kind == "long":
        pen.shape(_SNOUT_FROM_THE_SIDE, look.light)
        pen.blob(-1.58, 0.27, 0.17, 0.13, nose)
    elif kind != "flat":
        width = 0.62 if kind == "wide" else 0.4
        pen.blob(-0.88, 0.36, width, 0.36, look.light)
        pen.blob(-0.84 - width, 0.24, 0.15, 0.11, nose)


def _muzzle_from_the_front(pen: Pen, look: Look, nose: RGB) -> None:
    kind, fill = look.species.muzzle, look.light
    if kind == "long":
        pen.blob(0, 0.46, 0.5, 0.38, fill)
        pen.blob(0, 0.24, 0.19, 0.13, nose)
    elif kind == "wide":
        pen.blob(0, 0.48, 0.62, 0.42, fill)
        if look.species.parent == "equine":
            for x in (-0.24, 0.24):
                pen.blob(x, 0.36, 0.08, 0.11, darker(fill, 0.6), outline=False)
        else:
            pen.blob(0, 0.26, 0.27, 0.17, nose)
    elif kind == "short":
        for x in (-0.2, 0.2):
            pen.blob(x, 0.45, 0.27, 0.22, fill, outline=False)
        pen.shape([(-0.13, 0.2), (0.13, 0.2), (0, 0.36)], mix(nose, _PINK, 0.6))


def _whiskers(pen: Pen, look: Look, side: bool) -> None:
    ink = (20, 20, 20) if sum(look.body) > 330 else (250, 250, 250)
    roots_and_tips = [(-0.75, 0.95)] if side else [(-0.45, -1.45), (0.45, 1.45)]
    for x, reach in roots_and_tips:
        for y in (0.32, 0.48, 0.64):
            pen.stroke([(x, 0.45), (reach, y * 1.7 - 0.38)], 0.04, ink)


def _eyes(pen: Pen, look: Look, side: bool) -> None:
    figure = look.figure
    bulging = look.species.ears == "bulge"
    y, reach = (-0.72, 0.52) if bulging else (-0.14, 0.42)
    places = [-0.42] if side else [-reach, reach]
    dx, dy = _gaze(figure.gaze, side)
    for number, x in enumerate(places):
        closed = figure.lids == "eyes_closed"
        winking = figure.lids == "one_eye_closed" and number == 0
        if closed or winking:
            ink = (245, 245, 245) if sum(look.body) < 220 else INK
            pen.arc(x, y, 0.24, 0.2, 0.05, 0.45, 0.09, ink)
        else:
            pen.blob(x, y, 0.29, 0.33, (252, 252, 252))
            _iris(pen, x + dx, y + dy, look.eyes[number])


def _gaze(gaze: str, side: bool) -> tuple[float, float]:
    """Returns how far to the right and down the irises are moved."""
    if gaze == "looking_aside":
        return 0.13, 0.0
    dx = -0.05 if side else 0.0
    if gaze == "looking_up":
        return dx, -0.15
    if gaze or side:
        return dx, 0.0
    return dx, 0.15


def _iris(pen: Pen, x: float, y: float, colour: RGB) -> None:
    pen.blob(x, y, 0.22, 0.25, colour, outline=False)
    pen.blob(x, y, 0.1, 0.13, (8, 8, 12), outline=False)
    pen.blob(x - 0.07, y - 0.09, 0.06, 0.06, (255, 255, 255), outline=False)


def _mouth(pen: Pen, look: Look, side: bool) -> None:
    mouth = look.figure.mouth
    ink = INK if sum(look.light) > 240 else (235, 235, 235)
    x, y = _mouth_place(look, side)
    if mouth in ("open_mouth", "tongue_out"):
        _open_mouth(pen, look, x, y)
    elif mouth == "smile":
        pen.arc(x, y - 0.14, 0.5, 0.38, 0.02, 0.48, 0.1, ink)
    elif mouth == "frown":
        pen.arc(x, y + 0.36, 0.38, 0.26, 0.56, 0.94, 0.09, ink)
    elif mouth == ":3":
        pen.arc(x - 0.15, y, 0.15, 0.14, 0.0, 0.5, 0.07, ink)
        pen.arc(x + 0.15, y, 0.15, 0.14, 0.0, 0.5, 0.07, ink)
    elif mouth == "" and look.species.muzzle != "beak":
        pen.stroke([(x - 0.13, y + 0.06), (x + 0.13, y + 0.06)], 0.06, ink)
    if mouth == "teeth" or look.has("teeth"):
        _teeth(pen, x, y)


def _mouth_place(look: Look, side: bool) -> tuple[float, float]:
    x = -0.95 if side else 0.0
    y = 0.5 if side else 0.58
    if look.species.muzzle == "flat":
        y = 0.4
    return x, y


def _open_mouth(pen: Pen, look: Look, x: float, y: float) -> None:
    tall = 0.18 if look.species.muzzle == "beak" else 0.24
    pen.blob(x, y + 0.16, 0.27, tall, _MOUTH)
    if look.figure.mouth == "tongue_out":
        pen.blob(x, y + 0.42, 0.17, 0.3, _TONGUE)
    else:
        pen.blob(x, y + 0.27, 0.17, 0.1, _TONGUE, outline=False)


def _teeth(pen: Pen, x: float, y: float) -> None:
    for step in range(4):
        left = x - 0.32 + 0.16 * step
        tooth = [(left, y + 0.02), (left + 0.16, y + 0.02), (left + 0.08, y + 0.24)]
        pen.shape(tooth, (255, 255, 255))


def _emotion(pen: Pen, look: Look, side: bool) -> None:
    for x in (-0.15,) if side else (-0.7, 0.7):
        if look.has("blush"):
            pen.blob(x, 0.3, 0.3, 0.18, (255, 90, 110), outline=False)
        if look.has("tears"):
            pen.blob(x * 0.75, 0.42, 0.12, 0.24, (110, 200, 255))


def _hair(pen: Pen, look: Look, side: bool, rear: bool) -> None:
    if rear:
        pen.blob(0, -0.2, 0.95, 0.85, look.hair)
        return
    shift = 0.25 if side else 0.0
    fringe = [(x + shift, y) for x, y in _FRINGE]
    pen.shape(fringe, look.hair)
