"""Choices by chance, from numbers that are the same on every Python.

Only `Random.random` with a text seed is used: its numbers are promised to be that.
"""

from bisect import bisect
from collections.abc import Callable, Iterable
from itertools import accumulate

Draw = Callable[[], float]
"""A source of numbers in [0, 1)."""


def wheel(pairs: Iterable[tuple[str, float]]) -> Callable[[float], str]:
    """Returns a weighted choice.

    A function from a number in [0, 1) to one of the names.
    """
    names, weights = zip(*pairs, strict=True)
    sums = list(accumulate(weights))
    total = sums[-1]
    return lambda u: names[bisect(sums, u * total)]


def toss(draw: Draw, odds: Iterable[tuple[str, float]]) -> list[str]:
    """Returns the names whose own coin fell right, one coin per name."""
    return [name for name, chance in odds if draw() < chance]
