"""How the page writes numbers: the filters of its templates."""

import math
from typing import Any

NONE = "\N{EN DASH}"  # where a metric is not defined

SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
DURATIONS = (("h", 3600), ("min", 60))


def number(count: int) -> str:
    """Returns 1,234."""
    return f"{count:,}"


def share(figure: float | None) -> str:
    """Returns 0.873, or a dash where there is none."""
    if figure is None or math.isnan(figure):
        return NONE
    return f"{figure:.3f}"


def percent(figure: float, digits: int = 1) -> str:
    """Returns 96.7 %."""
    return f"{figure * 100:.{digits}f} %"


def size(count: int) -> str:
    """Returns 1.2 MB, or kB or GB. count: bytes."""
    for unit, factor in SIZES:
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,} B"


def duration(seconds: float) -> str:
    """Returns 4.2 s, 3.5 min or 17.0 h."""
    for unit, factor in DURATIONS:
        if seconds >= factor:
            return f"{seconds / factor:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def value(given: Any) -> str:
    """Returns a parameter as params.yaml writes it."""
    if given is None:
        return "null"
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, list):
        return ", ".join(value(element) for element in given)
    if isinstance(given, int) and abs(given) >= 10_000:
        return f"{given:,}"
    return str(given)


FILTERS = {
    "n": number,
    "share": share,
    "percent": percent,
    "value": value,
    "size": size,
    "duration": duration,
}
"""Filters by their names in the templates."""
