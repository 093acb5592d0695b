"""The tables of a bundle: rows, thresholds, relations, and those of other programs."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl

Row = dict[str, Any]

RATINGS = ["general", "sensitive", "questionable", "explicit"]
RATING, GENERAL, CHARACTER = 9, 0, 4

SITE_CATEGORIES = [
    "general",
    "artist",
    "contributor",
    "copyright",
    "character",
    "species",
    "invalid",
    "meta",
    "lore",
]
"""By the site's number (contract section 6)."""

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


def is_dead(row: Row) -> bool:
    """Returns whether a row of selected_tags.csv stands for nothing."""
    return number(row["tag_id"]) < 0


def misplaced_ratings(rows: list[Row]) -> Iterator[Row]:
    """Yields where the first four rows are not the ratings, or another one is one."""
    for place, name in enumerate(RATINGS):
        row = rows[place] if place < len(rows) else {"name": None, "category": None}
        if (row["name"], row["category"]) != (name, str(RATING)):
            found = {"name": row["name"], "category": row["category"]}
            yield {"row": place, **found, "expected": name}
    for place, row in enumerate(rows[len(RATINGS) :], len(RATINGS)):
        if row["category"] == str(RATING):
            yield {"row": place, "name": row["name"], "category": RATING}


def misordered_categories(rows: list[Row]) -> Iterator[Row]:
    """Yields rows behind the ratings that are not general tags, then characters."""
    tags = rows[len(RATINGS) :]
    categories = [row["category"] for row in tags]
    expected = sorted(categories)
    for place, (found, wanted) in enumerate(zip(categories, expected, strict=True)):
        if found not in (str(GENERAL), str(CHARACTER)) or found != wanted:
            name = tags[place]["name"]
            yield {"row": place + len(RATINGS), "name": name, "category": found}
    if str(CHARACTER) not in categories:
        yield {"row": len(rows), "name": None, "category": "no character"}


def wrong_dead_rows(rows: list[Row]) -> Iterator[Row]:
    """Yields dead rows but ratings and an only character, and those that count."""
    characters = [row for row in rows if row["category"] == str(CHARACTER)]
    for place, row in enumerate(rows):
        if not is_dead(row):
            continue
        stands_alone = row["category"] == str(CHARACTER) and len(characters) == 1
        is_allowed = row["category"] == str(RATING) or stands_alone
        if not is_allowed or row["count"] != "0":
            yield {"row": place, "name": row["name"], "count": row["count"]}


def vocabulary_in_rows(vocabulary: pl.DataFrame) -> pl.DataFrame:
    """Returns the tags in the order of their rows: characters last.

    vocabulary: label_id, tag_id, name, category.
    """
    is_character = pl.col("category") == "character"
    return vocabulary.sort(is_character, "label_id", maintain_order=True)


def differing_tags(rows: list[Row], vocabulary: pl.DataFrame) -> Iterator[Row]:
    """Yields rows of tags that are not those of the vocabulary, in its order."""
    expected = []
    for tag in vocabulary.iter_rows(named=True):
        category = CHARACTER if tag["category"] == "character" else GENERAL
        positives = str(tag["train_positives"])
        expected.append([str(tag["tag_id"]), tag["name"], str(category), positives])
    cells = ("tag_id", "name", "category", "count")
    alive = [row for row in rows[len(RATINGS) :] if not is_dead(row)]
    found = [[row[cell] for cell in cells] for row in alive]
    # Shards lose images that cannot be decoded: counts are at most the vocabulary's.
    for place, (one, other) in enumerate(zip_longest(found, expected)):
        is_same = one is not None and other is not None and one[:3] == other[:3]
        if not (is_same and number(one[3]) <= number(other[3])):
            yield {"row": place, "found": str(one), "vocabulary": str(other)}


def differing_thresholds(rows: list[Row], vocabulary: pl.DataFrame) -> Iterator[Row]:
    """Yields tags without a threshold from 0 to 1, or of another category or order."""
    expected = []
    for name, category in vocabulary.select("name", "category").iter_rows():
        expected.append((name, str(SITE_CATEGORIES.index(category))))
    valid = [row for row in rows if 0 <= number(row["threshold"]) <= 1]
    found = [(row["name"], row["category"]) for row in valid]
    for place, (one, other) in enumerate(zip_longest(found, expected)):
        if one != other:
            yield {"row": place, "found": str(one), "vocabulary": str(other)}


