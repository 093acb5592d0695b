"""How people tag: what is true of a picture in, what is typed under it out.

They overlook, confuse and lag behind.
"""

from sandbox.board.random_choice import Draw
from sandbox.board.traits import (
    ALIASES,
    CLOSURE,
    CONFUSIONS,
    DAY_2_ALIAS,
    DRAWN_GENERAL,
    TRAITS,
    YOUNG,
)

_SPELLINGS: dict[str, list[str]] = {}
for _old, _new in ALIASES:
    _SPELLINGS.setdefault(_new, []).append(_old)

_WHIMS = (
    'holding_"sign"',
    "café",
    "rock'n'roll",
    "and/or",
    "ratio_16:9",
    "cute",
    "invalid_tag",
    "image",
)
"""Tags typed for no visible reason."""

_MISS = {name: trait.miss for name, trait in TRAITS.items()}


def annotate(truth: tuple[str, ...], carelessness: float, draw: Draw) -> set[str]:
    """Returns the tags that are given.

    Each true one unless overlooked, some wrong ones, implications expanded.
    """
    given: set[str] = set()
    for name in truth:
        if draw() >= _MISS[name] * carelessness:
            wrong = CONFUSIONS.get(name)
            given.update(CLOSURE[wrong if wrong and draw() < 0.006 else name])
    if draw() < 0.03:
        given.update(CLOSURE[DRAWN_GENERAL[int(draw() * len(DRAWN_GENERAL))]])
    if draw() < 0.02:
        given.add(_WHIMS[int(draw() * len(_WHIMS))])
    return given


def let_lag(given: set[str], old: bool, draw: Draw) -> set[str]:
    """Returns the tags as an older save left them.

    A spelling since aliased, an implied tag not yet added.
    """
    lagged = set(given)
    if "smile" in lagged and draw() < 0.03:
        lagged.remove("smile")
        lagged.add(DAY_2_ALIAS[0])
    if any(name in given for name in YOUNG[1:]) and draw() < 0.4:
        lagged.discard("young")
    if not old:
        return lagged
    if draw() < 0.05:
        names = sorted(name for name in lagged if name in _SPELLINGS)
        if names:
            name = names[int(draw() * len(names))]
            lagged.remove(name)
            lagged.add(_SPELLINGS[name][int(draw() * len(_SPELLINGS[name]))])
    if draw() < 0.06:
        names = sorted(name for name in lagged if len(CLOSURE.get(name, ())) > 1)
        if names:
            lagged.discard(CLOSURE[names[int(draw() * len(names))]][1])
    return lagged
