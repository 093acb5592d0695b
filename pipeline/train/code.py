"""The code that a training run depends on, file by file.

`dvc.yaml` lists the same files, so that another backbone, head or loss beside them
makes no model stale; a test compares.
"""

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[2]

USED = (
    "pipeline/data",
    "pipeline/metrics/baselines.py",
    "pipeline/metrics/ranking.py",
    "pipeline/model/backbones/compact.py",
    "pipeline/model/backend.py",
    "pipeline/model/build.py",
    "pipeline/model/heads/pool.py",
    "pipeline/model/losses/binary_cross_entropy.py",
    "pipeline/model/predict.py",
    "pipeline/train",
)
"""Files and whole folders, relative to the project's folder."""


def digests() -> list[str]:
    """Returns the SHA-256 of every file used, in the order of their paths."""
    found: list[Path] = []
    for name in USED:
        path = ROOT / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in found]
