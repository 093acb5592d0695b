"""What mining finds on the sandbox, where the truth is known.

    python bench/mining.py PROJECT [EVALUATION_BEFORE EVALUATION_AFTER]

PROJECT is a folder with a finished run of the drawn board, `mine` included. Printed are
the precision of its proposals; what other scores would find, all turned into
probabilities by the curve of the stage; and what other estimators say of the share of
missing labels. With cleanlab on the path (it is not in requirements.lock) it is one of
them. The two evaluations are data/evaluation folders of two trainings, without and with
an overlay: their macro mAP is measured against the truth.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from pipeline.mine import estimates, histograms, labels, predict, regression
from pipeline.mine.estimates import Estimates
from pipeline.mine.labels import Labels
from pipeline.params.mine import Mine
from pipeline.paths import Paths
from sandbox.board.drawn import SandboxBoard

FIRST = (100, 300, 1_000, 2_000)  # proposals of which the precision is printed
NEIGHBOURS = 50
BANDS = ((0.9, 1.01), (0.7, 0.9), (0.5, 0.7), (0.3, 0.5), (0.1, 0.3))

Matrix = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """The records of a run; arrays [records, tags of the vocabulary]."""

    labels: Labels
    features: NDArray[np.float32]
    logits: Matrix
    given: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    fold: NDArray[np.int64]

    @property
    def missing_share(self) -> NDArray[np.float64]:
        """The share of the labels that are missing, of those that are true, by tag."""
        missing = (self.truth & ~self.given).sum(axis=0)
        return missing / np.maximum(self.truth.sum(axis=0), 1)


def main(arguments: Sequence[str]) -> None:
    """Prints the tables."""
    if len(arguments) not in (1, 3):
        sys.exit(__doc__)
    paths = Paths(Path(arguments[0]))
    board = SandboxBoard()
    _print_proposals(paths, board)
    run = read(paths, board)
    with threadpool_limits(1, user_api="blas"):
        _print_scores(run)
        _print_shares(run, paths)
    if len(arguments) == 3:
        _print_round(arguments[1:], board)


def read(paths: Paths, board: SandboxBoard) -> Run:
    """Predicts the records of a run."""
    outputs = predict(paths)
    # Only the vocabulary: the truth of rare tags is measured on the proposals.
    known = labels.read(Mine(max_rare_tags=0), paths, outputs.post_ids)
    truth = np.zeros(known.given.shape, bool)
    columns = {name: number for number, name in enumerate(known.names)}
    for row, post_id in enumerate(outputs.post_ids.tolist()):
        for name in board.truth(post_id) & columns.keys():
            truth[row, columns[name]] = True
    return Run(
        labels=known,
        features=np.asarray(outputs.features),
        logits=np.asarray(outputs.logits, np.float64),
        given=known.given.toarray() > 0,
        truth=truth,
        fold=regression.folds_of(known, Mine().folds, Mine().seed),
    )


def _print_proposals(paths: Paths, board: SandboxBoard) -> None:
    rows = pl.read_parquet(paths.mining / "proposals.parquet")
    right = []
    for post_id, tag, kind in rows.select("post_id", "tag", "kind").iter_rows():
        right.append((tag in board.truth(post_id)) != (kind == "wrong"))
    rows = rows.with_columns(right=pl.Series(right))
    print("| proposals | rows | right | mean probability |\n|---|---|---|---|")
    for count in FIRST:
        _print_part(f"first {count:,}", rows.head(count))
    for kind in ("missing", "wrong", "rare"):
        _print_part(kind, rows.filter(kind=kind))
        _print_part(f"{kind}, in the first 1,000", rows.head(1_000).filter(kind=kind))
    print()


def _print_part(name: str, rows: pl.DataFrame) -> None:
    if rows.height:
        right = rows["right"].to_numpy().mean()
        probability = rows["probability"].to_numpy().mean()
        print(f"| {name} | {rows.height:,} | {right:.3f} | {probability:.3f} |")


def _out_of_fold(run: Run, predict: Callable[[Rows, Rows], Matrix]) -> Matrix:
    """Returns scores of each fold by what `predict` learns of the others."""
    scores = np.zeros(run.given.shape)
    for fold in range(int(run.fold.max()) + 1):
        inside = np.flatnonzero(run.fold == fold)
        outside = np.flatnonzero(run.fold != fold)
        scores[inside] = predict(outside, inside)
    return scores


def _standard(run: Run) -> Matrix:
    features = run.features.astype(np.float64)
    return (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)


def neighbours(run: Run) -> Matrix:
    """The share of the nearest NEIGHBOURS by cosine that have the label."""
    features = _standard(run)

    def predict(outside: Rows, inside: Rows) -> Matrix:
        search = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine")
        search.fit(features[outside])
        near = search.kneighbors(features[inside], return_distance=False)
        return run.given[outside][near].mean(axis=1)

    return _out_of_fold(run, predict)


def logistic(run: Run) -> Matrix:
    """Logits of a logistic regression per tag on the features."""
    features = _standard(run)

    def predict(outside: Rows, inside: Rows) -> Matrix:
        columns = []
        for column in range(run.given.shape[1]):
            model = LogisticRegression(C=0.01, max_iter=200)
            model.fit(features[outside], run.given[outside, column])
            columns.append(model.decision_function(features[inside]))
        return np.stack(columns, axis=1)

    return _out_of_fold(run, predict)


def on_features(run: Run) -> Matrix:
    """The stage's regression without the other labels."""
    features = np.concatenate([np.ones((len(run.fold), 1)), _standard(run)], axis=1)
    penalty = regression.RIDGE * np.eye(features.shape[1])

    def predict(outside: Rows, inside: Rows) -> Matrix:
        x, y = features[outside], run.given[outside]
        weights = np.linalg.solve(x.T @ x + penalty, x.T @ y)
        return features[inside] @ weights

    return _out_of_fold(run, predict)


