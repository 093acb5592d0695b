"""The vocabulary of the sandbox.

Tags with category and miss rate, what implies what, what is an alias of what.

How often a trait occurs and with what is decided in `sandbox.board.random_scenes` and
`sandbox.board.random_figures`; what it looks like in `sandbox.art`.
"""

from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

from sandbox.records import CATEGORIES
from sandbox.world.species import BY_NAME, FAMILIES, SPECIES

_ID = {name: number for number, name in enumerate(CATEGORIES)}

COLOURS = (
    "white",
    "grey",
    "black",
    "brown",
    "orange",
    "tan",
    "yellow",
    "red",
    "green",
    "blue",
    "purple",
    "pink",
)
HAIR_COLOURS = ("black", "brown", "blonde", "red", "blue", "pink")
_HAIR_TAGS = [f"{colour}_hair" for colour in HAIR_COLOURS]
EYE_COLOURS = ("blue", "green", "yellow", "brown", "red", "purple")

_GENERAL = """
solo duo group portrait full_body half-length_portrait headshot_portrait front_view
side_view rear_view
looking_at_viewer looking_aside looking_up anthro feral standing sitting lying jumping
waving sleeping
heterochromia eyes_closed one_eye_closed smile open_mouth tongue tongue_out frown teeth
blush tears :3
fur feathers scales markings spots stripes facial_markings socks_(marking) dipstick_tail
countershading
tail fluffy_tail wings horn antlers beak whiskers claws fin mane hair long_hair
clothing topwear shirt striped_shirt hoodie cape pants skirt hat top_hat wizard_hat
party_hat
beanie crown scarf glasses sunglasses bow_tie collar bell headphones
holding_object flower balloon ball book umbrella sword food ice_cream apple pizza
simple_background white_background grey_background blue_background gradient_background
pattern_background
transparent_background detailed_background outside inside cloud tree grass mountain
water beach snow rain
night moon star sun rainbow building window fence mushroom butterfly plant
heart_symbol sparkles text speech_bubble dialogue signature border shadow
exclamation_point ? musical_note zzz bubbles
monochrome greyscale sketch hatching
"""

DRAWN_GENERAL = (
    *_GENERAL.split(),
    *(f"{colour}_body" for colour in COLOURS),
    *_HAIR_TAGS,
    *(f"{colour}_eyes" for colour in EYE_COLOURS),
)
"""General tags that can be seen in the picture (pinned by a test: 90 and more)."""

YOUNG = ("young", "cub", "kit_(young)")
"""Age tags: metadata only, never drawn. `kit_(young)` implies `cub` implies `young`."""

OPT_OUTS = ("avoid_posting", "conditional_dnp")

_UNSEEN = {
    "general": (*YOUNG, "smiling", "holding_\"sign\"", "café", "rock'n'roll", "and/or",
    "ratio_16:9", "tagme"),
    "artist": (*OPT_OUTS, "unknown_artist", "sound_warning"),
    "contributor": ("paper_crane_(colorist)", "böcklin_(editor)"),
    "invalid": ("invalid_tag", "cute", "image", "furry"),
    "meta": ("hi_res", "absurd_res", "superabsurd_res", "low_res", "thumbnail",
    "wide_image", "tall_image",
             "long_image", "huge_filesize", "digital_media_(artwork)",
             "traditional_media_(artwork)", "comic",
             "animated", "animated_gif", "animated_png", "animated_webp", "video",
             "webm", "flash", "long_playtime",
             "short_playtime",
             "alternate_version_at_source", "edit", "colored"),
    "lore": ("siblings_(lore)", "time_travel_(lore)", "disguised_(lore)"),
}  # fmt: skip

_ARTISTS = """
inkpaw mossy_quill tin_lantern velvet_burrow orchid_hare dusty_marten pebblewing
cinderleaf harbor_fox saltlick
blue_acorn quietgrove rustwhisker marmalade_moth nine_buttons polar_ink threadbare_owl
clover_and_co gingerroot
wickerwolf lilac_otter paperkoi soft_anvil hollowreed north_of_noon tapir_jones
mintfrost cobble_art rook'n'roll
sunny_stoat ferret_forge o'malley_(artist) pinecone_press lazuli_lynx amberglass
snailmail oatmeal_elk birchbark
mr._pickle tofu_tiger dapplegrey jam_jar_studio tea_"leaf"_tom ravenrye kettle_corn
underhill foggy_bottoms zoë_zebra
naïve_fox kitsune_工房 blåbär æther_hound grün_&_blau copperkite nutmegg willow_wren
domino_dog plumstone lake_effect
bramblebee
"""
ARTISTS = tuple(_ARTISTS.split())
"""Artists, most productive first.

Each has a style of its own in `sandbox.art.style`.
"""

