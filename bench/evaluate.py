"""What `evaluate` costs behind the network: time, CPU time and memory, on made scores.

    python bench/evaluate.py [--images N] [--validation N] [--tags N] [--folder DIR]

Tags have the frequencies of a power law, 40 on an image; scores are those of a model
that is right more often than not. Everything of the stage is done but the network's
pass: calibration, thresholds, every metric with its interval, slices, implications,
curves, and all files. scikit-learn's two rankings of the same test split, and its
average precision of all pairs, are timed beside it on a few tags and scaled up.
"""

import argparse
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.evaluate import matrices, results
from pipeline.evaluate.case import ScoredSplit
from pipeline.evaluate.evaluators.implications import Implications
from pipeline.evaluate.evaluators.originals import Originals
from pipeline.evaluate.informed import Informed
from pipeline.evaluate.results import Inputs
from pipeline.metrics.tag_scores import TagScores, sparse_rows
from pipeline.params.evaluate import Evaluate

LABELS = 40  # on an image
SKLEARN_TAGS = 32
TRAIN_RECORDS = 20_000


def shares(tags: int) -> np.ndarray:
    """Returns the share of images of each tag, summing to LABELS."""
    falling = np.arange(1, tags + 1) ** -0.7
    return np.clip(falling / falling.sum() * LABELS, 1e-4, 0.9)


def made_split(
    name: str, images: int, tags: int, seed: int, folder: Path
) -> ScoredSplit:
    """Returns a split with logits, on disk, made a tag at a time."""
    random = np.random.default_rng(seed)
    logits = matrices.new(folder, tags, images)
    positives = []
    for tag, share in enumerate(shares(tags)):
        has_tag = random.random(images) < share
        centre = np.log(share / (1 - share))
        noise = random.normal(0, 1.5, images)
        logits[tag] = centre + noise + 4 * has_tag
        positives.append(np.flatnonzero(has_tag).astype(np.int32))
    md5s = [f"{number:032x}" for number in range(images)]
    return ScoredSplit(
        name=name,
        post_ids=random.permutation(images).astype(np.int64),
        md5s=md5s,
        scores=TagScores(sparse_rows(positives, images), logits),
        uncertainty=None,
        dark_shares=random.random(images) ** 4,
    )


def made_splits(asked: argparse.Namespace, folder: Path) -> dict[str, ScoredSplit]:
    """Returns both splits in the sizes asked for."""
    sizes = {"validation": asked.validation, "test": asked.images}
    splits = {}
    for seed, (name, images) in enumerate(sizes.items()):
        splits[name] = made_split(name, images, asked.tags, seed, folder)
    return splits


def made_facts(split: ScoredSplit) -> pl.DataFrame:
    """Returns ratings, years and sizes of the images."""
    random = np.random.default_rng(7)
    images = split.scores.images
    years = random.integers(2014, 2026, images)
    columns = {
        "post_id": split.post_ids,
        "rating": random.choice(["s", "q", "e"], images),
        "created_at": [datetime(year, 6, 21, tzinfo=UTC) for year in years],
        "width": random.integers(200, 1_000, images),
        "height": random.integers(200, 1_000, images),
    }
    return pl.DataFrame(columns)


def made_inputs(splits: dict[str, ScoredSplit], tags: int) -> Inputs:
    """Returns what the stage reads beside the scores; every fourth tag has a parent."""
    positives = np.maximum(shares(tags) * TRAIN_RECORDS, 1).astype(np.int64)
    facts = {name: made_facts(split) for name, split in splits.items()}
    train = made_train_records(tags)
    return Inputs(
        vocabulary=made_vocabulary(tags),
        positives=positives,
        records=TRAIN_RECORDS,
        facts=facts,
        informed=Informed.learn(train, positives / TRAIN_RECORDS),
        implications=made_implications(tags),
        fit="pad",
    )


def made_vocabulary(tags: int) -> pl.DataFrame:
    """Returns tags of one category."""
    names = [f"tag_{tag}" for tag in range(tags)]
    columns = {"label_id": range(tags), "name": names, "category": ["general"] * tags}
    return pl.DataFrame(columns, schema_overrides={"label_id": pl.Int32})


def made_train_records(tags: int) -> pl.DataFrame:
    """Returns ratings and labels of TRAIN_RECORDS images."""
    random = np.random.default_rng(9)
    lists = [np.unique(random.integers(0, tags, LABELS)) for _ in range(TRAIN_RECORDS)]
    ratings = random.choice(["s", "q", "e"], TRAIN_RECORDS)
    return pl.DataFrame({"rating": ratings, "label_ids": lists})


def made_implications(tags: int) -> Implications:
    """Returns implications of every fourth tag."""
    parents = {tag: [tag // 4] for tag in range(4, tags, 4)}
    children: dict[int, list[int]] = {}
    for child, (parent,) in parents.items():
        children.setdefault(parent, []).append(child)
    return Implications(parents, children)


def sklearn_seconds(scores: TagScores) -> float:
    """Returns the time of AUC and average precision of all tags, scaled from some."""
    started = time.monotonic()
    for tag in np.linspace(0, scores.tags - 1, SKLEARN_TAGS).astype(int):
        labels = np.zeros(scores.images, np.uint8)
        labels[scores.positive_images(tag)] = 1
        roc_auc_score(labels, scores.row(tag))
        average_precision_score(labels, scores.row(tag))
    return (time.monotonic() - started) / SKLEARN_TAGS * scores.tags


def peak_gigabytes() -> float:
    """Returns the peak memory of the process, with pages of its files."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Runs the stage behind the network once, and prints a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--validation", type=int, default=5_000)
    parser.add_argument("--tags", type=int, default=1_024)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        row = measured_row(asked, Path(place))
    print("| images | tags | seconds | CPU | peak GB | predictions GB | sklearn |")
    print(row)


def measured_row(asked: argparse.Namespace, folder: Path) -> str:
    """Runs the stage behind the network in a folder, and scikit-learn beside it."""
    params = Evaluate()
    splits = made_splits(asked, folder)
    inputs = made_inputs(splits, asked.tags)
    print(f"made: {peak_gigabytes():.1f} GB", file=sys.stderr)
    started = time.monotonic()
    started_cpu = time.process_time()
    calibrated = results.calibrate(params, splits)
    nothing = Originals(0, None, None)
    results.write(params, inputs, splits, calibrated, nothing, folder)
    seconds = time.monotonic() - started
    cpu = time.process_time() - started_cpu
    peak = peak_gigabytes()
    size = (folder / "predictions.parquet").stat().st_size / 1e9
    others = sklearn_seconds(splits["test"].scores)
    return (
        f"| {asked.images:,} | {asked.tags:,} | {seconds:.1f} | {cpu:.1f} | "
        f"{peak:.2f} | {size:.2f} | {others:.1f} |"
    )


if __name__ == "__main__":
    main()
