"""Tables of many rows: the page shows some, a script sorts and searches all of them.

All cells are texts, as a reader sees them, so that what the script shows is what the
page shows without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

PAGE = 200
"""Rows shown at once. 8,000 rows in one table take Chromium seconds to lay out."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. group: the heading above it. css: its class.

    kind: `link` makes a link of an address, with the text `link`; a `number` is sorted
    by its value, and first from high to low.
    """

    label: str
    kind: Literal["text", "number", "link"] = "number"
    group: str = ""
    css: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class DataTable:
    """A table that can be sorted and searched.

    rows: texts, as many as columns; of the first column they are headings. choice: the
    column whose values a list offers. noun: what the rows are. file: where all are.
    """

    label: str
    noun: str
    file: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    choice: int
    page: int = PAGE

    @property
    def first_page(self) -> Sequence[Sequence[str]]:
        """The rows that are shown without the script."""
        return self.rows[: self.page]

    @property
    def rest(self) -> int:
        """How many rows are not."""
        return max(0, len(self.rows) - self.page)

    @property
    def choices(self) -> list[str]:
        """The values of the column `choice`; none where there is only one."""
        values = sorted({row[self.choice] for row in self.rows})
        return values if len(values) > 1 else []

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The headings above the columns, and how many columns each spans."""
        spans = []
        for group, columns in groupby(self.columns, lambda column: column.group):
            spans.append((group, len(list(columns))))
        return spans if any(group for group, _ in spans) else []

    @property
    def content(self) -> dict[str, Any]:
        """What the script reads."""
        columns = [[one.kind, one.css, one.link] for one in self.columns]
        return {
            "choice": self.choice,
            "columns": columns,
            "noun": self.noun,
            "rows": self.rows,
        }
