"""What every stage checks before it works."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.project import Project, run_command


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder on what stands for another disk."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["data", "data/sample", "data/images"])
def test_a_folder_of_data_that_is_a_link_is_refused_before_any_work(
    ready: Project, elsewhere: Path, name: str
) -> None:
    place = ready.paths.root / name
    place.rename(elsewhere / "moved")
    place.symlink_to(elsewhere / "moved")
    before = sorted(elsewhere.rglob("*"))
    done = run_command(ready.paths.root, "sample")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {name} is a link to {elsewhere / 'moved'}")
    assert f"mount --bind {elsewhere / 'moved'} {name}" in line
    assert sorted(elsewhere.rglob("*")) == before
    assert place.is_symlink()


def test_a_project_behind_a_link_works(ready: Project, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(ready.paths.root)
    assert run_command(link, "sample").returncode == 0


@pytest.fixture
def mounted(ready: Project, elsewhere: Path) -> Iterator[Project]:
    """A project whose data is a disk of its own."""
    data = ready.paths.data
    mount = ["mount", "-t", "tmpfs", "none", str(elsewhere)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a mount needs privileges")
    subprocess.run(["cp", "-r", f"{data}/.", elsewhere], check=True)
    subprocess.run(["mount", "--bind", elsewhere, data], check=True)
    yield ready
    for folder in (data, elsewhere):
        subprocess.run(["umount", folder], check=True)


def test_data_on_a_mounted_disk_is_written_by_renames(mounted: Project) -> None:
    for command in ("sample", "download", "shard"):
        done = run_command(mounted.paths.root, command)
        assert done.returncode == 0, done.stderr
    assert list(mounted.paths.shards.glob("*.tfrecord"))
