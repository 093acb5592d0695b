"""The figures of scenes, drawn at random: species, pose, face, clothes and markings."""

from sandbox.world.random_choice import Draw, by_threshold, toss, wheel
from sandbox.world.scenes import Figure
from sandbox.world.species import BY_NAME, SPECIES, Species
from sandbox.world.traits import CHARACTERS

_SPECIES = wheel((species.name, species.weight) for species in SPECIES)
_COLOURS = {species.name: wheel(species.colours) for species in SPECIES}
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

# What a portrait from the shoulders up still shows of the clothes.
_HEADGEAR = (
    "hat beanie wizard_hat top_hat party_hat crown glasses sunglasses scarf bow_tie "
    "collar bell headphones"
)
_NEAR_THE_HEAD = frozenset(_HEADGEAR.split())
_POSES = ((0.61, "standing"), (0.93, "sitting"), (0.965, "jumping"), (1.0, "lying"))
_TOPWEAR = ((0.058, "hoodie"), (0.09, "striped_shirt"), (1.0, "shirt"))
_LEGWEAR = ((0.1, "skirt"), (1.0, "pants"))
_WORN_IN_FRONT = ("glasses", "sunglasses", "bow_tie", "bell")
_WITH_CLOTHES = (
    ("glasses", 0.19),
    ("bow_tie", 0.03),
    ("cape", 0.025),
    ("headphones", 0.02),
)
_WITHOUT_CLOTHES = (("scarf", 0.05), ("collar", 0.27), ("glasses", 0.04))
_EMOTIONS = (("blush", 0.1), ("tears", 0.012))
_MARKS_IN_FRONT = {
    "blush",
    "tears",
    "whiskers",
    "facial_markings",
    "teeth",
    "countershading",
}
_MARKS_BELOW_THE_HEAD = {"wings", "claws", "socks_(marking)", "dipstick_tail"}


def compose_figure(
    draw: Draw, framing: str, view: str, things: list[str], cast: int
) -> Figure:
    """Returns a figure as far as the framing and the view show it.

    things: what else the scene shows; cast: index into CHARACTERS, or -1.
    """
    name = CHARACTERS[cast][1] if cast >= 0 else _SPECIES(draw())
    species = BY_NAME[name]
    anthro = draw() < 0.78
    colour = _COLOURS[name](draw())
    pose, lids = _pose(draw, framing)
    eyes = gaze = mouth = hair = held = ""
    if view == "rear_view":
        lids = ""
    else:
        if lids != "eyes_closed":
            eyes, gaze = _eyes(draw, view)
        mouth = _mouth(draw, species)
    if anthro:
        hair = _hair(draw, species)
    worn = _outfit(draw, anthro, framing, view, things)
    if anthro and framing != "headshot_portrait":
        held = _held(draw, pose, things)
    long_hair = bool(hair) and draw() < 0.07
    hidden = _hidden_marks(species, framing, view, mouth, hair)
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
        _marks(draw, species, hidden),
        worn,
        held,
    )


def _pose(draw: Draw, framing: str) -> tuple[str, str]:
    """Pose and lids: sleepers lie with closed eyes."""
    u = draw()
    lids = _lids(draw)
    if framing != "full_body":
        return "", lids
    if u > 0.98:
        lids = "eyes_closed"
    return by_threshold(u, _POSES), lids


def _lids(draw: Draw) -> str:
    if draw() < 0.013:
        return "eyes_closed"
    if draw() < 0.022:
        return "one_eye_closed"
    return ""


def _eyes(draw: Draw, view: str) -> tuple[str, str]:
    """Colour of the eyes and gaze; from the side one eye is seen, looking ahead."""
    eyes, gaze = _EYES(draw()), _GAZE(draw())
    if view == "side_view":
        if gaze == "looking_at_viewer":
            gaze = ""
        if eyes == "heterochromia":
            eyes = "blue"
    return eyes, gaze


def _mouth(draw: Draw, species: Species) -> str:
    mouth = _MOUTH(draw())
    if species.muzzle == "beak" and mouth in ("teeth", ":3", "tongue_out"):
        return "open_mouth"
    return mouth


def _hair(draw: Draw, species: Species) -> str:
    chance = 0.5 if species.covering == "fur" else 0.22
    if draw() < chance:
        return _HAIR(draw())
    return ""


def _held(draw: Draw, pose: str, things: list[str]) -> str:
    if pose not in ("", "standing", "sitting") or draw() >= 0.34:
        return ""
    if draw() < 0.08:
        return "waving"
    if "rain" in things and draw() < 0.7:
        return "umbrella"
    return _HELD(draw())


def _outfit(
    draw: Draw, anthro: bool, framing: str, view: str, things: list[str]
) -> tuple[str, ...]:
    """What is worn and seen."""
    if anthro and draw() < 0.7:
        worn = _clothes(draw, framing, cold="snow" in things)
    else:
        worn = _accessories(draw)
    if "glasses" in worn:
        dark = 0.8 if "beach" in things else 0.08
        if draw() < dark:
            worn[worn.index("glasses")] = "sunglasses"
    if view == "rear_view":
        worn = [name for name in worn if name not in _WORN_IN_FRONT]
    if framing == "headshot_portrait":
        worn = [name for name in worn if name in _NEAR_THE_HEAD]
    return tuple(worn)


def _clothes(draw: Draw, framing: str, cold: bool) -> list[str]:
    scarf, hat = (0.6, 0.6) if cold else (0.19, 0.33)
    worn = []
    if draw() < 0.86:
        worn.append(by_threshold(draw(), _TOPWEAR))
    if framing == "full_body" and draw() < 0.72:
        worn.append(by_threshold(draw(), _LEGWEAR))
    worn += toss(draw, [("scarf", scarf), *_WITH_CLOTHES])
    if draw() < hat:
        worn.append(_HATS(draw()))
    return worn


def _accessories(draw: Draw) -> list[str]:
    """What animals without clothes wear."""
    worn = toss(draw, _WITHOUT_CLOTHES)
    if "collar" in worn:
        if draw() < 0.15:
            worn.append("bell")
        if "scarf" in worn:
            worn.remove("scarf")
    return worn


def _marks(draw: Draw, species: Species, hidden: set[str]) -> tuple[str, ...]:
    marks = list(species.always)
    marks += toss(draw, species.often)
    if draw() < species.belly:
        marks.append("countershading")
    if species.covering == "fur" and "stripes" not in marks and draw() < 0.07:
        marks.append("stripes")
    marks += toss(draw, _EMOTIONS)
    return tuple(mark for mark in marks if mark not in hidden)


def _hidden_marks(
    species: Species, framing: str, view: str, mouth: str, hair: str
) -> set[str]:
    hidden = set()
    if view == "rear_view":
        hidden |= _MARKS_IN_FRONT
    if framing == "headshot_portrait":
        hidden |= _MARKS_BELOW_THE_HEAD
        if species.tail == "fin":
            hidden.add("fin")
    if mouth == "teeth":
        hidden.add("teeth")  # the mouth shows them
    if hair:
        hidden.add("mane")
    return hidden
