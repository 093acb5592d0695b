"""Workers of a Dask cluster: they work on this project, or are refused in one line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from pipeline import shard
from pipeline.errors import BadParameter
from pipeline.params.cluster import Cluster
from tests.builders.project import ROOT, Project, hashes

StartWorker = Callable[..., None]

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def scheduler() -> Iterator[str]:
    """The address of a scheduler without workers."""
    with LocalCluster(n_workers=0, dashboard_address=None, host="127.0.0.1") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def start_worker(scheduler: str) -> Iterator[StartWorker]:
    """Returns a function that starts `dask worker` in a folder.

    It takes the folder, where the code is, and a folder that the worker must not see.
    """
    started = []

    def start(folder: Path, code: Path, hidden: Path | None = None) -> None:
        command = [sys.executable, "-m", "dask", "worker", scheduler, "--no-dashboard"]
        command += ["--no-nanny", "--nthreads", "1"]
        if hidden:
            # In a mount namespace of its own, where an empty disk covers the folder.
            cover = f'mount -t tmpfs none "{hidden}" && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", cover, "sh", *command]
        environment = os.environ | {"PYTHONPATH": str(code)}
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stderr=subprocess.DEVNULL
        )
        started.append(process)

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_worker_started_in_another_folder_writes_into_the_project(
    ready: Project,
    tmp_path: Path,
    scheduler: str,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    start_worker(elsewhere, ROOT)
    # As a stage runs: in the project's folder, with paths relative to it.
    monkeypatch.chdir(ready.paths.root)
    relative = type(ready.paths)()
    shard.run(ready.params.shard, relative, cluster=Cluster(scheduler=scheduler))
    assert len(hashes(ready.paths.shards)) > 4
    assert not [path for path in elsewhere.rglob("*") if path.suffix == ".tfrecord"]


@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0,
    reason="a mount namespace needs privileges",
)
def test_worker_that_sees_another_file_system_is_refused(
    ready: Project, tmp_path: Path, scheduler: str, start_worker: StartWorker
) -> None:
    start_worker(tmp_path, ROOT, ready.paths.root)
    message = rf"Dask worker tcp.* does not see the files of {ready.paths.root}"
    with pytest.raises(BadParameter, match=message):
        shard.run(ready.params.shard, ready.paths, cluster=Cluster(scheduler=scheduler))
    assert not list(ready.paths.shards.glob("*.tfrecord"))


def test_worker_with_other_code_is_refused(
    ready: Project,
    tmp_path: Path,
    scheduler: str,
    start_worker: StartWorker,
) -> None:
    code = tmp_path / "code"
    for package in ("e6tag", "pipeline"):
        shutil.copytree(ROOT / package, code / package)
    (code / "pipeline" / "policy.py").write_text("# another version\n")
    start_worker(tmp_path, code)
    with pytest.raises(BadParameter, match=r"Dask worker tcp.* has other code"):
        shard.run(ready.params.shard, ready.paths, cluster=Cluster(scheduler=scheduler))
