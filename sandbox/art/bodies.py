"""Bodies under the head.

Upright (anthro) and on four legs (feral), with limbs, tails and wings.

The head's centre is the origin. Upright bodies stand on y = 3.7 and sit on 3.1,
four-legged ones stand on 3.4.
"""

from sandbox.art.draw import RGB, Pen, darker, lighter, mix
from sandbox.art.look import Look

_ARMS = {
    "": ((-0.62, 1.15, -0.98, 2.2), (0.62, 1.15, 0.98, 2.2)),
    "waving": ((-0.62, 1.15, -0.98, 2.2), (0.62, 1.15, 1.5, 0.15)),
    "held": ((-0.62, 1.15, -0.98, 2.2), (0.62, 1.15, 1.3, 1.75)),
    "jumping": ((-0.62, 1.15, -1.5, 0.3), (0.62, 1.15, 1.5, 0.3)),
}
"""Shoulder and hand of both arms by gesture."""
_WING = [
    (0.3, 0.1),
    (1.2, -1.1),
    (2.3, -1.0),
    (2.1, -0.4),
    (2.2, 0.25),
    (1.6, 0.1),
    (1.3, 0.65),
    (0.9, 0.4),
    (0.4, 0.7),
]
_FOLDED_WING = [
    (0, 0.2),
    (0.2, -1.6),
    (1.6, -2.1),
    (1.4, -1.2),
    (1.7, -0.6),
    (1.0, 0.2),
]
_THIN_TAIL = [(0, 0), (0.6, 0.12), (1.1, -0.15), (1.3, -0.7), (1.5, -1.1)]
_BRUSH_TAIL = [
    (0, -0.15),
    (0.7, -0.35),
    (1.3, 0.1),
    (1.35, 1.0),
    (0.95, 0.7),
    (0.6, 0.25),
    (0, 0.25),
]
_FAN_TAIL = [(0, -0.1), (1.2, -0.2), (1.35, 0.15), (1.15, 0.45), (0, 0.3)]
_THICK_TAIL = [
    (-0.2, -0.35),
    (0.7, 0.15),
    (1.25, -0.2),
    (1.55, -0.95),
    (1.45, 0.1),
    (0.9, 0.62),
    (-0.2, 0.4),
]
_SPADE = [(1.25, -0.8), (1.6, -1.5), (1.9, -0.75), (1.55, -0.85)]
_TAIL_FIN = [(1.3, -0.5), (1.3, -1.4), (1.6, -0.75), (2.1, -0.6), (1.5, -0.35)]
_BIRD_LEG = (235, 145, 30)


def hand(gesture: str) -> tuple[float, float]:
    """Where the right hand is, for what it holds."""
    return _ARMS[gesture][1][2:]


def draw_upright(pen: Pen, look: Look, view: str) -> None:
    """Draws everything of an upright figure but clothes and head."""
    sitting = look.figure.pose == "sitting"
    _wings(pen, look, 1.3)
    if look.species.tail and view != "rear_view":
        draw_tail(pen.at(0.45, 2.35), look)
    _legs(pen, look, sitting)
    pen.blob(0, 1.75, 0.72, 1.0, look.body)
    if view != "rear_view":
        _front(pen, look)
    elif look.species.tail:
        draw_tail(pen.at(0.1, 2.4), look)
    if look.has("stripes"):
        _body_stripes(pen, look, 0.0, 1.7, 0.68)
    if look.has("fin") and view != "front_view":
        pen.shape([(0.5, 1.1), (1.25, 1.35), (0.6, 1.9)], darker(look.body, 0.15))


def draw_arms(pen: Pen, look: Look, gesture: str, sleeve: RGB | None) -> None:
    """Draws both arms, sleeved or bare; birds' arms are their wings."""
    socks = look.has("socks_(marking)")
    paw = look.mark if socks else look.body
    for x0, y0, x1, y1 in _ARMS[gesture]:
        if look.species.covering == "feathers":
            pen.limb(x0, y0, x1, y1, 0.3, 0.34, darker(look.body, 0.15))
            continue
        pen.limb(x0, y0, x1, y1, 0.26, 0.2, sleeve or look.body)
        pen.blob(x1, y1, 0.27, 0.25, paw)
        if socks and sleeve is None:
            pen.limb((x0 + x1) / 2, (y0 + y1) / 2, x1, y1, 0.24, 0.24, paw)
        if look.has("claws"):
            _claws(pen, x1, y1 + 0.18)


def _front(pen: Pen, look: Look) -> None:
    if look.has("countershading"):
        pen.blob(0, 1.9, 0.46, 0.76, look.light, outline=False)
    if look.has("spots"):
        for x, y, r in (
            (-0.4, 1.4, 0.15),
            (0.35, 1.75, 0.18),
            (-0.25, 2.2, 0.17),
            (0.3, 2.4, 0.12),
        ):
            pen.blob(x, y, r, r, look.mark, outline=False)


