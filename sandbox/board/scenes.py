"""What a post shows: a scene drawn at random from (seed, index).

And the tags that are true of it.

A scene says everything the art needs, in tag words. Only `Random.random` with a text
seed is used: its numbers are promised to be the same on every Python.
"""

from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random

from sandbox.art.style import STYLES
from sandbox.board.species import BY_NAME, SPECIES, Species
from sandbox.board.traits import ARTISTS, CHARACTERS, CLOSURE

Draw = Callable[[], float]
"""A source of numbers in [0, 1)."""


@dataclass(slots=True)
class Figure:
    """One animal of a scene.

    Words are tags, or parts of tags (`colour` "grey" is `grey_body`, `grey_fur`).
    """

    species: str
    anthro: bool
    colour: str
    pose: str  # standing, sitting, lying, jumping; "" when the framing hides it
    eyes: str  # colour, "heterochromia", or "" when none are seen
    lids: str  # "", eyes_closed, one_eye_closed
    gaze: str  # "", looking_at_viewer, looking_aside, looking_up
    mouth: str  # "", smile, open_mouth, tongue_out, frown, teeth, :3
    hair: str  # colour or ""
    long_hair: bool
    marks: tuple[
        str, ...
    ]  # markings and parts of the body that not all of the species have
    worn: tuple[str, ...]
    held: str


@dataclass(slots=True)
class Scene:
    """One picture before it is drawn.

    `key` seeds the brush, so that variants of a scene differ only where meant.
    """

    key: str
    artist: int  # index into ARTISTS
    character: int  # index into CHARACTERS of the first figure, or -1
    framing: str  # full_body, half-length_portrait, headshot_portrait
    view: str  # front_view, side_view, rear_view
    figures: tuple[Figure, ...]
    place: str  # a kind of simple background, "outside" or "inside"
    things: tuple[str, ...]  # everything else that is seen, as tags
    finish: str  # "", greyscale, monochrome
    width: int
    height: int
    ext: str
    crop: float = 0.0  # share cut off each side
    quality: int = 90  # of the encoder, where the format has one
    shrink: float = (
        1.0  # a re-encoded copy is drawn at full size, then made smaller by this
    )


def wheel(pairs: Iterable[tuple[str, float]]) -> Callable[[float], str]:
    """Returns a weighted choice.

    A function from a number in [0, 1) to one of the names.
    """
    names, weights = zip(*pairs, strict=True)
    sums = list(accumulate(weights))
    total = sums[-1]
    return lambda u: names[bisect(sums, u * total)]


def _toss(draw: Draw, odds: Iterable[tuple[str, float]]) -> list[str]:
    """Returns the names whose own coin fell right, one coin per name."""
    return [name for name, chance in odds if draw() < chance]


_SPECIES = wheel((species.name, species.weight) for species in SPECIES)
_COLOURS = {species.name: wheel(species.colours) for species in SPECIES}
_FRAMING = wheel(
    [("full_body", 50), ("half-length_portrait", 27), ("headshot_portrait", 23)]
)
_EYES = wheel(
    [
        ("blue", 44),
        ("green", 38),
        ("yellow", 2.5),
        ("brown", 2.4),
        ("red", 2.0),
        ("purple", 1.6),
        ("heterochromia", 0.8),
    ]
)
_GAZE = wheel(
    [("looking_at_viewer", 66), ("looking_aside", 2.4), ("looking_up", 2), ("", 29)]
)
_MOUTH = wheel(
    [
        ("smile", 44),
        ("open_mouth", 18),
        ("tongue_out", 2.5),
        ("frown", 2.3),
        ("teeth", 1.2),
        (":3", 0.6),
        ("", 29),
    ]
)
_HAIR = wheel(
    [
        ("black", 70),
        ("brown", 7),
        ("blue", 7),
        ("blonde", 6),
        ("red", 4.5),
        ("pink", 2.5),
    ]
)
_HATS = wheel(
    [
        ("hat", 62),
        ("beanie", 13),
        ("wizard_hat", 10),
        ("top_hat", 6),
        ("party_hat", 5),
        ("crown", 4),
    ]
)
_HELD = wheel(
    [("flower", 50), ("book", 10), ("balloon", 9), ("ball", 7), ("umbrella", 6),
    ("sword", 6), ("ice_cream", 5),
     ("apple", 3), ("pizza", 0.3)]
)  # fmt: skip
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

