"""How static plots look, and how they become SVG inside the page.

The colours are those of the stylesheet, and text stays text.

Guarantees  the same numbers give the same bytes; nothing in a plot names an address
            outside the page.
"""

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE, MODEL, BLIND, OTHER = (f"#00000{digit}" for digit in range(1, 7))
"""Stand-ins for the stylesheet's colours, which differ by day and night.

Plots use these, `to_svg` names them.
"""

COLOURS = {
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    MODEL: "model",
    BLIND: "blind",
    OTHER: "other",
}

STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}

LEGIBLE = 0.85  # of its size: what text still can be read at, on narrow screens


def new_figure(name: str, width: float, height: float) -> "tuple[Figure, Axes]":
    """Returns an empty plot in STYLE. name: its own; width, height: inches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcdefaults()
    mpl.rcParams.update(STYLE)
    mpl.rcParams["svg.hashsalt"] = f"e6tag {name}"
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    return figure, figure.add_subplot()


def to_svg(figure: "Figure", alternative: str) -> str:
    """Returns the figure as an SVG element.

    No prologue, no namespaces (HTML knows them), no shared ids.
    alternative: the text for readers who do not see the plot.
    """
    # Laid out once: savefig would draw the figure a second time for its own layout.
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine(None)
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    narrowest = round(figure.get_figwidth() * 72 * LEGIBLE)
    svg = re.sub(
        r'(<svg)[^>]*?viewBox="([^"]*)"[^>]*>',
        rf'\1 viewBox="\2" role="img" aria-label="{alternative}" '
        rf'style="min-width:{narrowest}px">',
        svg,
    )
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for stand_in, name in COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    lines = [line.strip() for line in svg.splitlines()]
    return "\n".join(line for line in lines if line)


def format_thousands(axes: "Axes", which: str) -> None:
    """Writes the ticks of an axis, `x` or `y`, as 1,234."""
    from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, NullFormatter

    axis: Any = getattr(axes, f"{which}axis")
    axis.set_major_formatter(FuncFormatter(_whole))
    if isinstance(axis.get_minor_formatter(), LogFormatterSciNotation):
        axis.set_minor_formatter(NullFormatter())


def _whole(value: float, _: int | None) -> str:
    """Returns 1,234, and nothing below 1, where a log scale has ticks too."""
    if value < 1:
        return ""
    return f"{value:,.0f}"


def format_percentages(axes: "Axes") -> None:
    """Writes the ticks of the y axis, on a log scale, as 10 %."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(_percentage))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _percentage(value: float, _: int | None) -> str:
    """Returns 10 %, and nothing above 100 %, where a log scale has ticks too."""
    if value > 1:
        return ""
    return f"{value * 100:g} %"


def add_legend_above(axes: "Axes", columns: int) -> None:
    """Puts the legend above the plot, where it hides nothing."""
    corner = (0, 1)
    axes.legend(
        ncols=columns, loc="lower left", bbox_to_anchor=corner, borderaxespad=0.2
    )
