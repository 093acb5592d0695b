"""A training that is killed within an epoch ends as if it had not been.

In processes of their own: each is killed for real, and deterministic mode stays on for
the life of a process.
"""

import importlib.util
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.paths import Paths
from pipeline.train_params import Train
from tests.builders import toy_shards

STEPS = 15  # of an epoch of the toy images
NO_JAX = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is missing: run make jax"
)

# Trains, and kills itself with SIGKILL at the end of a step; never at step 0.
TRAINING = """
import os, signal, sys
from pathlib import Path
from pipeline import progress, train
from pipeline.paths import Paths
from pipeline.train_params import Train

params = Train.model_validate_json(sys.argv[1])
last_step = int(sys.argv[3])
advance = progress.Meter.advance
steps = 0

def advance_or_die(self, units=1, note=None, bytes=0):
    global steps
    advance(self, units, note, bytes)
    steps += note is not None
    if steps == last_step:
        os.kill(os.getpid(), signal.SIGKILL)

if last_step:
    progress.Meter.advance = advance_or_die
train.run(params, Paths(Path(sys.argv[2])))
"""


def trained(
    params: Train, paths: Paths, *, killed_at: int = 0
) -> subprocess.CompletedProcess[str]:
    """Trains in a process. killed_at: the step, counted from 1, that ends it."""
    arguments = [params.model_dump_json(), str(paths.root), str(killed_at)]
    command = [sys.executable, "-c", TRAINING, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=NO_JAX)])
def test_killed_within_an_epoch_it_ends_with_the_same_bytes(
    toy: Paths, tmp_path: Path, backend: str
) -> None:
    settings = {
        **toy_shards.small(),
        "backend": backend,
        # Dropout draws from a random generator that must go on where it was.
        "head": {"name": "pool", "dropout": 0.5},
        "epochs": 3,
        "ema": 0.9,
        "checkpoint_steps": 4,
        "deterministic": True,
    }
    params = Train.model_validate(settings)
    for name in ("unbroken", "broken"):
        shutil.copytree(toy.root, tmp_path / name)
    unbroken = Paths(tmp_path / "unbroken")
    broken = Paths(tmp_path / "broken")
    done = trained(params, unbroken)
    assert done.returncode == 0, done.stderr

    killed = trained(params, broken, killed_at=STEPS + 11)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not broken.model.exists()
    resumed = trained(params, broken)
    assert resumed.returncode == 0, resumed.stderr

    assert "resumes after step 8 of epoch 2" in resumed.stderr
    assert f"train: {3 * STEPS * 16} of {3 * STEPS * 16} images" in resumed.stderr
    for name in ("model.keras", "history.csv", "training.json"):
        found = (broken.model / name).read_bytes()
        assert found == (unbroken.model / name).read_bytes(), name
