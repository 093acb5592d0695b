"""imgutils/: the tables of the form that dghs-imgutils reads.

`imgutils.generic.multilabel_timm_predict` has the site's own categories, a threshold
per tag, and the preparation of images as a list of steps.
"""

from typing import Any

import numpy as np

from e6tag import bundle
from pipeline.export.rows import Layout

RATING_NAME = "rating"

TAG_COLUMNS = ("id", "tag_id", "name", "category", "count", "best_threshold")
THRESHOLD_COLUMNS = ("category", "name", "threshold")


def known_rows(layout: Layout) -> np.ndarray:
    """Returns the rows of the bundle that are rows here: all that are known."""
    alive = [number for number, row in enumerate(layout.rows) if not row.is_dead]
    return np.array(alive, np.int64)


def tags_csv(layout: Layout) -> str:
    """Returns selected_tags.csv, in the order of the outputs."""
    tag_of_row = {tag.row: tag for tag in layout.tags}
    cells = []
    for number, bundle_row in enumerate(known_rows(layout).tolist()):
        row = layout.rows[bundle_row]
        category, threshold = row.category, _rating_threshold(layout)
        if bundle_row in tag_of_row:
            category = tag_of_row[bundle_row].category
            threshold = tag_of_row[bundle_row].threshold
        cells.append([number, row.tag_id, row.name, category, row.count, threshold])
    return bundle.to_csv(TAG_COLUMNS, cells)


def categories(layout: Layout) -> list[dict[str, Any]]:
    """Returns categories.json: numbers and names of the categories that occur."""
    names = bundle.CATEGORIES | {bundle.RATING_CATEGORY: RATING_NAME}
    return [{"category": number, "name": names[number]} for number in _used(layout)]


def thresholds_csv(layout: Layout) -> str:
    """Returns thresholds.csv: per category, the median of its tags' thresholds.

    It is for those who ask for no thresholds of single tags.
    """
    names = bundle.CATEGORIES | {bundle.RATING_CATEGORY: RATING_NAME}
    cells = []
    for number in _used(layout):
        own = [tag.threshold for tag in layout.tags if tag.category == number]
        threshold = _rating_threshold(layout)
        if own:
            threshold = round(float(np.median(own)), 6)
        cells.append([number, names[number], threshold])
    return bundle.to_csv(THRESHOLD_COLUMNS, cells)


def _rating_threshold(layout: Layout) -> float:
    """Returns what the most probable rating always reaches: an equal share."""
    known = sum(not row.is_dead for row in layout.rows[: len(bundle.RATINGS)])
    # A little less, for what float32 rounds.
    return round(1 / max(known, 1) - 1e-4, 4)


def _used(layout: Layout) -> list[int]:
    used = {tag.category for tag in layout.tags}
    if not all(row.is_dead for row in layout.rows[: len(bundle.RATINGS)]):
        used.add(bundle.RATING_CATEGORY)
    return sorted(used)


def transforms(fit: str) -> dict[str, Any]:
    """Returns preprocess.json: how an image becomes the model's input.

    fit: see e6tag.images.square.
    """
    size = [bundle.SIZE, bundle.SIZE]
    to_square: list[dict[str, Any]] = [
        {"type": "resize", "size": size, "interpolation": "lanczos"}
    ]
    if fit == "crop":
        to_square = [
            {"type": "resize", "size": bundle.SIZE, "interpolation": "lanczos"},
            {"type": "center_crop", "size": size},
        ]
    if fit == "pad":
        pad = {"type": "pad_to_size", "size": size, "background_color": "white"}
        to_square = [{**pad, "interpolation": "lanczos"}]
    steps = [*to_square, {"type": "maybe_to_tensor"}]
    return {"test": steps, "val": steps}
