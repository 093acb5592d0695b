"""Which places a plot draws where it has more tags or points than can be seen."""

MAX_POINTS = 400  # of a curve; more cannot be seen

MAX_TAGS = 600
"""Tags of a plot that has a mark for each. 8,000 took 7 MB, and Chromium seconds."""


def thinned(count: int, most: int) -> list[int]:
    """Returns `most` places of `count` at equal steps, with both ends; or all."""
    if count <= most:
        return list(range(count))
    last = count - 1
    return sorted({round(step * last / (most - 1)) for step in range(most)})
