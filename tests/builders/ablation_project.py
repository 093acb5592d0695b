"""A project whose training data are toy shards, ready for `e6tag ablation`.

Its `train` and `evaluate` are those of dvc.yaml; one stage in place of all before them
owns the data, so that DVC's cache has it.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline.params import Params
from tests.builders import toy_shards
from tests.builders.project import ROOT

OWNED = ("snapshot", "sample", "images", "manifest", "shards", "gates")
"""Folders of data/ that `train` and `evaluate` read."""

TRAIN: dict[str, Any] = {
    **toy_shards.small(),
    "epochs": 4,
}

PLAN: dict[str, Any] = {
    "seeds": [1],
    "factors": {
        "head": {
            "description": "from the feature map to logits",
            "levels": {"dropout": {"train.head.dropout": 0.2}},
        },
    },
}


def make(root: Path, toy: Path) -> Path:
    """Writes the project in a new folder. toy: a folder of `toy_shards.project`."""
    shutil.copytree(toy / "data", root / "data")
    verdict = root / "data" / "gates" / "shards" / "verdict.json"
    verdict.parent.mkdir(parents=True)
    verdict.write_text("{}\n")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("pipeline", "e6tag", "ops", "flows"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    (root / "init").mkdir()
    _write_yaml(root / "dvc.yaml", {"stages": _stages()})
    params = Params.model_validate({"train": TRAIN, "shard": {"size": toy_shards.SIZE}})
    # Every parameter: dvc.yaml names some of them.
    _write_yaml(root / "params.yaml", params.model_dump(mode="json"))
    _write_yaml(root / "ablation.yaml", PLAN)
    (root / "orders.txt").write_text("make the data\n")
    (root / ".dvc").mkdir()
    config = "[core]\n    no_scm = true\n    analytics = false\n"
    config += f"    site_cache_dir = {root / '.site'}\n"
    (root / ".dvc" / "config").write_text(config)
    command = [sys.executable, "-m", "dvc", "commit", "--force", "data"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return root


def _stages() -> dict[str, Any]:
    given = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    outs = [f"data/{name}" for name in OWNED]
    data = {"cmd": "false", "deps": ["orders.txt"], "outs": outs}
    return {"data": data, "train": given["train"], "evaluate": given["evaluate"]}


def _write_yaml(path: Path, tree: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