CHARACTERS = (
    ("rusty_(foxfire)", "red_fox", "foxfire_trail"),
    ("ember_(foxfire)", "fox", "foxfire_trail"),
    ('grandpa_"hoot"', "owl", "foxfire_trail"),
    ("captain_paws", "domestic_cat", "paws_&_claws"),
    ("first_mate_o'tail", "mouse", "paws_&_claws"),
    ("bosun_grizz", "bear", "paws_&_claws"),
    ("lumi_(aurora)", "arctic_fox", "aurora:_the_long_night"),
    ("fenris_(aurora)", "wolf", "aurora:_the_long_night"),
    ("señor_croco", "crocodile", "pâtisserie_(series)"),
    ("madame_éclair", "rabbit", "pâtisserie_(series)"),
    ("drako", "dragon", "where's_drako?"),
    ("tilly_(drako)", "lizard", "where's_drako?"),
    ("sherlock_bones", "domestic_dog", ""),
    ("professor_stripes", "tiger", ""),
    ("bamboozle", "giant_panda", ""),
    ("finn_(shark)", "shark", ""),
)
"""(character tag, species, copyright tag or empty), most frequent first."""


@dataclass(frozen=True, slots=True)
class Trait:
    """A tag of the vocabulary.

    `miss` is the chance that an annotator leaves it out where it is true.
    """

    name: str
    category: int
    miss: float


# Easy to overlook, or thought too obvious to type: chance of being left out.
_MISS = {
    "portrait": 0.10, "front_view": 0.12, "looking_up": 0.20, "bell": 0.25,
    "claws": 0.22, "butterfly": 0.15,
    "signature": 0.14, "mushroom": 0.15, "plant": 0.2, "hatching": 0.3, "shadow": 0.12,
    "solo": 0.02, "anthro": 0.02,
    "clothing": 0.02, "fur": 0.03, "tail": 0.05, "hair": 0.04, "dialogue": 0.2,
    "inside": 0.08, "young": 0.02,
    "cub": 0.05, "kit_(young)": 0.05, "avoid_posting": 0.0, "conditional_dnp": 0.0,
}  # fmt: skip

CONFUSIONS = {
    "fox": "wolf", "wolf": "fox", "domestic_dog": "wolf", "domestic_cat": "fox",
    "mouse": "rabbit", "lizard": "dragon",
    "blue_eyes": "green_eyes", "green_eyes": "blue_eyes", "yellow_eyes": "green_eyes",
    "brown_body": "tan_body",
    "grey_body": "black_body", "white_body": "grey_body", "hat": "hoodie",
    "shirt": "hoodie", "smile": "open_mouth",
    "stripes": "markings", "cloud": "snow", "sitting": "standing", "star": "sparkles",
}  # fmt: skip
"""What a careless annotator types instead: true tag -> wrong tag."""


def _miss(name: str, category: str) -> float:
    if name in _MISS:
        return _MISS[name]
    if category != "general":
        return 0.02
    return 0.02 + 0.08 * sha256(name.encode()).digest()[0] / 255


def _vocabulary() -> dict[str, Trait]:
    names = dict.fromkeys(DRAWN_GENERAL, "general")
    names |= dict.fromkeys(BY_NAME, "species")
    names |= dict.fromkeys(chain(*FAMILIES), "species")
    names |= dict.fromkeys(ARTISTS, "artist")
    names |= {character: "character" for character, _, _ in CHARACTERS}
    names |= {series: "copyright" for _, _, series in CHARACTERS if series}
    for category, unseen in _UNSEEN.items():
        names |= dict.fromkeys(unseen, category)
    return {
        name: Trait(name, _ID[category], _miss(name, category))
        for name, category in names.items()
    }


TRAITS = _vocabulary()
"""Every tag that a post of the sandbox may carry, aliased spellings aside."""


