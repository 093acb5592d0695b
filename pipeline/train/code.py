"""The code that a training run depends on, file by file.

`dvc.yaml` lists the same files, so that another backbone, head or loss beside them
makes no model stale; a test compares.
"""

import hashlib
from pathlib import Path

from pipeline.train_params import Train

ROOT = Path(__file__).parents[2]

USED = (
    "pipeline/data",
    "pipeline/metrics/baselines.py",
    "pipeline/metrics/ranking.py",
    "pipeline/model/backbones/{train.backbone.name}.py",
    "pipeline/model/backend.py",
    "pipeline/model/build.py",
    "pipeline/model/embeddings.py",
    "pipeline/model/heads/{train.head.name}.py",
    "pipeline/model/losses/{train.loss.name}.py",
    "pipeline/model/losses/elementwise.py",
    "pipeline/model/losses/frequency_weighting.py",
    "pipeline/model/losses/robust.py",
    "pipeline/model/noise.py",
    "pipeline/model/predict.py",
    "pipeline/model/saved.py",
    "pipeline/parquet.py",
    "pipeline/train",
)
"""Files and whole folders, relative to the project's folder.

Parameters in braces name the builders that are chosen, as `${...}` in dvc.yaml."""


def files(train: Train) -> list[Path]:
    """Returns every file used by a training with these parameters, in order."""
    found: list[Path] = []
    for name in USED:
        path = ROOT / name.format(train=train)
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def digests(train: Train) -> list[str]:
    """Returns the SHA-256 of every file used, in the order of `files`."""
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files(train)]
