"""What a bundle is worth through the programs of others, on original files.

    python bench/clients.py [--images 1000]

Run it in a project's folder, after `dvc repro` and `make clients`. The same test images
go through Keras (data/evaluation), through the tagger of e6tag, and through each
program, which reads and resizes them in its own way. Prints a table.
"""

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from e6tag import tagger
from pipeline import originals, parquet
from pipeline.metrics import ranking, thresholded
from pipeline.paths import Paths

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / "tests" / "clients" / "programs"
ENVIRONMENTS = Path(os.environ.get("E6TAG_CLIENTS", ROOT / ".clients"))

CLIENTS = {
    "szurubooru-toolkit": "szurubooru.py",
    "dghs-imgutils": "imgutils_timm.py",
    "deepdanbooru": "deepdanbooru_scores.py",
}


def main() -> None:
    """Prints a row for each program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000)
    limit = parser.parse_args().images
    paths = Paths()
    test = TestImages.read(paths, limit)
    metrics = json.loads((paths.evaluation / "metrics.json").read_text())
    print(f"{len(test.md5s):,} test images; evaluation: {metrics['originals']}\n")
    print("| program | images | macro mAP | e6tag's | macro F1 | decided as e6tag |")
    print("|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as temporary:
        compare(paths, test, Path(temporary))


@dataclass(frozen=True)
class TestImages:
    """Test images with labels, uint8 [images, tags], and the names of the tags."""

    md5s: list[str]
    labels: np.ndarray
    tags: list[str]

    @classmethod
    def read(cls, paths: Paths, limit: int) -> "TestImages":
        """Chooses the images as evaluate does."""
        predictions = parquet.read(paths.evaluation / "predictions.parquet")
        test = predictions.filter(split="test")
        chosen = originals.choose(test["md5"].to_list(), limit)
        vocabulary = parquet.read(paths.sample / "vocabulary.parquet").sort("label_id")
        labels = np.zeros((len(chosen), vocabulary.height), np.uint8)
        for row, place in enumerate(chosen):
            labels[row, test["label_ids"][place].to_list()] = 1
        md5s = [test["md5"][place] for place in chosen]
        return cls(md5s, labels, vocabulary["name"].to_list())


def compare(paths: Paths, test: TestImages, temporary: Path) -> None:
    """Prints the rows, of image files in a temporary folder."""
    folder = temporary / "images"
    write_originals(paths, test, folder)
    own_scores, own = ask_tagger(tagger.Tagger(paths.bundle), test, folder)
    show("e6tag", test, own_scores, own, own, own_scores)
    for environment, script in CLIENTS.items():
        command = [PROGRAMS / script, paths.bundle, folder]
        if "imgutils" in script:
            command.append(temporary / "cache")
        scores, applied = ask(environment, command, test)
        show(environment, test, scores, applied, own, own_scores)


def write_originals(paths: Paths, test: TestImages, folder: Path) -> None:
    """Writes the image files into a new folder, named by their hashes."""
    folder.mkdir()
    for places, bodies in originals.read(paths, "test", test.md5s):
        for place, body in zip(places, bodies, strict=True):
            (folder / test.md5s[place]).write_bytes(body)


def ask_tagger(
    opened: tagger.Tagger, test: TestImages, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of the tagger, and which tags apply."""
    numbers = {tag.name: number for number, tag in enumerate(opened.bundle.tags)}
    order = [numbers[name] for name in test.tags]
    scores = np.empty(test.labels.shape)
    for row, md5 in enumerate(test.md5s):
        pixels = opened.prepare((folder / md5).read_bytes())
        scores[row] = opened.run(pixels[None]).scores[0][order]
    return scores, scores >= opened.thresholds[order]


def ask(
    environment: str, command: list[Path], test: TestImages
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of another program, and which tags it finds."""
    python = ENVIRONMENTS / environment / "bin" / "python"
    variables = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [python, *command], capture_output=True, text=True, check=True, env=variables
    )
    found = json.loads(done.stdout.splitlines()[-1])
    scores = np.full(test.labels.shape, np.nan)
    applied = np.zeros(test.labels.shape, bool)
    for row, md5 in enumerate(test.md5s):
        answer = found.get(md5)
        if answer is None:
            continue
        scores[row] = [answer["scores"][tag] for tag in test.tags]
        applied[row] = [tag in answer["tags"] for tag in test.tags]
    return scores, applied


def show(
    program: str,
    test: TestImages,
    scores: np.ndarray,
    applied: np.ndarray,
    own: np.ndarray,
    own_scores: np.ndarray,
) -> None:
    """Prints a row of the table, of the images that the program could read.

    own, own_scores: which tags the tagger of e6tag applies, and their scores.
    """
    read = ~np.isnan(scores).any(axis=1)
    labels = test.labels[read]
    precision = ranking.mean(ranking.average_precision_per_tag(labels, scores[read]))
    e6tag = ranking.mean(ranking.average_precision_per_tag(labels, own_scores[read]))
    predicted = csr_array(applied[read].T.astype(np.int8))
    counts = thresholded.count(csr_array(labels.T.astype(np.int8)), predicted)
    f1 = thresholded.macro_f1(counts).value
    same = (applied == own)[read].mean()
    cells = [program, f"{read.sum():,}", f"{precision:.4f}", f"{e6tag:.4f}"]
    print(f"| {' | '.join(cells)} | {f1:.4f} | {same:.2%} |", flush=True)


if __name__ == "__main__":
    main()
