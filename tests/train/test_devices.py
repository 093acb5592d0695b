"""What computes: a GPU that is asked for, several devices, several hosts."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BadParameter
from pipeline.paths import Paths
from pipeline.train import hosts
from pipeline.train_params import Train
from tests.builders import toy_shards
from tests.builders.project import ROOT

needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="JAX is missing: run make jax",
)

COMMAND = (
    "import sys; from pathlib import Path\n"
    "from pipeline.errors import E6tagError\n"
    "from pipeline.paths import Paths; from pipeline.train_params import Train\n"
    "from pipeline.train import run\n"
    "try: run(Train.model_validate_json(sys.argv[1]), Paths(Path(sys.argv[2])))\n"
    "except E6tagError as error: sys.exit(f'error: {error}')\n"
)


def start(
    root: Path, updates: dict[str, object], environment: dict[str, str]
) -> "subprocess.Popen[str]":
    """Starts a training of the toy shards."""
    params = Train(**toy_shards.small() | updates)
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, params.model_dump_json(), str(root)],
        env=os.environ | {"PYTHONPATH": path_of_packages()} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def path_of_packages() -> str:
    return os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])


def copy_of(toy: Paths, root: Path) -> Path:
    shutil.copytree(toy.root, root)
    return root


def weights(root: Path) -> list[np.ndarray]:
    import keras

    network = keras.models.load_model(Paths(root).model / "model.keras")
    return list(network.get_weights())


@pytest.mark.parametrize(
    "backend", ["tensorflow", pytest.param("jax", marks=needs_jax)]
)
def test_a_gpu_that_is_asked_for_and_not_there_stops_training(
    toy: Paths, tmp_path: Path, backend: str
) -> None:
    root = copy_of(toy, tmp_path / "project")
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"}
    process = start(root, {"backend": backend, "device": "gpu"}, hidden)
    _, said = process.communicate()
    assert process.returncode == 1
    line = said.splitlines()[-1]
    assert line.startswith(f"error: train.device is gpu, and {backend} sees no GPU")
    assert line.endswith("or set train.device: auto.")
    assert not Paths(root).model.exists()


@needs_jax
@pytest.mark.timeout(900)  # three trainings share the cores
def test_two_hosts_on_jax_train_the_model_of_one_host_with_two_devices(
    toy: Paths, tmp_path: Path
) -> None:
    updates = {"backend": "jax", "device": "cpu", "epochs": 2, "ema": 0.5}
    one = copy_of(toy, tmp_path / "one")
    two_devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    alone = start(one, updates, two_devices)
    together = copy_of(toy, tmp_path / "together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    group = {hosts.ADDRESS: address, hosts.COUNT: "2"}
    first = start(together, updates, group | {hosts.NUMBER: "0"})
    second = start(together, updates, group | {hosts.NUMBER: "1"})
    for process in (alone, first, second):
        _, said = process.communicate()
        assert process.returncode == 0, said
    for ours, theirs in zip(weights(one), weights(together), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    facts = json.loads((Paths(together).model / "training.json").read_text())
    assert facts["batch_size"] == 16
    assert facts["epochs"] == 2


def test_one_host_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(hosts.COUNT, raising=False)
    assert hosts.this_host() == hosts.Host(number=0, count=1)
    assert hosts.stage_name("train") == "train"


@pytest.mark.parametrize(
    ("number", "address", "message"),
    [
        pytest.param("2", "node:1", "Number the hosts from 0", id="number"),
        pytest.param("one", "node:1", "is 'one', must be a whole number", id="word"),
        pytest.param("1", "node", "host's name and a free port", id="no port"),
    ],
)
def test_hosts_that_are_described_wrongly_are_refused(
    monkeypatch: pytest.MonkeyPatch, number: str, address: str, message: str
) -> None:
    monkeypatch.setenv(hosts.COUNT, "2")
    monkeypatch.setenv(hosts.NUMBER, number)
    monkeypatch.setenv(hosts.ADDRESS, address)
    with pytest.raises(BadParameter, match=message):
        hosts.this_host()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        pytest.param(Train(), r"Set train\.backend: jax", id="tensorflow"),
        pytest.param(
            Train(backend="jax", batch_size="auto"),
            r"tries batches on one host only",
            id="auto",
        ),
    ],
)
def test_several_hosts_need_jax_and_a_batch_size(
    params: Train, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hosts.COUNT, "2")
    monkeypatch.setenv(hosts.NUMBER, "1")
    monkeypatch.setenv(hosts.ADDRESS, "node:1")
    host = hosts.this_host()
    assert not host.writes
    assert hosts.stage_name("train") == "train-host-1"
    with pytest.raises(BadParameter, match=message):
        hosts.connect(host, params)
