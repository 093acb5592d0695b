"""Names in Markdown, whatever characters they are of."""

import re


def code(name: str) -> str:
    """Returns a name as code."""
    runs = re.findall("`+", name)
    if not runs:
        return f"`{name}`"
    # A fence that is longer than every run of backticks in it, and apart from them.
    fence = "`" * (max(len(run) for run in runs) + 1)
    return f"{fence} {name} {fence}"


def code_in_table(name: str) -> str:
    """Returns a name as code in a cell, which every other `|` would end."""
    return code(name).replace("|", "\\|")
