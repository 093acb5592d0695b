"""The CSV files of a bundle, as far as they have their columns."""

import csv
from dataclasses import dataclass
from pathlib import Path

from pipeline.validate.violations import Row

COLUMNS = {
    "selected_tags.csv": ["tag_id", "name", "category", "count"],
    "thresholds.csv": ["name", "category", "threshold"],
    "implications.csv": ["name", "implies"],
    "renamed_tags.csv": ["old", "new"],
    "hydrus/selected_tags.csv": ["tag_id", "name", "category", "count"],
    "imgutils/selected_tags.csv": [
        "id",
        "tag_id",
        "name",
        "category",
        "count",
        "best_threshold",
    ],
    "imgutils/thresholds.csv": ["category", "name", "threshold"],
}
"""Of every CSV file."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables as text, by file; and those that have other columns than COLUMNS."""

    rows: dict[str, list[Row]]
    wrong: list[Row]

    @classmethod
    def read(cls, folder: Path) -> "Tables":
        """Reads all CSV files of a bundle."""
        rows: dict[str, list[Row]] = {}
        wrong = []
        for name, columns in COLUMNS.items():
            with (folder / name).open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                found = list(reader.fieldnames or [])
                rows[name] = list(reader) if found == columns else []
            if found != columns:
                wrong.append({"file": name, "columns": ", ".join(found)})
            elif any(None in row or None in row.values() for row in rows[name]):
                wrong.append({"file": name, "columns": "not in every row"})
                rows[name] = []
        return cls(rows, wrong)

    def __getitem__(self, name: str) -> list[Row]:
        return self.rows[name]


def number(text: str) -> float:
    """Returns a cell as a number; one that is none is not a number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
