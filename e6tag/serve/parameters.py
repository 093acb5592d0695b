"""The parameters of the API: their bounds, and what is made of them."""

import re

from e6tag import bundle
from e6tag.selection import ImplicationMode, Options
from e6tag.serve.queries import Query
from e6tag.serve.refusals import Code, Refusal

MAX_TOP = 100_000

MAX_PATTERNS = 20
MAX_PATTERN = 100  # characters
PATTERN = re.compile(r"[^*]*(\*[^*]*){0,3}")
"""Patterns of tags. Each `*` multiplies the work of finding no match."""

CATEGORIES = tuple(bundle.CATEGORIES.values())

MAX_HEATMAPS = 64
"""Heat maps in one answer."""

MAX_TAG = 128  # characters

MAX_NEIGHBOURS = 100
NEIGHBOURS = 12


def read_selection(query: Query) -> Options:
    """Returns which tags are asked for."""
    mode = query.choice("implications", list(ImplicationMode))
    options = Options(
        threshold=query.number("threshold", least=0, most=1),
        top=query.integer("top", least=1, most=MAX_TOP),
        include=_read_patterns(query, "include"),
        exclude=_read_patterns(query, "exclude"),
        categories=tuple(query.choices("category", CATEGORIES)),
        implications=ImplicationMode(mode or ImplicationMode.OFF),
    )
    query.end()
    return options


def _read_patterns(query: Query, name: str) -> tuple[str, ...]:
    found = query.texts(name, most=MAX_PATTERNS)
    for text in found:
        if len(text) > MAX_PATTERN or not PATTERN.fullmatch(text):
            raise Refusal(
                Code.BAD_PARAMETER,
                f"{name} has at most {MAX_PATTERN} characters, three of them `*`.",
            )
    return tuple(found)


def read_tags(query: Query, *, most: int) -> list[str]:
    """Returns of which tags heat maps are asked for, at least one."""
    names = query.texts("tag", most=most)
    query.end()
    if not names:
        raise Refusal(Code.BAD_PARAMETER, "tag is missing.")
    if any(len(name) > MAX_TAG for name in names):
        raise Refusal(Code.BAD_PARAMETER, f"tag has at most {MAX_TAG} characters.")
    return names


def read_count(query: Query) -> int:
    """Returns how many neighbours are asked for."""
    count = query.integer("count", least=1, most=MAX_NEIGHBOURS)
    query.end()
    return count or NEIGHBOURS