# What a portrait from the shoulders up still shows of the clothes.
_HEADGEAR = (
    "hat beanie wizard_hat top_hat party_hat crown glasses sunglasses scarf bow_tie "
    "collar bell headphones"
)
_NEAR_THE_HEAD = frozenset(_HEADGEAR.split())


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
        figures.append(_figure(draw, framing, view, things, cast))
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
        return "inside", _toss(draw, [("window", 0.2), ("potted", 0.2)])
    things = []
    night = draw() < 0.36
    if night:
        odds = [("moon", 0.8), ("star", 0.22), ("cloud", 0.12)]
    else:
        odds = [("sun", 0.11), ("cloud", 0.62), ("rainbow", 0.02)]
    things += _toss(draw, odds)
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
        things += _toss(draw, odds)
    if ground == "grass":
        odds = [
            ("flower", 0.06),
            ("mushroom", 0.035),
            ("butterfly", 0.0 if night else 0.03),
        ]
        things += _toss(draw, odds)
    return "outside", things


def _figure(
    draw: Draw, framing: str, view: str, things: list[str], cast: int
) -> Figure:
    name = CHARACTERS[cast][1] if cast >= 0 else _SPECIES(draw())
    species = BY_NAME[name]
    anthro = draw() < 0.78
    colour = _COLOURS[name](draw())
    full = framing == "full_body"
    pose, lids = _pose(draw, full)
    gaze = eyes = mouth = ""
    if view == "rear_view":
        lids = ""
    else:
        if lids != "eyes_closed":
            eyes, gaze = _EYES(draw()), _GAZE(draw())
            if view == "side_view":
                gaze = "" if gaze == "looking_at_viewer" else gaze
                eyes = "blue" if eyes == "heterochromia" else eyes
        mouth = _MOUTH(draw())
        if species.muzzle == "beak" and mouth in ("teeth", ":3", "tongue_out"):
            mouth = "open_mouth"
    hair = ""
    if anthro and draw() < (0.5 if species.covering == "fur" else 0.22):
        hair = _HAIR(draw())
    worn = _outfit(draw, anthro, framing, view, things)
    held = ""
    if (
        anthro
        and framing != "headshot_portrait"
        and pose in ("", "standing", "sitting")
        and draw() < 0.34
    ):
        held = (
            "waving"
            if draw() < 0.08
            else "umbrella"
            if "rain" in things and draw() < 0.7
            else _HELD(draw())
        )
    long_hair = bool(hair) and draw() < 0.07
    marks = _marks(draw, species, framing, view, mouth, hair)
    return Figure(
        name,
        anthro,
        colour,
        pose,
        eyes,
        lids,
        gaze,
        mouth,
        hair,
        long_hair,
        marks,
        worn,
        held,
    )


def _pose(draw: Draw, full: bool) -> tuple[str, str]:
    """Pose and lids: sleepers lie with closed eyes."""
    u = draw()
    lids = (
        "eyes_closed" if draw() < 0.013 else "one_eye_closed" if draw() < 0.022 else ""
    )
    if not full:
        return "", lids
    if u < 0.61:
        return "standing", lids
    if u < 0.93:
        return "sitting", lids
    if u < 0.965:
        return "jumping", lids
    return ("lying", "eyes_closed" if u > 0.98 else lids)


def _outfit(
    draw: Draw, anthro: bool, framing: str, view: str, things: list[str]
) -> tuple[str, ...]:
    worn = []
    cold = "snow" in things
    if anthro and draw() < 0.7:
        if draw() < 0.86:
            u = draw()
            worn.append(
                "hoodie" if u < 0.058 else "striped_shirt" if u < 0.09 else "shirt"
            )
        if framing == "full_body" and draw() < 0.72:
            worn.append("skirt" if draw() < 0.1 else "pants")
        odds = [
            ("scarf", 0.6 if cold else 0.19),
            ("glasses", 0.19),
            ("bow_tie", 0.03),
            ("cape", 0.025),
            ("headphones", 0.02),
        ]
        worn += _toss(draw, odds)
        if draw() < (0.6 if cold else 0.33):
            worn.append(_HATS(draw()))
    else:
        odds = [("scarf", 0.05), ("collar", 0.27), ("glasses", 0.04)]
        worn += _toss(draw, odds)
        if "collar" in worn and draw() < 0.15:
            worn.append("bell")
        if "scarf" in worn and "collar" in worn:
            worn.remove("scarf")
    if "glasses" in worn and draw() < (0.8 if "beach" in things else 0.08):
        worn[worn.index("glasses")] = "sunglasses"
    if view == "rear_view":
        worn = [
            name
            for name in worn
            if name not in ("glasses", "sunglasses", "bow_tie", "bell")
        ]
    if framing == "headshot_portrait":
        worn = [name for name in worn if name in _NEAR_THE_HEAD]
    return tuple(worn)


