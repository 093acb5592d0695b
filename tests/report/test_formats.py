"""How the page writes numbers."""

import math
from typing import Any

import pytest

from pipeline.report import formats


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("n", 1234, "1,234"),
        ("share", 0.87349, "0.873"),
        ("share", None, "\N{EN DASH}"),
        ("share", math.nan, "\N{EN DASH}"),
        ("percent", 0.9668, "96.7 %"),
        ("size", 999, "999 B"),
        ("size", 1_000, "1.0 kB"),
        ("size", 1_234_567, "1.2 MB"),
        ("size", 10**9, "1.0 GB"),
        ("duration", 59.94, "59.9 s"),
        ("duration", 60, "1.0 min"),
        ("duration", 3600, "1.0 h"),
        ("value", None, "null"),
        ("value", True, "true"),
        ("value", ["s", "q"], "s, q"),
        ("value", 52_428_800, "52,428,800"),
        ("value", 2014, "2014"),
    ],
)
def test_numbers_are_written_for_people(name: str, given: Any, text: str) -> None:
    assert formats.FILTERS[name](given) == text
