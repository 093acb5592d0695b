"""What makes a trained model stale, by a real DVC in a copy of the repository."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders.project import ROOT

INPUTS = {
    "data/sample/vocabulary.parquet": "vocabulary",
    "data/shards/index.parquet": "index",
    "data/gates/shards/verdict.json": "{}",
}
UNUSED_LOSS = Path("pipeline", "model", "losses", "focal_of_a_test.py")
OUTPUTS = {"data/model/model.keras": "weights", "data/training/plots/metrics": "log"}


def dvc(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code in which DVC takes tiny files for a trained model."""
    folder = tmp_path_factory.mktemp("committed")
    for name in ("pipeline", "e6tag", "init", "lists"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("dvc.yaml", "params.yaml", "snapshot.json"):
        shutil.copyfile(ROOT / name, folder / name)
    for name, content in {**INPUTS, **OUTPUTS}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    unused = folder / UNUSED_LOSS
    unused.parent.mkdir(exist_ok=True)
    unused.write_text('"""A loss that no model uses."""\n\nGAMMA = 2.0  # steepness\n')
    dvc(folder, "init", "--no-scm", "--quiet")
    dvc(folder, "commit", "--force", "--quiet", "train")
    return folder


@pytest.fixture
def trained(committed: Path, tmp_path: Path) -> Path:
    """A copy of the committed project that a test may change."""
    return Path(shutil.copytree(committed, tmp_path / "project"))


def stale(folder: Path) -> dict[str, Any]:
    """What has changed for the stage `train`; empty where it is up to date."""
    return dict(json.loads(dvc(folder, "status", "--json", "train")))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_what_was_committed_is_fresh(trained: Path) -> None:
    assert stale(trained) == {}


def test_code_that_the_model_does_not_use_leaves_it_fresh(trained: Path) -> None:
    edit(
        trained / "pipeline" / "schemas" / "snapshot.py",
        '"favourites"',
        '"number of users who marked the post as a favourite"',
    )
    edit(trained / UNUSED_LOSS, "# steepness", "# steepness of the weights")
    backbones = trained / "pipeline" / "model" / "backbones"
    (backbones / "large.py").write_text('"""A backbone of another model."""\n')
    with (backbones / "choices.py").open("a") as file:
        file.write("\n# the parameters of another backbone\n")
    params = yaml.safe_load((trained / "params.yaml").read_text(encoding="utf-8"))
    params["shard"]["quality"] = 91
    params["cluster"]["workers"] = 3
    (trained / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    assert stale(trained) == {}


def test_a_new_training_loop_makes_the_model_stale(trained: Path) -> None:
    loop = trained / "pipeline" / "train" / "loop.py"
    loop.write_text(loop.read_text(encoding="utf-8") + "\n# changed\n")
    changes = json.dumps(stale(trained))
    assert "pipeline/train" in changes
    assert "modified" in changes


def test_new_versions_of_the_builders_that_it_uses_make_the_model_stale(
    trained: Path,
) -> None:
    builders = (
        "pipeline/model/backbones/compact.py",
        "pipeline/model/heads/pool.py",
        "pipeline/model/losses/summed_binary_cross_entropy.py",
    )
    for builder in builders:
        path = trained / builder
        path.write_text(path.read_text(encoding="utf-8") + "\n# changed\n")
    changes = json.dumps(stale(trained))
    assert [builder for builder in builders if builder in changes] == list(builders)


def test_a_model_of_another_loss_depends_on_the_builder_of_that_loss(
    trained: Path,
) -> None:
    edit(
        trained / "params.yaml",
        "    name: summed_binary_cross_entropy\n",
        f"    name: {UNUSED_LOSS.stem}\n",
    )
    dvc(trained, "commit", "--force", "--quiet", "train")
    unused = (
        trained / "pipeline" / "model" / "losses" / "summed_binary_cross_entropy.py"
    )
    unused.write_text('"""Another loss than the model\'s."""\n')
    assert stale(trained) == {}
    edit(trained / UNUSED_LOSS, "# steepness", "# steepness of the weights")
    assert str(UNUSED_LOSS) in json.dumps(stale(trained))


def test_a_new_parameter_of_training_makes_the_model_stale(trained: Path) -> None:
    edit(trained / "params.yaml", "\n  epochs: 16\n", "\n  epochs: 17\n")
    assert "train" in json.dumps(stale(trained))


def test_a_new_parameter_of_the_backbone_makes_the_model_stale(trained: Path) -> None:
    edit(
        trained / "params.yaml", "    blocks: [1, 1, 1, 1]", "    blocks: [1, 1, 1, 2]"
    )
    assert "train" in json.dumps(stale(trained))
