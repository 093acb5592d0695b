"""The figures of scenes, drawn at random: species, pose, face, clothes and markings."""

from sandbox.board.random_choice import Draw, toss, wheel
from sandbox.board.scenes import Figure
from sandbox.board.species import BY_NAME, SPECIES, Species
from sandbox.board.traits import CHARACTERS

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
        worn += toss(draw, odds)
        if draw() < (0.6 if cold else 0.33):
            worn.append(_HATS(draw()))
    else:
        odds = [("scarf", 0.05), ("collar", 0.27), ("glasses", 0.04)]
        worn += toss(draw, odds)
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
    marks += toss(draw, species.often)
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
