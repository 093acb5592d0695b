"""Draws how images with the quirks of real uploads are read, beside what they show.

    python docs/image_cases.py      # in the project's folder

Reads       tests/cases/images/             files, and what every viewer shows of them
Writes      docs/images/image-cases.png     ours on the left, the right one beside it
            docs/pixels.md                  the table of differences
"""  # noqa: INP001 - a script, not a package

import re
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from e6tag import images
from tests.builders import image_cases
from tests.builders.image_cases import Case

HERE = Path(__file__).parent
SHEET = HERE / "images" / "image-cases.png"
PAGE = HERE / "pixels.md"
TABLE = re.compile(r"(?<=<!-- cases -->\n).*?(?=<!-- end of cases -->)", re.DOTALL)

SIDE, HEIGHT = 150, 100  # pixels of an image: all cases are upright 3 by 2
GAP = 6
LINE = 16  # pixels, of the text below
COLUMNS = 4  # pairs in a row
PAPER = (236, 236, 232)  # not white: what is transparent ends up white


def main() -> None:
    """Writes the sheet and the table."""
    cases = image_cases.load()
    sheet(cases).save(SHEET, optimize=True)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(table(cases), page), encoding="utf-8")


def table(cases: list[Case]) -> str:
    """Returns the mean difference of every case, of 255, as Markdown."""
    rows = [f"| `{case.name}` | {case.difference():.2f} |" for case in cases]
    return "\n".join(["| file | mean difference |", "|---|---|", *rows, ""])


def sheet(cases: list[Case]) -> Image.Image:
    """Returns the pairs of images, with their names and differences."""
    width = 2 * SIDE + 4 * GAP
    height = HEIGHT + LINE + 3 * GAP
    rows = -(-len(cases) // COLUMNS)
    paper = Image.new("RGB", (COLUMNS * width, rows * height), PAPER)
    for number, case in enumerate(cases):
        left, top = number % COLUMNS * width, number // COLUMNS * height
        paper.paste(_cell(case, (width, height)), (left, top))
    return paper


def _cell(case: Case, size: tuple[int, int]) -> Image.Image:
    cell = Image.new("RGB", size, PAPER)
    for place, shown in enumerate((images.decode(case.body), case.right.copy())):
        shown.thumbnail((SIDE, HEIGHT))
        cell.paste(shown, (GAP + place * (SIDE + GAP), GAP))
    text = f"{case.name}  {case.difference():.2f}"
    font = ImageFont.load_default(12)
    ImageDraw.Draw(cell).text(
        (GAP, HEIGHT + 2 * GAP), text, fill=(20, 20, 20), font=font
    )
    return cell


if __name__ == "__main__":
    main()
