"""The real programs find in a bundle what `e6tag tag` finds: `make clients`.

Each runs in an environment of its own below .clients/ (or below the folder that
E6TAG_CLIENTS names), offline. E6TAG_BUNDLE and E6TAG_IMAGES name a bundle and a folder
of images to use in place of the toy ones.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest

from e6tag import tagger
from pipeline import packs, parquet
from pipeline.paths import Paths
from pipeline.schemas.sample import VOCABULARY
from tests.builders import e6tag_command, toy_shards
from tests.builders.project import ROOT

pytestmark = [
    # See tests/export.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.timeout(900),
]

PROGRAMS = Path(__file__).parent / "programs"
ENVIRONMENTS = Path(os.environ.get("E6TAG_CLIENTS", ROOT / ".clients"))

IMAGES = 20

MARGIN = 0.05
"""Of a score around its threshold: programs resize images in ways of their own, which
moves scores a little. Toy images are enlarged sevenfold, the worst case."""


def python_of(environment: str) -> Path:
    """Returns the interpreter of an environment; skips where there is none."""
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{ENVIRONMENTS}/{environment} is missing: run make clients")
    return python


@dataclass(frozen=True)
class Opened:
    """A bundle, images, and what `e6tag tag` says of them.

    ratings: by image, the most probable; None where the bundle knows none. applied: the
    tags of each image.
    """

    bundle: Path
    images: Path
    names: list[str]  # of the images
    tags: list[str]
    scores: np.ndarray  # [images, tags]
    thresholds: np.ndarray
    ratings: list[str | None]
    applied: dict[str, set[str]]


@pytest.fixture(scope="module")
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Opened:
    """A bundle and twenty images."""
    folder = tmp_path_factory.mktemp("clients")
    if "E6TAG_BUNDLE" in os.environ:
        bundle = Path(os.environ["E6TAG_BUNDLE"])
        images = Path(os.environ["E6TAG_IMAGES"])
    else:
        bundle, images = toy(request.getfixturevalue("toy_trained"), folder)
    return read(bundle, images)


def toy(trained: Paths, folder: Path) -> tuple[Path, Path]:
    """Exports the toy project; returns the bundle and a folder of images."""
    from pipeline import evaluate, export
    from pipeline.params.evaluate import Evaluate
    from pipeline.params.export import Export
    from pipeline.params.shard import Shard

    paths = Paths(folder / "project")
    shutil.copytree(trained.root, paths.root)
    make_rated_with_a_character(paths)
    shard = Shard(size=toy_shards.SIZE)
    evaluate.run(Evaluate(bootstrap=0), paths, shard=shard)
    export.run(Export(), paths, shard=shard)
    images = folder / "images"
    images.mkdir()
    manifest = parquet.read(paths.manifest / "test.parquet", columns=["md5", "pack"])
    reader = packs.PackReader(paths.images)
    for md5, pack in manifest.head(IMAGES).iter_rows():
        (images / f"{md5}.jpg").write_bytes(reader.bytes(pack, md5))
    return paths.bundle, images


def make_rated_with_a_character(paths: Paths) -> None:
    """Rates red images e and others s; makes the circle a character."""
    toy_shards.rate(paths, list(toy_shards.TAGS).index("red_background"), ("s", "e"))
    path = paths.sample / "vocabulary.parquet"
    category = pl.when(pl.col("name") == "circle").then(pl.lit("character"))
    vocabulary = parquet.read(path).with_columns(
        category=category.otherwise(pl.col("category"))
    )
    parquet.write(path, vocabulary, VOCABULARY)


def read(bundle: Path, images: Path) -> Opened:
    known = tagger.Tagger(bundle)
    done = e6tag_command.run(
        "tag",
        images,
        "--format",
        "jsonl",
        "--output",
        "-",
        folder=images,
        bundle=bundle,
    )
    assert done.returncode == 0, done.stderr
    answers = {}
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        answers[Path(answer["path"]).name] = answer
    names = sorted(path.name for path in images.iterdir())
    bodies = [(images / name).read_bytes() for name in names]
    pixels = np.stack([known.prepare(body) for body in bodies])
    return Opened(
        bundle=bundle,
        images=images,
        names=names,
        tags=[tag.name for tag in known.bundle.tags],
        scores=known.run(pixels).scores,
        thresholds=known.thresholds,
        ratings=[answers[name]["rating"] for name in names],
        applied={
            name: {tag["name"] for tag in answers[name]["tags"]} for name in names
        },
    )


def run(command: list[Any], **environment: str) -> str:
    """Runs a program that must not reach any network; returns what it prints."""
    offline = {"HF_HUB_OFFLINE": "1", "no_proxy": "*", **environment}
    kept = {key: os.environ[key] for key in ("HOME", "PATH") if key in os.environ}
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env=kept | offline,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


def assert_finds_the_same(opened: Opened, found: dict[str, set[str]]) -> None:
    """Compares the tags of every image, but those whose score is at the threshold."""
    assert sorted(found) == opened.names
    compared = 0
    for image, scores in zip(opened.names, opened.scores, strict=True):
        for tag, score, threshold in zip(
            opened.tags, scores, opened.thresholds, strict=True
        ):
            if abs(score - threshold) < MARGIN:
                continue
            compared += 1
            is_applied = tag in opened.applied[image]
            assert (tag in found[image]) == is_applied, (image, tag, score)
    assert compared > 0.7 * opened.scores.size
    assert set().union(*found.values()) <= set(opened.tags)


def assert_some_are_characters(opened: Opened, found: dict[str, set[str]]) -> None:
    """Of the toy bundle, where `circle` is one."""
    if "circle" in opened.tags:
        has_circle = ["circle" in tags for tags in found.values()]
        assert 0 < sum(has_circle) < len(has_circle)
        assert set(opened.ratings) == {"general", "explicit"}


def test_szurubooru_toolkit_finds_the_tags(opened: Opened) -> None:
    python = python_of("szurubooru-toolkit")
    script = PROGRAMS / "szurubooru.py"
    printed = run([python, script, opened.bundle, opened.images])
    found = json.loads(printed.splitlines()[-1])
    tags = {image: set(each["tags"]) for image, each in found.items()}
    assert_finds_the_same(opened, tags)
    assert_some_are_characters(opened, tags)
    names = {"general": "safe", "explicit": "unsafe", "questionable": "sketchy"}
    for image, rating in zip(opened.names, opened.ratings, strict=True):
        if rating is not None:
            assert found[image]["rating"] == names[rating]


def test_imgutils_finds_the_tags(opened: Opened, tmp_path: Path) -> None:
    python = python_of("dghs-imgutils")
    script = PROGRAMS / "imgutils_timm.py"
    printed = run([python, script, opened.bundle, opened.images, tmp_path / "cache"])
    found = json.loads(printed.splitlines()[-1])
    tags = {image: set(each["tags"]) for image, each in found.items()}
    assert_finds_the_same(opened, tags)
    assert_some_are_characters(opened, tags)
    for image, rating in zip(opened.names, opened.ratings, strict=True):
        assert rating is None or rating in found[image]["ratings"]


LINE = re.compile(r"^\((\d\.\d+)\) (.+)$")


def test_deepdanbooru_finds_the_tags(opened: Opened) -> None:
    python = python_of("deepdanbooru")
    project = opened.bundle / "deepdanbooru"
    # As its documentation says: no threshold is given, and no code of ours is there.
    printed = run(
        [
            python.with_name("deepdanbooru"),
            "evaluate",
            *(opened.images / name for name in opened.names),
            "--project-path",
            project,
        ],
        TF_CPP_MIN_LOG_LEVEL="3",
    )
    found: dict[str, set[str]] = {}
    image = ""
    for line in printed.splitlines():
        if line.startswith("Tags of "):
            image = Path(line.removeprefix("Tags of ").removesuffix(":")).name
            found[image] = set()
        if match := LINE.match(line):
            found[image].add(match.group(2))
    assert_finds_the_same(opened, found)
    assert_some_are_characters(opened, found)


def test_an_onnx_runtime_of_two_years_ago_answers_the_same(opened: Opened) -> None:
    python = python_of("onnxruntime-1.20")
    printed = run([python, PROGRAMS / "old_onnxruntime.py", opened.bundle])
    found = json.loads(printed)
    assert found["version"].startswith("1.20.")
    assert len(found["sums"]) == 6
    for name, total in found["sums"].items():
        session = onnxruntime.InferenceSession(opened.bundle / name)
        given = session.get_inputs()[0]
        filled = np.full([2, *given.shape[1:]], 0.5, np.float32)
        first = session.run(None, {given.name: filled})[0]
        # Int8 rounds by the instructions of the machine and of the version.
        tolerance = 0.05 if "int8" in name else 1e-3
        assert total == pytest.approx(float(first.sum()), rel=tolerance, abs=1e-3)
