"""How people tag: what is true of a picture in, what is typed under it out.

They overlook, confuse and lag behind.
"""

from sandbox.world.random_choice import Draw, pick
from sandbox.world.traits import (
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
            typed = name
            if name in CONFUSIONS and draw() < 0.006:
                typed = CONFUSIONS[name]
            given.update(CLOSURE[typed])
    if draw() < 0.03:
        given.update(CLOSURE[pick(draw, DRAWN_GENERAL)])
    if draw() < 0.02:
        given.add(pick(draw, _WHIMS))
    return given


def let_lag(given: set[str], old: bool, draw: Draw) -> set[str]:
    """Returns the tags as an older save left them.

    A spelling since aliased, an implied tag not yet added.
    """
    lagged = set(given)
    if "smile" in lagged and draw() < 0.03:
        lagged.remove("smile")
        lagged.add(DAY_2_ALIAS[0])
    if not given.isdisjoint(YOUNG[1:]) and draw() < 0.4:
        lagged.discard("young")
    if old and draw() < 0.05:
        _respell_one(lagged, draw)
    if old and draw() < 0.06:
        _drop_one_implied(lagged, draw)
    return lagged


def _respell_one(tags: set[str], draw: Draw) -> None:
    """Replaces one of the tags by a spelling that is now an alias of it."""
    names = sorted(name for name in tags if name in _SPELLINGS)
    if names:
        name = pick(draw, names)
        tags.remove(name)
        tags.add(pick(draw, _SPELLINGS[name]))


def _drop_one_implied(tags: set[str], draw: Draw) -> None:
    """Removes a tag that one of the tags implies."""
    names = sorted(name for name in tags if len(CLOSURE.get(name, ())) > 1)
    if names:
        name = pick(draw, names)
        tags.discard(CLOSURE[name][1])