def unrelated_implications(rows: list[Row], names: list[str]) -> Iterator[Row]:
    """Yields implications that follow from no tag, twice, or of a name by itself."""
    reached = set(names)
    pending = [(row["name"], row["implies"]) for row in rows]
    if len(set(pending)) < len(pending):
        yield {"name": "some", "implies": "twice"}
    while True:
        added = {implied for name, implied in pending if name in reached} - reached
        if not added:
            break
        reached |= added
    for name, implied in pending:
        if name not in reached or name == implied:
            yield {"name": name, "implies": implied}


def wrong_renamings(rows: list[Row]) -> Iterator[Row]:
    """Yields tags that have their own name as the new one, or two new ones."""
    seen = set()
    for row in rows:
        if row["old"] == row["new"] or row["old"] in seen:
            yield {"old": row["old"], "new": row["new"]}
        seen.add(row["old"])


def hydrus_problems(tables: Tables, info: Row) -> Iterator[Row]:
    """Yields where hydrus/ is not the model again, or info.json says otherwise."""
    if tables["hydrus/selected_tags.csv"] != tables["selected_tags.csv"]:
        yield {"file": "hydrus/selected_tags.csv", "is": "not selected_tags.csv"}
    expected = {
        "modelfile": "model.onnx",
        "tagsfile": "selected_tags.csv",
        "ratingsflag": 1,
        "numberofratings": len(RATINGS),
    }
    for key, value in expected.items():
        if info.get(key) != value:
            yield {"file": "hydrus/info.json", "key": key, "expected": str(value)}


_SQUARE = [448, 448]

IMGUTILS_STEPS: dict[str, list[Row]] = {
    "stretch": [{"type": "resize", "size": _SQUARE, "interpolation": "lanczos"}],
    "crop": [
        {"type": "resize", "size": 448, "interpolation": "lanczos"},
        {"type": "center_crop", "size": _SQUARE},
    ],
    "pad": [
        {
            "type": "pad_to_size",
            "size": _SQUARE,
            "background_color": "white",
            "interpolation": "lanczos",
        }
    ],
}
"""How dghs-imgutils makes an image square, by `fit` of preprocessing.json."""


def imgutils_problems(
    tables: Tables, categories: list[Row], transforms: Row, fit: Any
) -> Iterator[Row]:
    """Yields where the files of imgutils/ are not those of the bundle.

    categories, transforms: categories.json and preprocess.json.
    """
    yield from _imgutils_rows(tables)
    used = {row["category"] for row in tables["imgutils/selected_tags.csv"]}
    named = {str(each.get("category")) for each in categories}
    given = {row["category"] for row in tables["imgutils/thresholds.csv"]}
    for category in sorted(used - named):
        yield {"file": "imgutils/categories.json", "category": category}
    for category in sorted(used - given):
        yield {"file": "imgutils/thresholds.csv", "category": category}
    expected = [*IMGUTILS_STEPS.get(str(fit), []), {"type": "maybe_to_tensor"}]
    for name in ("test", "val"):
        steps = transforms.get(name)
        if steps != expected:
            yield {"file": "imgutils/preprocess.json", "steps": name, "is": str(steps)}


def _imgutils_rows(tables: Tables) -> Iterator[Row]:
    """Yields rows that are not the next one known, or not as thresholds.csv has it."""
    file = "imgutils/selected_tags.csv"
    tags = {row["name"]: row for row in tables["thresholds.csv"]}
    alive = [row for row in tables["selected_tags.csv"] if not is_dead(row)]
    for place, (one, other) in enumerate(zip_longest(tables[file], alive)):
        if one is None or other is None or one["name"] != other["name"]:
            yield {"file": file, "row": place, "found": str(one), "not": str(other)}
        elif other["category"] != str(RATING) and one["name"] in tags:
            tag = tags[one["name"]]
            found = (one["category"], number(one["best_threshold"]))
            if found != (tag["category"], number(tag["threshold"])):
                yield {"file": file, "row": place, "found": str(found)}
