"""Choices by chance, from numbers that are the same on every Python.

Only `Random.random` with a text seed is used: its numbers are promised to be that.
"""

from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TypeVar

Draw = Callable[[], float]
"""A source of numbers in [0, 1)."""
T = TypeVar("T")


def wheel(pairs: Iterable[tuple[T, float]]) -> Callable[[float], T]:
    """Returns a weighted choice.

    A function from a number in [0, 1) to one of the options.
    """
    options, weights = zip(*pairs, strict=True)
    sums = list(accumulate(weights))
    total = sums[-1]
    return lambda u: options[bisect(sums, u * total)]


def by_threshold(u: float, table: Iterable[tuple[float, T]]) -> T:
    """Returns the value beside the first threshold above `u`; the last is 1."""
    for threshold, value in table:
        if u < threshold:
            return value
    raise ValueError(f"no threshold is above {u}")


def toss(draw: Draw, odds: Iterable[tuple[str, float]]) -> list[str]:
    """Returns the names whose own coin fell right, one coin per name."""
    return [name for name, chance in odds if draw() < chance]


def pick(draw: Draw, options: Sequence[T]) -> T:
    """Returns one of the options, each as likely as the others."""
    return options[int(draw() * len(options))]
