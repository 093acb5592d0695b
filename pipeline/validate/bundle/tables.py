"""Rules of the tables of a bundle itself: rows, thresholds, implications, renamings."""

from collections.abc import Iterator
from itertools import zip_longest

import polars as pl

from e6tag import bundle as bundle_format
from pipeline.validate.bundle import csv_files
from pipeline.validate.bundle.contents import BundleContents
from pipeline.validate.bundle.csv_files import number
from pipeline.validate.checks import Check, no_findings
from pipeline.validate.violations import Row

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


def checks(bundle: BundleContents) -> Iterator[Check]:
    """Checks the tables of the bundle itself."""
    tables, rows, vocabulary = bundle.tables, bundle.rows, bundle.vocabulary
    yield no_findings(
        "columns_differ",
        tables.wrong,
        len(csv_files.COLUMNS),
        "every CSV file has its columns, and every row all of them",
    )
    yield no_findings(
        "rating_misplaced",
        _misplaced_ratings(rows),
        len(rows),
        "the first four rows, and no other, are the ratings: general, sensitive, "
        "questionable, explicit",
    )
    yield no_findings(
        "category_misordered",
        _misordered_categories(rows),
        len(rows),
        "behind the ratings are tags (0), then one character or more (4)",
    )
    yield no_findings(
        "dead_row",
        _wrong_dead_rows(rows),
        len(rows),
        "only ratings and a single character row stand for nothing, and count nothing",
    )
    yield no_findings(
        "tag_differs",
        _differing_tags(rows, vocabulary),
        vocabulary.height,
        "selected_tags.csv has the tags of the vocabulary, in its order, characters "
        "last",
    )
    yield no_findings(
        "threshold_missing",
        _differing_thresholds(tables[bundle_format.TAGS], vocabulary),
        vocabulary.height,
        "thresholds.csv has the category and a threshold from 0 to 1 per tag, in the "
        "order of the rows",
    )
    implications = tables[bundle_format.IMPLICATIONS]
    yield no_findings(
        "implication_unrelated",
        _unrelated_implications(implications, vocabulary["name"].to_list()),
        len(implications),
        "every implication is of a tag, or of what one implies, and none is of itself",
    )
    renamed = tables[bundle_format.RENAMED]
    yield no_findings(
        "renaming",
        _wrong_renamings(renamed),
        len(renamed),
        "every renamed tag has one new name, which is another",
    )


def _misplaced_ratings(rows: list[Row]) -> Iterator[Row]:
    """Yields where the first four rows are not the ratings, or another one is one."""
    for place, name in enumerate(RATINGS):
        row = rows[place] if place < len(rows) else {"name": None, "category": None}
        if (row["name"], row["category"]) != (name, str(RATING)):
            found = {"name": row["name"], "category": row["category"]}
            yield {"row": place, **found, "expected": name}
    for place, row in enumerate(rows[len(RATINGS) :], len(RATINGS)):
        if row["category"] == str(RATING):
            yield {"row": place, "name": row["name"], "category": RATING}


def _misordered_categories(rows: list[Row]) -> Iterator[Row]:
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


def _wrong_dead_rows(rows: list[Row]) -> Iterator[Row]:
    """Yields dead rows but ratings and an only character, and those that count."""
    characters = [row for row in rows if row["category"] == str(CHARACTER)]
    for place, row in enumerate(rows):
        if not is_dead(row):
            continue
        stands_alone = row["category"] == str(CHARACTER) and len(characters) == 1
        is_allowed = row["category"] == str(RATING) or stands_alone
        if not is_allowed or row["count"] != "0":
            yield {"row": place, "name": row["name"], "count": row["count"]}


def is_dead(row: Row) -> bool:
    """Returns whether a row of selected_tags.csv stands for nothing."""
    return number(row["tag_id"]) < 0


def _differing_tags(rows: list[Row], vocabulary: pl.DataFrame) -> Iterator[Row]:
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


def _differing_thresholds(rows: list[Row], vocabulary: pl.DataFrame) -> Iterator[Row]:
    """Yields tags without a threshold from 0 to 1, or of another category or order."""
    expected = []
    for name, category in vocabulary.select("name", "category").iter_rows():
        expected.append((name, str(SITE_CATEGORIES.index(category))))
    valid = [row for row in rows if 0 <= number(row["threshold"]) <= 1]
    found = [(row["name"], row["category"]) for row in valid]
    for place, (one, other) in enumerate(zip_longest(found, expected)):
        if one != other:
            yield {"row": place, "found": str(one), "vocabulary": str(other)}


def _unrelated_implications(rows: list[Row], names: list[str]) -> Iterator[Row]:
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


def _wrong_renamings(rows: list[Row]) -> Iterator[Row]:
    """Yields tags that have their own name as the new one, or two new ones."""
    seen = set()
    for row in rows:
        if row["old"] == row["new"] or row["old"] in seen:
            yield {"old": row["old"], "new": row["new"]}
        seen.add(row["old"])
