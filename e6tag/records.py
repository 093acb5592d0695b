"""What is written of an image, in each form: text, JSON, CSV, a list of tags."""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from e6tag.inputs import Input
from e6tag.selection import Answer, SelectedTag
from e6tag.tag_names import Spelling

UNKNOWN = "unknown"
"""The rating of a bundle that knows none, where there must be a word."""

RATING = "rating"
"""What stands before a rating in lists of tags, and in CSV the category of its row."""

CSV_COLUMNS = ("path", "category", "tag", "score")

DIGITS = 4
"""Of scores, similarities and heat maps behind the point; more is noise."""


@dataclass(frozen=True, slots=True)
class Record:
    """An image and its answer. note: see Inferred.

    People read the image's name, as it was given or found; programs its place, which
    means the same in every folder.
    """

    source: Input
    answer: Answer
    note: str | None = None


def to_json(record: Record, spelling: Spelling) -> dict[str, Any]:
    """Returns a record as JSON has it."""
    answer = record.answer
    ratings = {name: round(score, DIGITS) for name, score in answer.ratings.items()}
    content: dict[str, Any] = {
        "path": record.source.place,
        "rating": answer.rating,
        "ratings": ratings,
        "tags": [tag_json(tag, spelling) for tag in answer.tags],
    }
    if record.note is not None:
        content["note"] = record.note
    return content


def tag_json(tag: SelectedTag, spelling: Spelling) -> dict[str, Any]:
    """Returns a tag as JSON has it: always the same keys, null for what is unknown."""
    return {
        "name": spelling.write(tag.name),
        "category": tag.category,
        "score": round(tag.score, DIGITS),
        "threshold": _rounded(tag.threshold),
        "uncertainty": _rounded(tag.uncertainty),
        "is_implied": tag.is_implied,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DIGITS)


def json_line(record: Record, spelling: Spelling) -> bytes:
    """Returns a record as a line of JSON."""
    return encode_json(to_json(record, spelling))


def json_text(record: Record, spelling: Spelling) -> bytes:
    """Returns a record as JSON that people can read."""
    return encode_json(to_json(record, spelling), indent=2)


def encode_json(content: dict[str, Any], *, indent: int | None = None) -> bytes:
    r"""Returns JSON with a line break at its end.

    What is no UTF-8 in the name of a file becomes an escape, such as \udcff.
    """
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    return f"{text}\n".encode(errors="backslashreplace")


def csv_rows(record: Record, spelling: Spelling) -> bytes:
    """Returns a record as rows of CSV_COLUMNS: the tags, then the rating.

    Every image has a rating, so its row says that the rows before it are all there.
    """
    answer = record.answer
    place = record.source.place
    rows = []
    for tag in answer.tags:
        written = spelling.write(tag.name)
        rows.append([place, tag.category or "", written, _score(tag.score)])
    if answer.rating is None:
        rows.append([place, RATING, UNKNOWN, ""])
    else:
        score = answer.ratings[answer.rating]
        rows.append([place, RATING, answer.rating, _score(score)])
    return to_csv(rows)


def to_csv(rows: list[list[str]]) -> bytes:
    """Returns rows as CSV."""
    lines = []
    for row in rows:
        text = io.StringIO()
        # Python 3.11 quotes no other line breaks than those that end its rows.
        csv.writer(text, lineterminator="\r\n").writerow(row)
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines).encode(errors="surrogateescape")


CSV_HEADER = to_csv([list(CSV_COLUMNS)])


def text_block(record: Record, spelling: Spelling) -> bytes:
    """Returns a record for people: a line with its name, and below it a line a tag."""
    answer = record.answer
    lines = [printable(record.source.name)]
    if record.note is not None:
        lines.append(f"  note: {record.note}")
    lines.append(f"  {RATING}: {_rating(answer)}")
    for tag in answer.tags:
        mark = " (implied)" if tag.is_implied else ""
        lines.append(f"  {tag.score:.3f}  {spelling.write(tag.name)}{mark}")
    return "\n".join([*lines, ""]).encode()


def _rating(answer: Answer) -> str:
    if answer.rating is None:
        return UNKNOWN
    return f"{answer.rating} {answer.ratings[answer.rating]:.3f}"


def _score(score: float) -> str:
    return f"{score:.{DIGITS}f}"


def tag_list(record: Record, spelling: Spelling, *, has_rating: bool) -> list[str]:
    """Returns the tags as a list of captions has them, the rating last.

    Without a rating where it is unknown: what reads such lists would learn the word.
    """
    tags = [spelling.write(tag.name) for tag in record.answer.tags]
    if has_rating and record.answer.rating is not None:
        tags.append(f"{RATING}:{record.answer.rating}")
    return tags


def printable(name: str) -> str:
    """Returns the name of a file for people: what is not printable as an escape.

    A name may hold line breaks and what terminals take for commands.
    """
    shown = [one if one.isprintable() else ascii(one)[1:-1] for one in name]
    return "".join(shown)


def counted(count: int, noun: str) -> str:
    """Returns a number and a noun with a regular plural: 1 image, 1,000 images."""
    ending = "" if count == 1 else "s"
    return f"{count:,} {noun}{ending}"