def _legs(pen: Pen, look: Look, sitting: bool) -> None:
    socks = look.has("socks_(marking)")
    paw = look.mark if socks else darker(look.body, 0.12)
    if look.species.covering == "feathers":
        paw = (250, 165, 40)
    for sign in (-1, 1):
        if sitting:
            pen.limb(sign * 0.4, 2.4, sign * 0.98, 2.65, 0.4, 0.34, look.body)
            pen.blob(sign * 1.12, 2.72, 0.36, 0.42, paw)
            pen.blob(sign * 1.12, 2.8, 0.17, 0.2, lighter(paw, 0.4), outline=False)
            toes = (sign * 1.12, 3.0)
        else:
            pen.limb(sign * 0.36, 2.4, sign * 0.42, 3.4, 0.34, 0.26, look.body)
            if socks:
                pen.limb(sign * 0.4, 3.0, sign * 0.42, 3.4, 0.28, 0.27, paw)
            pen.blob(sign * 0.48, 3.5, 0.38, 0.24, paw)
            toes = (sign * 0.48, 3.6)
        if look.has("claws"):
            _claws(pen, *toes)


def _claws(pen: Pen, x: float, y: float) -> None:
    for step in (-0.18, 0.0, 0.18):
        middle, root = x + step, y - 0.04
        claw = [(middle - 0.07, root), (middle + 0.07, root), (middle, y + 0.22)]
        pen.shape(claw, (248, 244, 225))


def _body_stripes(pen: Pen, look: Look, x: float, y: float, reach: float) -> None:
    if look.species.name == "skunk":
        return
    for sign in (-1, 1):
        for step in (-0.5, -0.1, 0.3):
            rim, tip = x + sign * reach, x + sign * reach * 0.35
            middle = y + step
            stripe = [(rim, middle - 0.09), (rim, middle + 0.09), (tip, middle)]
            pen.shape(stripe, look.mark, outline=False)


def _wings(pen: Pen, look: Look, y: float) -> None:
    if not look.has("wings") or look.species.covering == "feathers":
        return
    skin = mix(look.body, (120, 30, 50), 0.35)
    for mirror in (False, True):
        half = pen.at(0, y, 1.0, 0.0, mirror)
        half.shape(_WING, skin)
        for tip in ((2.2, 0.25), (1.3, 0.65)):
            half.stroke([(1.2, -1.1), tip], 0.05, darker(skin, 0.5))


def draw_tail(pen: Pen, look: Look) -> None:
    """Draws a tail from the pen's origin to the right and up."""
    kind, body = look.species.tail, look.body
    if kind in ("bushy", "ringed"):
        _plume(pen, look)
    elif kind == "thin":
        pen.stroke(_THIN_TAIL, 0.32, darker(body, 0.6))
        pen.stroke(_THIN_TAIL, 0.23, body)
    elif kind == "stub":
        pen.blob(0.35, -0.05, 0.36, 0.32, lighter(body, 0.25))
    elif kind == "brush":
        pen.shape(_BRUSH_TAIL, look.hair)
    elif kind == "fan":
        pen.shape(_FAN_TAIL, darker(body, 0.2))
    else:
        _thick_tail(pen, look)


def _plume(pen: Pen, look: Look) -> None:
    """A fox's brush, a raccoon's rings, a skunk's stripe."""
    pen.blob(0.95, -0.5, 1.05, 0.46, look.body, -0.75)
    if look.species.tail == "ringed":
        for step in (0.1, 0.45, 0.8, 1.15):
            x, y = 0.45 + step * 0.75, -0.02 - step * 0.72
            pen.blob(x, y, 0.11, 0.4, look.mark, -0.75, outline=False)
    if look.species.name == "skunk":
        pen.blob(0.95, -0.5, 0.8, 0.16, look.mark, -0.75, outline=False)
    if look.has("dipstick_tail"):
        pen.blob(1.42, -0.95, 0.42, 0.37, look.mark, -0.75)


def _thick_tail(pen: Pen, look: Look) -> None:
    """Of lizards, and with another tip of dragons and sharks."""
    pen.shape(_THICK_TAIL, look.body)
    if look.species.tail == "spade":
        pen.shape(_SPADE, look.mark)
    elif look.species.tail == "fin":
        pen.shape(_TAIL_FIN, look.body)