def _implications() -> tuple[tuple[str, str], ...]:
    kinds = {
        "portrait": "half-length_portrait headshot_portrait",
        "clothing": "topwear pants skirt hat crown scarf bow_tie cape",
        "topwear": "shirt hoodie",
        "shirt": "striped_shirt", "glasses": "sunglasses",
        "hat": "top_hat wizard_hat party_hat beanie",
        "tongue": "tongue_out", "collar": "bell",
        "markings": "spots stripes facial_markings socks_(marking) dipstick_tail",
        "tail": "fluffy_tail",
        "simple_background": "white_background grey_background blue_background "
            "gradient_background pattern_background "
                             "transparent_background",
        "food": "ice_cream apple pizza",
        "dialogue": "speech_bubble", "text": "dialogue", "monochrome": "greyscale",
        "horn": "antlers",
        "water": "beach", "hair": "long_hair " + " ".join(_HAIR_TAGS),
        "young": "cub", "cub": "kit_(young)",
        "animated": "animated_gif animated_png animated_webp video flash",
        "video": "webm", "absurd_res": "superabsurd_res", "hi_res": "absurd_res",
        "low_res": "thumbnail",
    }  # fmt: skip
    pairs = [(name, kind) for kind, names in kinds.items() for name in names.split()]
    pairs += [(species.name, species.parent) for species in SPECIES]
    return tuple(dict.fromkeys([*FAMILIES, *pairs]))


IMPLICATIONS = _implications()
"""Implications in force, antecedent first. They form a DAG."""

SLOW_IMPLICATIONS = {
    ("wizard_hat", "hat"): "processing",
    ("party_hat", "hat"): "queued",
}
"""Implications in force although their status is not yet `active`."""

DEAD_IMPLICATIONS = (
    ("scarf", "hat", "deleted"),
    ("wolf", "domestic_dog", "deleted"),
    ("dragon", "reptile", "pending"),
    ("sun", "outside", "pending"),
    ("moon", "night", "retired"),
    ("snow", "outside", "error: validation failed: antecedent name is busy"),
    ("book", "young", "pending"),
)
"""Implications not in force: (antecedent, consequent, status)."""

ALIASES = (
    ("dog", "domestic_dog"), ("doggy", "dog"), ("cat", "domestic_cat"), ("kitty",
    "cat"), ("vulpine", "fox"),
    ("vulpes_vulpes", "red_fox"), ("bunny", "rabbit"), ("panda", "giant_panda"), ("狐",
    "fox"), ("きつね", "fox"),
    ("♥", "heart_symbol"), ("heart", "heart_symbol"), ("hearts", "heart_symbol"),
    ("grin", "smile"),
    ("smiles", "smile"), ("clothes", "clothing"), ("clothed", "clothing"), ("specs",
    "glasses"),
    ("spectacles", "glasses"), ("hats", "hat"), ("gray_body", "grey_body"),
    ("grayscale", "greyscale"),
    ("trees", "tree"), ("clouds", "cloud"), ("nighttime", "night"), ("stars", "star"),
    ("single", "solo"),
    ("two_characters", "duo"), ("trio", "group"), ("blushing", "blush"), ("closed_eyes",
    "eyes_closed"),
    ("wink", "one_eye_closed"), ("tail_fluff", "fluffy_tail"), ('bubble_"speech"',
    "speech_bubble"),
    ("éclair_(character)", "madame_éclair"), ("question_mark", "?"), ("child", "young"),
    ("dnp", "avoid_posting"),
    ("high_res", "hi_res"), ("outdoors", "outside"), ("indoors", "inside"), ("flowers",
    "flower"),
    ("t-shirt", "shirt"), ("simple_bg", "simple_background"), ("rubber_ball", "ball"),
)  # fmt: skip
"""Aliases in force: old spelling first. `doggy` and `kitty` take two steps."""

DEAD_ALIASES = (
    ("coyote", "wolf", "deleted"),
    ("hat_(clothing)", "hat", "pending"),
    ("sunset", "sun", "retired"),
    ("scarves", "scarf", 'error: it is complicated, see topic #"42"'),
    ("bird_wings", "wings", "deleted"),
)
"""Aliases not in force: (antecedent, consequent, status)."""

DAY_2_ALIAS = ("smiling", "smile")
"""The alias that is new on day 2; on day 1 both spellings are tags in use."""


def _closures() -> dict[str, tuple[str, ...]]:
    above: dict[str, list[str]] = {}
    for antecedent, consequent in IMPLICATIONS:
        above.setdefault(antecedent, []).append(consequent)
    return {name: _reachable(name, above) for name in TRAITS}


def _reachable(name: str, above: dict[str, list[str]]) -> tuple[str, ...]:
    """Returns the tag itself, then all that it implies."""
    reached = {name: None}
    todo = [name]
    while todo:
        for consequent in above.get(todo.pop(), ()):
            if consequent not in reached:
                reached[consequent] = None
                todo.append(consequent)
    return tuple(reached)


CLOSURE = _closures()
"""Tag -> itself and everything it implies, to any depth."""
