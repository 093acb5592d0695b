"""Writes what each head costs into docs/heads.md: parameters, multiply-adds, memory.

    python docs/heads.py      # in the project's folder

Writes      docs/heads.md      the tables between its marks
Guarantees  needs no Keras: heads of 32,768 tags cannot be built on most machines.
            tests/model/heads compares the formulae with heads that are built.
"""  # noqa: INP001 - a script, not a package

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

PAGE = Path(__file__).parent / "heads.md"
TABLES = re.compile(r"(?<=<!-- costs -->\n).*?(?=<!-- end of costs -->)", re.DOTALL)

TAGS = (1_024, 8_192, 32_768)
CHANNELS = 2_048  # of the feature map of resnet_v4 at width 1
POSITIONS = (4, 49)  # of an image of 224 pixels at last stride 128 and 32
BACKBONE = 57_039_808  # parameters of resnet_v4 at width and depth 1

STATE = 16  # bytes a parameter: weight, gradient and two moments of AdamW, in float32
MEMORY = 4 * 2**30  # bytes
TOO_LARGE = "*"

# Of attention_residual.
ATTENTION = 4  # channels: 2 heads of key size 2
ENCODER = 512  # units

# Of queries: its default width, the feed-forward layer, and its limit.
WIDTH, FEED_FORWARD = 128, 256
MOST_QUERIES = 256


@dataclass(frozen=True, slots=True)
class Cost:
    """What one head costs.

    parameters: trained ones and the statistics of norms; multiply_adds: an image, of
    kernels and attention. Norms, activations and averages are left out: they are below
    a hundredth.
    """

    parameters: int
    multiply_adds: int


Formula = Callable[[int, int, int], Cost]
"""The cost by tags, channels of the feature map and its positions."""


def pool(tags: int, channels: int, positions: int) -> Cost:
    """Returns the cost of `heads.pool`: the same for every number of positions."""
    del positions
    return Cost(channels * tags + tags, channels * tags)


def attention_residual(tags: int, channels: int, positions: int, *, join: str) -> Cost:
    """Returns the cost of `heads.attention_residual`."""
    maps = 2 * tags
    joined = {"sum": maps, "concat": 2 * maps}[join]
    dense_map = positions * maps * maps
    kernels = channels * maps + 4 * maps * ATTENTION
    kernels += 2 * dense_map + 2 * maps * ENCODER + joined * tags
    batch_norm = 4 * maps
    layer_norm = 2 * joined
    biases = 3 * ATTENTION + maps + 2 * maps + ENCODER + maps + tags
    per_position = channels * maps + 4 * maps * ATTENTION
    attention = 2 * positions**2 * ATTENTION
    multiply_adds = positions * per_position + attention
    multiply_adds += 2 * dense_map + 2 * maps * ENCODER + joined * tags
    return Cost(kernels + batch_norm + layer_norm + biases, multiply_adds)


def queries(
    tags: int,
    channels: int,
    positions: int,
    *,
    width: int = WIDTH,
    most_queries: int = MOST_QUERIES,
) -> Cost:
    """Returns the cost of `heads.queries`."""
    group = -(-tags // most_queries)
    count = -(-tags // group)
    feed_forward = 2 * width
    memory = channels * width + 2 * width**2
    answer = width**2 + 2 * width * feed_forward
    decode = count * width * group
    parameters = memory + count * width + answer + decode + channels * tags
    norms = 3 * 2 * width
    biases = 2 * width + count * width + feed_forward + width + tags
    attention = 2 * count * positions * width
    multiply_adds = positions * memory + attention + count * answer + decode
    return Cost(parameters + norms + biases, multiply_adds + channels * tags)


HEADS: dict[str, Formula] = {
    "`pool`": pool,
    "`queries`": queries,
    "`attention_residual`, `sum`": partial(attention_residual, join="sum"),
    "`attention_residual`, `concat`": partial(attention_residual, join="concat"),
}


def main() -> None:
    """Writes the tables."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def page(text: str) -> str:
    """Returns the page with its tables as they should be."""
    return TABLES.sub(tables(), text)


def tables() -> str:
    """Returns both tables as Markdown."""
    tags = [f"{number:,}" for number in TAGS]
    parameters = [_row("head", "positions", *tags, "most tags")]
    parameters.append("|---|--:|--:|--:|--:|--:|")
    multiply_adds = [_row("head", "positions", *tags), "|---|--:|--:|--:|--:|"]
    for name, formula in HEADS.items():
        for positions in POSITIONS:
            costs = [formula(number, CHANNELS, positions) for number in TAGS]
            sizes = [_marked(cost.parameters) for cost in costs]
            most = f"{_floored(most_tags(formula, positions)):,}"
            parameters.append(_row(name, str(positions), *sizes, most))
            speeds = [_rounded(cost.multiply_adds) for cost in costs]
            multiply_adds.append(_row(name, str(positions), *speeds))
    lines = ["Parameters by tags, and the most tags that fit 4 GB:", "", *parameters]
    lines += ["", "Multiply-adds of the head for one image, by tags:", ""]
    return "\n".join([*lines, *multiply_adds, ""])


def fits(parameters: int) -> bool:
    """Returns whether a head can be trained with its backbone in MEMORY."""
    return (BACKBONE + parameters) * STATE <= MEMORY


def most_tags(formula: Formula, positions: int) -> int:
    """Returns with how many tags a head fits and with one more does not."""
    low, high = 0, 2**20
    while high - low > 1:
        middle = (low + high) // 2
        if fits(formula(middle, CHANNELS, positions).parameters):
            low = middle
        else:
            high = middle
    return low


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _marked(parameters: int) -> str:
    mark = "" if fits(parameters) else f" {TOO_LARGE}"
    return _rounded(parameters) + mark


def _floored(number: int) -> int:
    """Returns two digits and zeros: the state is an estimate.

    >>> _floored(2_404)
    2400
    """
    unit = 10 ** (len(str(number)) - 2)
    return number // unit * unit


def _rounded(number: int) -> str:
    """Returns three digits with M or G.

    >>> _rounded(1_234_567)
    '1.23 M'
    """
    for unit, name in ((10**9, "G"), (10**6, "M")):
        if number >= unit:
            value = number / unit
            digits = max(0, 3 - len(str(int(value))))
            return f"{value:,.{digits}f} {name}"
    return f"{number:,}"


if __name__ == "__main__":
    main()
