"""What modelling label noise is worth on the sandbox, where the truth is known.

    python bench/label_noise.py none=DIR diagonal=DIR low_rank=DIR[,DIR...]

Each DIR is a data/evaluation of a model with this `train.noise`; several, separated by
commas, are the same choice with other seeds, and their mean is printed with the least
and the largest value. All must be of one sample of the drawn board. Of the test split:

macro mAP, given    against the labels that people typed, as `evaluate` measures it
macro mAP, true     against what is true of each image
error AUC           how well something ranks the wrong labels of a tag before its right
                    ones (mean over tags with both): the uncertainty, and beside it two
                    things that every model has, the entropy of its score and the
                    distance of the score from the label
rank correlation    Spearman's, of a tag's mean uncertainty and its share of wrong
                    labels, over the tags
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from pipeline.metrics import ranking
from sandbox.board.drawn import SandboxBoard

MEASURES = (
    "macro mAP, given",
    "macro mAP, true",
    "error AUC of the uncertainty",
    "error AUC of the score's entropy",
    "error AUC of the score's distance",
    "rank correlation over tags",
)


@dataclass(frozen=True, slots=True)
class TestSplit:
    """Test images, all arrays [images, tags]. uncertainty: None without label noise."""

    labels: np.ndarray
    truth: np.ndarray
    scores: np.ndarray
    uncertainty: np.ndarray | None


def main(arguments: Sequence[str]) -> None:
    """Prints the table."""
    if not arguments or any("=" not in argument for argument in arguments):
        sys.exit(__doc__)
    board = SandboxBoard()
    models = [_model(argument) for argument in arguments]
    names = " | ".join(name for name, _ in models)
    print(f"| measure | {names} |")
    print("|---" * (len(models) + 1) + "|")
    columns = [_measure_all(folders, board) for _, folders in models]
    _print_measures(columns)
    _, first_folders = models[0]
    _print_wrong_labels(read(first_folders[0], board))


def _model(argument: str) -> tuple[str, list[Path]]:
    """Returns the name and the folders of NAME=DIR,DIR..."""
    name, folders = argument.split("=", 1)
    return name, [Path(folder) for folder in folders.split(",")]


def _measure_all(folders: list[Path], board: SandboxBoard) -> list[dict[str, float]]:
    return [measure(read(folder, board)) for folder in folders]


def _print_measures(columns: list[list[dict[str, float]]]) -> None:
    """Prints a row for each measure. columns: what was measured of each model."""
    for name in MEASURES:
        cells = []
        for column in columns:
            values = [found[name] for found in column]
            cells.append(_cell(values))
        print(f"| {name} | " + " | ".join(cells) + " |")


def _print_wrong_labels(split: TestSplit) -> None:
    wrong = split.labels != split.truth
    missing = (wrong & (split.truth == 1)).sum()
    added = wrong.sum() - missing
    print()
    print(f"{len(wrong):,} test images, {wrong.mean():.2%} of their labels are wrong:")
    print(f"{missing:,} are missing, {added:,} should not be there")


def read(folder: Path, board: SandboxBoard) -> TestSplit:
    """Reads the test split of a data/evaluation, and what is true of its images."""
    names = pl.read_parquet(folder / "per_tag.parquet").sort("label_id")["name"]
    table = pl.read_parquet(folder / "predictions.parquet")
    table = table.filter(pl.col("split") == "test")
    shape = (table.height, len(names))
    labels = np.zeros(shape, np.uint8)
    truth = np.zeros(shape, np.uint8)
    columns = {name: number for number, name in enumerate(names)}
    rows = table.select("post_id", "label_ids").iter_rows()
    for number, (post_id, label_ids) in enumerate(rows):
        labels[number, label_ids] = 1
        for name in board.truth(post_id) & columns.keys():
            truth[number, columns[name]] = 1
    scores = _matrix(table, "scores")
    if scores is None:
        raise SystemExit(f"{folder}/predictions.parquet holds no scores")
    return TestSplit(labels, truth, scores, _matrix(table, "uncertainty"))


def _matrix(table: pl.DataFrame, column: str) -> np.ndarray | None:
    """Returns a column of lists as float64 [images, tags]; None where it is empty."""
    if column not in table.columns or table[column].null_count():
        return None
    return np.array(table[column].to_list(), np.float64)


def measure(split: TestSplit) -> dict[str, float]:
    """Returns every measure by its name; not a number where it cannot be had."""
    wrong = (split.labels != split.truth).astype(np.uint8)
    entropy = -np.abs(split.scores - 0.5)
    distance = np.abs(split.scores - split.labels)
    found = {
        "macro mAP, given": _macro_map(split.labels, split.scores),
        "macro mAP, true": _macro_map(split.truth, split.scores),
        "error AUC of the score's entropy": _macro_auc(wrong, entropy),
        "error AUC of the score's distance": _macro_auc(wrong, distance),
    }
    if split.uncertainty is None:
        nothing = dict.fromkeys(MEASURES, np.nan)
        return nothing | found
    correlation = spearmanr(split.uncertainty.mean(axis=0), wrong.mean(axis=0))
    found["error AUC of the uncertainty"] = _macro_auc(wrong, split.uncertainty)
    found["rank correlation over tags"] = float(correlation.statistic)
    return found


def _macro_map(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(np.nanmean(ranking.average_precision_per_tag(labels, scores)))


def _macro_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(np.nanmean(ranking.roc_auc_per_tag(labels, scores)))


def _cell(values: Sequence[float]) -> str:
    if np.isnan(values).all():
        return "-"
    mean = f"{np.mean(values):.3f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main(sys.argv[1:])
