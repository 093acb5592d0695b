"""The records of an export that cannot be read, as schemas.SNAPSHOT_REJECTED."""

from typing import Any

import numpy as np
import pyarrow.csv as pa_csv

from pipeline.errors import BadExport

Rejected = list[dict[str, Any]]

# Records. This version cannot read an export with more, and they would fill the memory.
MOST_REJECTED = 100_000


class Rejections:
    """The records of one export that could not be read.

    The parser adds records to it in one thread, the converter in another.
    """

    def __init__(self, export: str) -> None:
        self.export = export
        # By the parser: `row` is the place in the export.
        self._skipped: Rejected = []
        # By the converter: `row` is the place among the parsed records.
        self._invalid: Rejected = []
        self._repeated: Rejected = []

    def skip(self, bad: pa_csv.InvalidRow) -> str:
        """Adds a record with too few or too many columns.

        Returns pyarrow's word for going on, or after too many for stopping.
        """
        reason = f"{bad.actual_columns} columns instead of {bad.expected_columns}"
        self._skipped.append(self._row(bad.number or 0, reason, bad.text or ""))
        if len(self._skipped) > MOST_REJECTED:
            return "error"  # an exception raised here would only be printed
        return "skip"

    def add_invalid(self, row: int, reason: str, value: str) -> None:
        """Adds the record that is number `row`, from 1, of the parsed ones."""
        self._invalid.append(self._row(row, reason, value))
        self.check()

    def add_repeated(self, value: int) -> None:
        """Adds an id that more than one record has."""
        self._repeated.append(self._row(0, "id given more than once", str(value)))
        self.check()

    def check(self) -> None:
        """Raises BadExport if more records were rejected than can be listed."""
        for rows in (self._skipped, self._invalid, self._repeated):
            if len(rows) > MOST_REJECTED:
                first = rows[0]
                raise BadExport(
                    f"more than {MOST_REJECTED:,} records of the export {self.export} "
                    f"cannot be read, first row {first['row']}: {first['reason']} "
                    f"({first['value'][:60]!r}). Nothing was written. "
                    "The site changed its exports: this version of e6tag cannot read "
                    "them."
                )

    def rows(self) -> Rejected:
        """Returns all rejected records in the order of the export."""
        skipped = np.sort(np.array([row["row"] for row in self._skipped], np.int64))
        # The number of records parsed before each skipped one.
        parsed_before = skipped - np.arange(1, len(skipped) + 1)
        rows = list(self._skipped)
        for row in self._invalid:
            skipped_before = int(np.searchsorted(parsed_before, row["row"]))
            rows.append({**row, "row": row["row"] + skipped_before})
        rows.sort(key=lambda row: row["row"])
        return rows + self._repeated

    def _row(self, row: int, reason: str, value: str) -> dict[str, Any]:
        return {
            "export": self.export,
            "row": row,
            "reason": reason,
            "value": value[:200],
        }