def _marks(
    draw: Draw, species: Species, framing: str, view: str, mouth: str, hair: str
) -> tuple[str, ...]:
    marks = list(species.always)
    marks += _toss(draw, species.often)
    if draw() < species.belly:
        marks.append("countershading")
    if species.covering == "fur" and "stripes" not in marks and draw() < 0.07:
        marks.append("stripes")
    if draw() < 0.1:
        marks.append("blush")
    if draw() < 0.012:
        marks.append("tears")
    hidden = set()
    if view == "rear_view":
        hidden |= {
            "blush",
            "tears",
            "whiskers",
            "facial_markings",
            "teeth",
            "countershading",
        }
    if framing == "headshot_portrait":
        hidden |= {"wings", "claws", "socks_(marking)", "dipstick_tail"}
        hidden |= {"fin"} if species.tail == "fin" else set()
    if mouth == "teeth":
        hidden.add("teeth")  # the mouth shows them
    if hair:
        hidden.add("mane")
    return tuple(name for name in marks if name not in hidden)


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
    return _toss(draw, odds)


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


def truth(scene: Scene) -> tuple[str, ...]:
    """Returns all true tags, implied ones included, each once, in a fixed order."""
    direct = [
        ARTISTS[scene.artist],
        ("solo", "duo", "group")[len(scene.figures) - 1],
        scene.framing,
        scene.view,
    ]
    if scene.character >= 0:
        character, _, series = CHARACTERS[scene.character]
        direct += [character, series] if series else [character]
    coloured = not scene.finish
    for figure in scene.figures:
        direct += _figure_tags(figure, scene, coloured)
    direct += ["plant" if thing == "potted" else thing for thing in scene.things]
    if scene.place in ("outside", "inside"):
        direct += [scene.place, "detailed_background"]
    elif coloured or scene.place != "blue_background":
        direct.append(scene.place)
    else:
        direct.append("simple_background")
    if scene.finish:
        direct.append(scene.finish)
    closed: dict[str, None] = {}
    for name in direct:
        closed.update(dict.fromkeys(CLOSURE[name]))
    return tuple(closed)


def _figure_tags(figure: Figure, scene: Scene, coloured: bool) -> list[str]:
    species = BY_NAME[figure.species]
    tags = [figure.species, "anthro" if figure.anthro else "feral"]
    tags += [
        word
        for word in (
            species.covering,
            figure.pose,
            figure.lids,
            figure.gaze,
            figure.mouth,
        )
        if word
    ]
    if figure.pose == "lying" and figure.lids == "eyes_closed":
        tags.append("sleeping")
    if coloured:
        tags.append(f"{figure.colour}_body")
        if figure.eyes:
            tags.append(
                "heterochromia"
                if figure.eyes == "heterochromia"
                else f"{figure.eyes}_eyes"
            )
    if figure.mouth == "tongue_out":
        tags.append("open_mouth")
    if figure.hair:
        tags.append(f"{figure.hair}_hair" if coloured else "hair")
        tags += ["long_hair"] if figure.long_hair else []
    if species.muzzle == "beak" and scene.view != "rear_view":
        tags.append("beak")
    if species.tail and scene.framing != "headshot_portrait":
        tags.append("fluffy_tail" if species.tail == "bushy" else "tail")
    if figure.held:
        tags += (
            ["waving"] if figure.held == "waving" else [figure.held, "holding_object"]
        )
    return [*tags, *figure.marks, *figure.worn]


def recolour(scene: Scene, u: float) -> Scene:
    """Returns the scene with its first figure in another coat: an artist's variant."""
    first = scene.figures[0]
    others = [
        colour
        for colour in ("white", "grey", "black", "brown", "orange", "blue")
        if colour != first.colour
    ]
    painted = replace(first, colour=others[int(u * len(others))])
    return replace(scene, figures=(painted, *scene.figures[1:]), character=-1)