def draw_on_fours(pen: Pen, look: Look) -> None:
    """Draws a four-legged body to the right of the head, or a bird's.

    All but head and clothes.
    """
    pose = look.figure.pose or "standing"
    if look.species.covering == "feathers":
        _bird(pen, look)
        return
    socks = look.mark if look.has("socks_(marking)") else None
    if look.has("wings"):
        skin = mix(look.body, (120, 30, 50), 0.35)
        pen.at(1.3, 1.0).shape(_FOLDED_WING, skin)
    if pose == "sitting":
        _sitting_on_fours(pen, look, socks)
    else:
        _standing_on_fours(pen, look, pose, socks)


def _sitting_on_fours(pen: Pen, look: Look, socks: RGB | None) -> None:
    if look.species.tail:
        draw_tail(pen.at(1.5, 2.7), look)
    pen.blob(0.75, 1.8, 0.82, 1.35, look.body, -0.3)
    if look.has("countershading"):
        pen.blob(0.3, 1.6, 0.38, 0.75, look.light, -0.2, outline=False)
    _flank(pen, look, 0.95, 1.9)
    pen.blob(1.25, 2.65, 0.68, 0.62, darker(look.body, 0.08))
    for x in (0.2, 0.6):
        pen.limb(x, 1.9, x - 0.1, 3.05, 0.27, 0.22, look.body)
        _paw(pen, look, x - 0.15, 3.12, socks)
    _paw(pen, look, 1.0, 3.15, socks)


def _standing_on_fours(pen: Pen, look: Look, pose: str, socks: RGB | None) -> None:
    if look.species.tail:
        draw_tail(pen.at(2.65, 1.25), look)
    pen.limb(0.1, 0.2, 0.7, 1.2, 0.6, 0.75, look.body)
    _legs_on_fours(pen, look, pose, socks)
    pen.blob(1.4, 1.5, 1.45, 0.8, look.body)
    if look.has("countershading"):
        pen.blob(1.35, 1.95, 1.1, 0.3, look.light, outline=False)
    _flank(pen, look, 1.5, 1.35)
    if look.has("fin"):
        pen.shape([(1.0, 0.8), (1.9, -0.1), (1.9, 0.85)], darker(look.body, 0.15))


def _legs_on_fours(pen: Pen, look: Look, pose: str, socks: RGB | None) -> None:
    lying = pose == "lying"
    bottom = 2.1 if lying else 3.1
    fill = darker(look.body, 0.1)
    spread = (0.0, 0.0, 0.0, 0.0)
    if pose == "jumping":
        spread = (-0.75, -0.45, 0.5, 0.8)
    for x, step in zip((0.2, 0.75, 2.1, 2.5), spread, strict=True):
        foot = x + step
        pen.limb(x + 0.15, 1.7, foot + 0.1, bottom, 0.33, 0.24, fill)
        if socks and not lying:
            knee = x + step * 0.6 + 0.12
            pen.limb(knee, 2.7, foot + 0.1, bottom, 0.27, 0.26, socks)
        _paw(pen, look, foot, bottom + 0.1, socks)


def _flank(pen: Pen, look: Look, x: float, y: float) -> None:
    if look.has("stripes"):
        for step in (-0.6, -0.15, 0.3, 0.75):
            middle, top = x + step, y - 0.5
            stripe = [(middle - 0.1, top), (middle + 0.1, top), (middle, y + 0.25)]
            pen.shape(stripe, look.mark, outline=False)
    if look.has("spots"):
        for dx, dy, r in (
            (-0.6, 0.1, 0.2),
            (0.1, -0.25, 0.22),
            (0.5, 0.25, 0.17),
            (0.95, -0.1, 0.2),
        ):
            pen.blob(x + dx, y + dy, r, r * 0.8, look.mark, outline=False)


def _paw(pen: Pen, look: Look, x: float, y: float, socks: RGB | None) -> None:
    pen.blob(x, y, 0.36, 0.22, socks or darker(look.body, 0.12))
    if look.has("claws"):
        _claws(pen, x - 0.05, y + 0.08)


def _bird(pen: Pen, look: Look) -> None:
    if look.species.tail:
        draw_tail(pen.at(1.9, 1.8, 1.0, 0.3), look)
    for x in (0.6, 1.2):
        pen.stroke([(x, 2.3), (x, 3.25)], 0.16, _BIRD_LEG)
        pen.stroke([(x - 0.35, 3.3), (x, 3.2), (x + 0.25, 3.3)], 0.16, _BIRD_LEG)
        if look.has("claws"):
            _claws(pen, x - 0.1, 3.25)
    pen.blob(0.85, 1.5, 1.35, 1.05, look.body, 0.45)
    if look.has("countershading"):
        pen.blob(0.35, 1.65, 0.75, 0.75, look.light, outline=False)
    pen.blob(1.3, 1.45, 0.95, 0.55, darker(look.body, 0.22), 0.5)
    if look.has("stripes") or look.has("spots"):
        _flank(pen, look, 1.1, 1.4)