def on_features_and_labels(run: Run) -> Matrix:
    """The stage's regression."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.npy"
        found = regression.score(run.features, run.labels, run.fold, path)
        return np.asarray(found, np.float64)


SCORES: dict[str, Callable[[Run], Matrix]] = {
    "network, as trained": lambda run: run.logits,
    f"{NEIGHBOURS} nearest neighbours": neighbours,
    "logistic regression on features": logistic,
    "linear regression on features": on_features,
    "linear regression on features and other labels (the stage)": (
        on_features_and_labels
    ),
}


def probabilities(run: Run, scores: Matrix) -> tuple[Estimates, Matrix]:
    """Returns the curves of scores, and how likely each label is wrong or missing."""
    counted = histograms.count(scores.astype(np.float16), run.labels)
    found = estimates.estimate(counted, run.given.shape[1])
    bins = counted.bins(scores.astype(np.float16))
    part = histograms.parts_of(run.labels)[:, None]
    columns = np.arange(scores.shape[1])
    missing = found.missing[part, columns, bins]
    wrong = found.wrong[part, columns, bins]
    return found, np.where(run.given, wrong, missing).astype(np.float64)


def _print_scores(run: Run) -> None:
    is_error = run.given != run.truth
    _print_counts(run)
    heads = " | ".join(f"right of {count:,}" for count in FIRST)
    print(f"| score | true AP | {heads} | found by 1,000 | rank of shares | error |")
    print("|---" * (len(FIRST) + 5) + "|")
    for name, scored in SCORES.items():
        scores = scored(run)
        found, probability = probabilities(run, scores)
        cells = _score_cells(run, scores, found, _by_probability(is_error, probability))
        print(f"| {name} | {' | '.join(cells)} |")
    # Of the stage, which is the last.
    _print_bands(probability, is_error)


def _print_counts(run: Run) -> None:
    missing = int((run.truth & ~run.given).sum())
    wrong = int((run.given & ~run.truth).sum())
    print(
        f"{len(run.fold):,} records, {run.given.shape[1]} tags: {missing:,} labels are "
        f"missing, {wrong:,} are wrong\n"
    )


def _by_probability(
    is_error: NDArray[np.bool_], probability: Matrix
) -> NDArray[np.bool_]:
    """Returns whether each label is an error, the likeliest errors first."""
    order = np.argsort(-probability.ravel(), kind="stable")
    return is_error.ravel()[order]


def _score_cells(
    run: Run, scores: Matrix, found: Estimates, ordered: NDArray[np.bool_]
) -> list[str]:
    """Returns what one score is worth. ordered: as `_by_probability` returns it."""
    precision = average_precision_score(run.truth, scores, average="macro")
    recall = ordered[:1_000].sum() / ordered.sum()
    shares = _shares(found)
    cells = [f"{precision:.3f}"]
    cells += [f"{ordered[:count].mean():.3f}" for count in FIRST]
    cells += [f"{recall:.3f}", f"{_rank(shares, run):.2f}"]
    cells.append(f"{_error(shares, run):.3f}")
    return cells


def _print_bands(probability: Matrix, is_error: NDArray[np.bool_]) -> None:
    """Prints how many labels of each band of probability are errors."""
    print("\n| probability | labels | mean probability | right |\n|---|---|---|---|")
    for low, high in BANDS:
        chosen = (probability >= low) & (probability < high)
        print(
            f"| {low} to {min(high, 1)} | {int(chosen.sum()):,} | "
            f"{probability[chosen].mean():.3f} | {is_error[chosen].mean():.3f} |"
        )
    print()


def _shares(found: Estimates) -> NDArray[np.float64]:
    shares = np.full(len(found.curves), np.nan)
    for column, curve in enumerate(found.curves):
        if curve is not None:
            shares[column] = curve.missing
    return shares


def _rank(shares: NDArray[np.float64], run: Run) -> float:
    known = np.isfinite(shares)
    return float(spearmanr(shares[known], run.missing_share[known]).statistic)


def _error(shares: NDArray[np.float64], run: Run) -> float:
    return float(np.nanmean(np.abs(shares - run.missing_share)))


def _print_shares(run: Run, paths: Paths) -> None:
    found = _estimated_shares(run, paths)
    print("| share of missing labels | rank correlation | mean error | bias |")
    print("|---|---|---|---|")
    for name, shares in found.items():
        bias = np.nanmean(shares - run.missing_share)
        print(
            f"| {name} | {_rank(shares, run):.2f} | {_error(shares, run):.3f} | "
            f"{bias:+.3f} |"
        )


def _estimated_shares(run: Run, paths: Paths) -> dict[str, NDArray[np.float64]]:
    """Returns the share of missing labels of each tag, by the estimator."""
    scores = on_features_and_labels(run)
    found = {"the stage": _of_the_stage(run, paths)}
    counted = histograms.count(scores.astype(np.float16), run.labels)
    columns = range(run.given.shape[1])
    for part, name in enumerate(("training records", "other records")):
        curves = [estimates.fit_column(counted, column, part) for column in columns]
        shares = [curve.missing for curve in curves]
        found[f"the curve alone, {name}"] = np.array(shares)
    calibrated = _calibrated(run, scores)
    elkan_noto = _elkan_noto(run, calibrated)
    found["Elkan and Noto: 1 - mean probability of positives"] = elkan_noto
    confident = _confident(run, calibrated)
    found["confident counts: negatives above the mean positive"] = confident
    if importlib.util.find_spec("cleanlab") is not None:
        found["cleanlab: confident joint"] = _cleanlab(run, calibrated)
    return found


def _of_the_stage(run: Run, paths: Paths) -> NDArray[np.float64]:
    noise = pl.read_parquet(paths.mining / "label_noise.parquet").sort("label_id")
    low = noise["missing_low"].to_numpy()
    high = noise["missing_high"].to_numpy()
    inside = (low <= run.missing_share) & (run.missing_share <= high)
    print(f"{inside.mean():.0%} of the stage's 95 % intervals hold the true share\n")
    return noise["missing_share"].to_numpy().astype(np.float64)


def _calibrated(run: Run, scores: Matrix) -> Matrix:
    """Returns the probability of the given label, a logistic curve of each score."""
    columns = []
    for column in range(scores.shape[1]):
        model = LogisticRegression(C=1e3)
        values = scores[:, [column]]
        model.fit(values, run.given[:, column])
        columns.append(model.predict_proba(values)[:, 1])
    return np.stack(columns, axis=1)


def _elkan_noto(run: Run, calibrated: Matrix) -> NDArray[np.float64]:
    positives = run.given.sum(axis=0)
    return 1 - (calibrated * run.given).sum(axis=0) / positives


def _confident(run: Run, calibrated: Matrix) -> NDArray[np.float64]:
    threshold = (calibrated * run.given).sum(axis=0) / run.given.sum(axis=0)
    above = calibrated >= threshold
    missing = (above & ~run.given).sum(axis=0)
    return missing / (missing + (above & run.given).sum(axis=0))


def _cleanlab(run: Run, calibrated: Matrix) -> NDArray[np.float64]:
    from cleanlab.count import compute_confident_joint

    shares = []
    for column in range(calibrated.shape[1]):
        probability = calibrated[:, column]
        both = np.stack([1 - probability, probability], axis=1)
        joint = compute_confident_joint(run.given[:, column].astype(int), both)
        shares.append(joint[0, 1] / max(1, joint[0, 1] + joint[1, 1]))
    return np.array(shares)


def _print_round(folders: Sequence[str], board: SandboxBoard) -> None:
    """Prints macro mAP on the test split against the truth, before and after."""
    from bench.label_noise import MEASURES, measure
    from bench.label_noise import read as read_test_split

    found = [measure(read_test_split(Path(folder), board)) for folder in folders]
    print("\n| measure | before | after |\n|---|---|---|")
    for name in MEASURES[:2]:
        print(f"| {name} | {found[0][name]:.4f} | {found[1][name]:.4f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
