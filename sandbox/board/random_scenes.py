"""Scenes drawn at random from (seed, index): their figures, place, style and format."""

from random import Random

from sandbox.art.style import STYLES
from sandbox.board.random_choice import Draw, toss, wheel
from sandbox.board.random_figures import compose_figure
from sandbox.board.scenes import Figure, Scene
from sandbox.board.traits import ARTISTS, CHARACTERS

_FRAMING = wheel(
    [("full_body", 50), ("half-length_portrait", 27), ("headshot_portrait", 23)]
)
_SIMPLE = wheel(
    [("white_background", 48), ("grey_background", 5), ("blue_background", 5),
    ("gradient_background", 25),
     ("pattern_background", 4.5), ("transparent_background", 2.5), ("simple_background",
     10)]
)  # fmt: skip
_ARTISTS = wheel((str(number), 1 / (number + 6)) for number in range(len(ARTISTS)))
_CHARACTERS = wheel(
    (str(number), 1 / (number + 2)) for number in range(len(CHARACTERS))
)


def compose(seed: int, index: int) -> Scene:
    """Returns the scene of a post that is nobody's variant.

    A pure function of its two arguments.
    """
    draw = Random(f"{seed}/scene/{index}").random
    artist = int(_ARTISTS(draw()))
    style = STYLES[artist]
    framing = _FRAMING(draw())
    u = draw()
    count = 1 if u < 0.815 else 2 if u < 0.973 else 3
    u = draw()
    view = (
        "front_view"
        if u < 0.63
        else "side_view"
        if u < 0.975 or framing == "headshot_portrait"
        else "rear_view"
    )
    place, things = _surroundings(draw, framing)
    if place == "transparent_background" and style.hatched:
        place = "white_background"  # lines all over leave nothing to see through
    character = int(_CHARACTERS(draw())) if draw() < 0.12 else -1
    figures = []
    for number in range(count):
        cast = character if number == 0 else -1
        figures.append(compose_figure(draw, framing, view, things, cast))
    things += _symbols(draw, place, figures)
    things += style.tags
    u = draw()
    finish = "greyscale" if u < 0.02 else "monochrome" if u < 0.03 else ""
    width, height, ext = _format(draw, framing, figures, place)
    return Scene(
        f"{seed}/art/{index}", artist, character, framing, view, tuple(figures), place,
        tuple(things), finish,
        width, height, ext, quality=78 + int(draw() * 17),
    )  # fmt: skip


def _surroundings(draw: Draw, framing: str) -> tuple[str, list[str]]:
    u = draw()
    if u < 0.53:
        place = _SIMPLE(draw())
        shadow = framing == "full_body" and draw() < 0.11
        return place, ["shadow"] if shadow else []
    if u < 0.655:
        return "inside", toss(draw, [("window", 0.2), ("potted", 0.2)])
    things = []
    night = draw() < 0.36
    if night:
        odds = [("moon", 0.8), ("star", 0.22), ("cloud", 0.12)]
    else:
        odds = [("sun", 0.11), ("cloud", 0.62), ("rainbow", 0.02)]
    things += toss(draw, odds)
    things += ["night"] if night else []
    u = draw()
    ground = "snow" if u < 0.08 else "beach" if u < 0.15 else "grass"
    things.append(ground)
    if ground != "beach":
        odds = [
            ("tree", 0.5),
            ("mountain", 0.07),
            ("rain", 0.03),
            ("building", 0.05),
            ("fence", 0.05),
        ]
        things += toss(draw, odds)
    if ground == "grass":
        odds = [
            ("flower", 0.06),
            ("mushroom", 0.035),
            ("butterfly", 0.0 if night else 0.03),
        ]
        things += toss(draw, odds)
    return "outside", things


def _symbols(draw: Draw, place: str, figures: list[Figure]) -> list[str]:
    first = figures[0]
    odds = [
        ("heart_symbol", 0.35 if "blush" in first.marks else 0.085), ("signature",
        0.17), ("sparkles", 0.02),
        ("text", 0.01), ("speech_bubble", 0.018),
        ("exclamation_point", 0.007), ("?", 0.006), ("border",
        0.0 if place == "transparent_background" else 0.028),
        ("musical_note", 0.15 if "headphones" in first.worn else 0.004), ("bubbles",
        0.0012),
    ]  # fmt: skip
    if first.pose == "lying" and first.lids == "eyes_closed":
        odds.append(("zzz", 0.7))
    return toss(draw, odds)


def _format(
    draw: Draw, framing: str, figures: list[Figure], place: str
) -> tuple[int, int, str]:
    """Width, height and file type."""
    first, count = figures[0], len(figures)
    narrow = (
        framing == "full_body" and count == 1 and first.anthro and first.pose != "lying"
    )
    ratio = (
        (0.72 + 0.4 * draw()) if narrow else (0.85 + 0.5 * draw()) + 0.22 * (count - 1)
    )
    u, v, w = draw(), draw(), draw()
    ext = "jpg" if w < 0.755 else "png" if w < 0.97 else "webp"
    large = u < 0.085
    if not large:
        long_side = (
            400 + 100 * v if u < 0.19 else 500 + (120 if ext == "png" else 320) * v * v
        )
    elif v < 0.03:
        long_side, ratio = (
            3_200.0,
            1.9 if ratio > 1 else 1 / 1.9,
        )  # absurd_res, a handful
    elif v < 0.12:
        long_side, ratio = 1_720 + 900 * (v - 0.03), 1.9 if ratio > 1 else 1 / 1.9
    else:
        long_side = (860 + 200 * v) * max(ratio, 1 / ratio)
    width, height = (
        (long_side, long_side / ratio) if ratio > 1 else (long_side * ratio, long_side)
    )
    if place == "transparent_background" or (large and ext == "webp"):
        ext = "png"
    if large and ext == "png" and place != "transparent_background" and w < 0.93:
        ext = "jpg"  # a large PNG of stored pixels weighs megabytes
    return int(width), int(height), ext
