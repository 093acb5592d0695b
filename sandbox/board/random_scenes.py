"""Scenes drawn at random from (seed, index): their figures, place, style and format."""

from random import Random

from sandbox.art.style import STYLES
from sandbox.board.random_figures import compose_figure
from sandbox.world.random_choice import Draw, by_threshold, toss, wheel
from sandbox.world.scenes import Figure, Scene
from sandbox.world.traits import ARTISTS, CHARACTERS

_FRAMING = wheel(
    [("full_body", 50), ("half-length_portrait", 27), ("headshot_portrait", 23)]
)
_SIMPLE = wheel(
    [("white_background", 48), ("grey_background", 5), ("blue_background", 5),
    ("gradient_background", 25),
     ("pattern_background", 4.5), ("transparent_background", 2.5), ("simple_background",
     10)]
)  # fmt: skip
_ARTISTS = wheel((number, 1 / (number + 6)) for number in range(len(ARTISTS)))
_CHARACTERS = wheel((number, 1 / (number + 2)) for number in range(len(CHARACTERS)))
_FIGURE_COUNTS = ((0.815, 1), (0.973, 2), (1.0, 3))
_FINISHES = ((0.02, "greyscale"), (0.03, "monochrome"), (1.0, ""))
_GROUNDS = ((0.08, "snow"), (0.15, "beach"), (1.0, "grass"))
_EXTENSIONS = ((0.755, "jpg"), (0.97, "png"), (1.0, "webp"))
# Few: a large PNG of stored pixels weighs megabytes.
_LARGE_EXTENSIONS = ((0.93, "jpg"), (1.0, "png"))
_NIGHT_SKY = (("moon", 0.8), ("star", 0.22), ("cloud", 0.12))
_DAY_SKY = (("sun", 0.11), ("cloud", 0.62), ("rainbow", 0.02))
_STANDING = (
    ("tree", 0.5),
    ("mountain", 0.07),
    ("rain", 0.03),
    ("building", 0.05),
    ("fence", 0.05),
)
_GROWING = (("flower", 0.06), ("mushroom", 0.035))


def compose(seed: int, index: int) -> Scene:
    """Returns the scene of a post that is nobody's variant.

    A pure function of its two arguments.
    """
    draw = Random(f"{seed}/scene/{index}").random
    artist = _ARTISTS(draw())
    style = STYLES[artist]
    framing = _FRAMING(draw())
    count = by_threshold(draw(), _FIGURE_COUNTS)
    view = _view(draw(), framing)
    place, things = _surroundings(draw, framing)
    if place == "transparent_background" and style.hatched:
        place = "white_background"  # lines all over leave nothing to see through
    character = _character(draw)
    casts = [character, -1, -1][:count]
    figures = [compose_figure(draw, framing, view, things, cast) for cast in casts]
    things += [*_symbols(draw, place, figures), *style.tags]
    finish = by_threshold(draw(), _FINISHES)
    width, height, ext = _format(draw, framing, figures, place)
    return Scene(
        f"{seed}/art/{index}",
        artist,
        character,
        framing,
        view,
        tuple(figures),
        place,
        tuple(things),
        finish,
        width,
        height,
        ext,
        quality=78 + int(draw() * 17),
    )


def _view(u: float, framing: str) -> str:
    if u < 0.63:
        return "front_view"
    if u < 0.975 or framing == "headshot_portrait":
        return "side_view"
    return "rear_view"


def _character(draw: Draw) -> int:
    """Returns an index into CHARACTERS, mostly -1 for nobody known."""
    if draw() < 0.12:
        return _CHARACTERS(draw())
    return -1


def _surroundings(draw: Draw, framing: str) -> tuple[str, list[str]]:
    """Place and things."""
    u = draw()
    if u < 0.53:
        place = _SIMPLE(draw())
        if framing == "full_body" and draw() < 0.11:
            return place, ["shadow"]
        return place, []
    if u < 0.655:
        return "inside", toss(draw, [("window", 0.2), ("potted", 0.2)])
    return "outside", _things_outside(draw)


def _things_outside(draw: Draw) -> list[str]:
    night = draw() < 0.36
    sky = _NIGHT_SKY if night else _DAY_SKY
    things = toss(draw, sky)
    if night:
        things.append("night")
    ground = by_threshold(draw(), _GROUNDS)
    things.append(ground)
    if ground != "beach":
        things += toss(draw, _STANDING)
    if ground == "grass":
        butterfly = 0.0 if night else 0.03
        things += toss(draw, [*_GROWING, ("butterfly", butterfly)])
    return things


def _symbols(draw: Draw, place: str, figures: list[Figure]) -> list[str]:
    first = figures[0]
    heart = 0.35 if "blush" in first.marks else 0.085
    border = 0.0 if place == "transparent_background" else 0.028
    note = 0.15 if "headphones" in first.worn else 0.004
    odds = [
        ("heart_symbol", heart),
        ("signature", 0.17),
        ("sparkles", 0.02),
        ("text", 0.01),
        ("speech_bubble", 0.018),
        ("exclamation_point", 0.007),
        ("?", 0.006),
        ("border", border),
        ("musical_note", note),
        ("bubbles", 0.0012),
    ]
    if first.pose == "lying" and first.lids == "eyes_closed":
        odds.append(("zzz", 0.7))
    return toss(draw, odds)


def _format(
    draw: Draw, framing: str, figures: list[Figure], place: str
) -> tuple[int, int, str]:
    """Width, height and file type."""
    ratio = _ratio(draw, framing, figures)
    u, v, w = draw(), draw(), draw()
    ext = by_threshold(w, _EXTENSIONS)
    large = u < 0.085
    if not large:
        long_side = _usual_side(u, v, ext)
    elif v < 0.12:
        ratio = 1.9 if ratio > 1 else 1 / 1.9
        long_side = 1_720 + 900 * (v - 0.03)
        if v < 0.03:
            long_side = 3_200.0  # absurd_res, a handful
    else:
        long_side = (860 + 200 * v) * max(ratio, 1 / ratio)
    if ratio > 1:
        width, height = long_side, long_side / ratio
    else:
        width, height = long_side * ratio, long_side
    if place == "transparent_background":
        ext = "png"
    elif large and ext != "jpg":
        ext = by_threshold(w, _LARGE_EXTENSIONS)
    return int(width), int(height), ext


def _ratio(draw: Draw, framing: str, figures: list[Figure]) -> float:
    """Returns width by height."""
    first, count = figures[0], len(figures)
    upright = first.anthro and first.pose != "lying"
    if framing == "full_body" and count == 1 and upright:
        return 0.72 + 0.4 * draw()
    return (0.85 + 0.5 * draw()) + 0.22 * (count - 1)


def _usual_side(u: float, v: float, ext: str) -> float:
    """Returns the longer side of an image that is not large."""
    if u < 0.19:
        return 400 + 100 * v
    spread = 120 if ext == "png" else 320
    return 500 + spread * v * v
