"""Rules of what the taggers answer to a few images.

What a bundle promises is written here once more, and not taken from e6tag.bundle: the
gate checks that too.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from e6tag import bundle as bundle_format
from pipeline.validate.bundle import csv_files, model_form, tables
from pipeline.validate.bundle.contents import BundleContents
from pipeline.validate.bundle.model_form import SIZE
from pipeline.validate.bundle.onnx_files import TAGGERS, OnnxFile
from pipeline.validate.checks import Check, no_findings
from pipeline.validate.violations import Row

FLAT = 0.35
FLAT_CHARACTER = 0.85

# Scores nearer to 0 or 1 have lost the digits of their logits.
_NEAREST = 1e-5
# By which ONNX Runtime's sigmoid is off, at most.
_SIGMOID_ERROR = 2e-7
# In logits.
_TOLERANCE = 1e-3

IMAGES = 16


def checks(bundle: BundleContents) -> Iterator[Check]:
    """Checks what the taggers answer to some images."""
    answers, dead, folded = _answers(bundle)
    yield no_findings(
        "answer",
        answers,
        len(TAGGERS),
        "outputs are from 0 to 1 for any image, in batches",
    )
    yield no_findings(
        "dead_row_answers",
        dead,
        len(TAGGERS),
        "rows that stand for nothing are 0 in all outputs",
    )
    yield no_findings(
        "threshold_folding",
        folded,
        bundle.vocabulary.height,
        "output is scores, with thresholds folded in where preprocessing.json says so",
    )


def _answers(bundle: BundleContents) -> tuple[list[Row], list[Row], list[Row]]:
    """Runs the taggers, but for files whose form is wrong.

    Returns outputs that are not from 0 to 1, those that are not 0 in rows that stand
    for nothing, and rows whose thresholds are not folded in.
    """
    outside: list[Row] = []
    dead: list[Row] = []
    folded: list[Row] = []
    rows = bundle.rows
    is_dead = np.array([tables.is_dead(row) for row in rows], dtype=bool)
    images = _some_images()
    for name in TAGGERS:
        model = bundle.models.get(name)
        if model is None or any(model_form.tagger_problems(model, len(rows))):
            continue
        try:
            answers = model.run({bundle_format.INPUT: images})
        # ONNX Runtime's own errors have no common base.
        except Exception as error:  # noqa: BLE001
            text = " ".join(str(error).split())[:150]
            outside.append({"file": name, "error": text})
            continue
        for problem in _answer_problems(model, answers, is_dead):
            if problem["is"] == "not 0":
                dead.append(problem)
            else:
                outside.append(problem)
        if name == bundle_format.MODEL:
            folded = list(_folding(bundle, answers))
    return outside, dead, folded


def _folding(
    bundle: BundleContents, answers: dict[str, np.ndarray]
) -> Iterator[dict[str, Any]]:
    rows = {row["name"]: number for number, row in enumerate(bundle.rows)}
    thresholds = {}
    for tag in bundle.tables[bundle_format.TAGS]:
        if tag["name"] in rows:
            row = rows[tag["name"]]
            thresholds[row] = csv_files.number(tag["threshold"])
    categories = [csv_files.number(row["category"]) for row in bundle.rows]
    is_folded = bundle.preprocessing.get("folded_thresholds") is True
    return _folding_problems(answers, thresholds, categories, is_folded=is_folded)


def _some_images() -> np.ndarray:
    """Returns a batch of IMAGES, float32 [n, 448, 448, 3]: white, black, blocks, noise.

    Blocks are of 7 to 448 pixels and of random colours, the same in each run.
    """
    random = np.random.default_rng(0)
    images = [np.full((SIZE, SIZE, 3), 255.0), np.zeros((SIZE, SIZE, 3))]
    images.append(random.uniform(0, 255, (SIZE, SIZE, 3)))
    blocks = itertools.cycle([1, 2, 4, 8, 16, 32, 64])
    while len(images) < IMAGES:
        count = next(blocks)
        colours = random.integers(0, 256, (count, count, 3))
        side = SIZE // count
        images.append(colours.repeat(side, axis=0).repeat(side, axis=1))
    return np.stack(images).astype(np.float32)


def _answer_problems(
    model: OnnxFile, answers: Mapping[str, np.ndarray], is_dead: np.ndarray
) -> Iterator[Row]:
    """Yields rows that are no probability, or are not 0 though they stand for nothing.

    answers: of `_some_images`; is_dead: bool [rows].
    """
    for name in ("output", "scores"):
        values = answers[name]
        for row in np.flatnonzero(~((values >= 0) & (values <= 1)).all(axis=0)):
            found = {"file": model.name, "output": name, "row": int(row)}
            yield {**found, "is": "not from 0 to 1"}
        for row in np.flatnonzero(is_dead & (values != 0).any(axis=0)):
            yield {"file": model.name, "output": name, "row": int(row), "is": "not 0"}


def _folding_problems(
    answers: Mapping[str, np.ndarray],
    thresholds: Mapping[int, float],
    categories: list[float],
    *,
    is_folded: bool,
) -> Iterator[Row]:
    """Yields rows whose `output` is not `scores` with the threshold folded in.

    thresholds: by row; categories: of all rows.
    """
    for row, threshold in thresholds.items():
        if is_folded and not 0 < threshold < 1:
            continue
        moved, error = 0.0, 0.0
        if is_folded:
            flat = FLAT_CHARACTER if categories[row] == tables.CHARACTER else FLAT
            moved = _logit(flat) - _logit(threshold)
            # What the margin of the export may add.
            error = min(_error_in_logits(threshold), 2.0)
        scores = answers["scores"][:, row].astype(np.float64)
        output = answers["output"][:, row].astype(np.float64)
        excess = _excess(scores, output, moved) - error
        if excess.size and excess.max() > _TOLERANCE:
            yield {"row": row, "threshold": threshold, "apart": float(excess.max())}


def _excess(scores: np.ndarray, output: np.ndarray, moved: float) -> np.ndarray:
    """Returns by how much logits differ beyond what rounding explains.

    Only of images whose probabilities still have the digits of their logits. moved:
    what the logits of `output` should have more than those of `scores`.
    """
    is_known = np.minimum(_inside(scores), _inside(output)) > _NEAREST
    scores, output = scores[is_known], output[is_known]
    differences = np.abs(_logit(output) - _logit(scores) - moved)
    rounding = _error_in_logits(scores) + _error_in_logits(output)
    return np.asarray(differences - rounding)


def _inside(probability: Any) -> Any:
    """Returns the distance from 0 or 1, whichever is nearer."""
    return np.minimum(probability, 1 - probability)


def _error_in_logits(probability: Any) -> Any:
    return _SIGMOID_ERROR / (probability * (1 - probability))


def _logit(probability: Any) -> Any:
    return np.log(probability / (1 - probability))
