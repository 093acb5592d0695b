"""Project folders that read from a board served on loopback."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline import download, files, harvest, refresh, sample
from pipeline.params import Params
from pipeline.paths import Paths
from sandbox.records import Board
from sandbox.server.app import Site, serve

ROOT = Path(__file__).parents[2]
"""The repository."""

SMALL: dict[str, Any] = {
    "sample": {
        "min_positives": 40,
        "min_eval_positives": 2,
        "min_tags": 4,
        "exclude_tags": ["comic"],
    },
    "download": {"pack_images": 40, "retries": 2},
    "shard": {"shards": 4, "size": 64},
    "train": {"size": 64},
    "cluster": {"workers": 2},
}
"""Parameters that fit the small board."""


@contextmanager
def served(board: Board, **options: Any) -> Iterator[Site]:
    """Serves a board from another thread, since each stage runs an event loop."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    over = asyncio.Event()
    sites = []

    async def run() -> None:
        async with serve(board, **options) as site:
            sites.append(site)
            ready.set()
            await over.wait()

    def work() -> None:
        loop.run_until_complete(run())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        assert ready.wait(60), "the sandbox did not start"
        yield sites[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        loop.close()


@dataclass(frozen=True, slots=True)
class Project:
    """A project folder with params.yaml and a pin, reading from a served board."""

    paths: Paths
    params: Params
    site: Site


def make_project(folder: Path, at: Site, /, **sections: dict[str, Any]) -> Project:
    """Writes params.yaml for the served site and pins what it serves.

    Sections add to SMALL.
    """
    tree: dict[str, Any] = {name: dict(section) for name, section in SMALL.items()}
    tree["site"] = {
        "name": "custom",
        "base_url": at.base_url,
        "static_url": at.static_url,
    }
    for name, section in sections.items():
        tree.setdefault(name, {}).update(section)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(tree))
    project = Project(Paths(folder), Params.model_validate(tree), at)
    refresh.run(project.params, project.paths)
    return project


def prepare(project: Project) -> Project:
    """Harvests and samples, so that images can be fetched."""
    params = project.params
    harvest.run(params.harvest, project.paths, site=params.site)
    sample.run(params.sample, project.paths)
    return project


def fetch(project: Project) -> None:
    """Runs the download stage."""
    download.run(project.params.download, project.paths, site=project.params.site)


def run_command(
    folder: Path, *arguments: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m pipeline` in a project folder. options: of subprocess.run."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


def clone_repository(
    folder: Path,
    parameters: Mapping[str, Mapping[str, Any]],
    *,
    base_url: str,
    static_url: str,
    without: tuple[str, ...] = (),
) -> None:
    """Copies what git tracks, or would track, into a new repository.

    Its params.yaml has these parameters, and a custom site at these addresses. without:
    prefixes of paths that are not copied.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith(without):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "dvc.lock").unlink(missing_ok=True)
    subprocess.run(["git", "init", "-q", folder], check=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, changes in parameters.items():
        params[section] |= changes
    params["site"] |= {"name": "custom", "base_url": base_url, "static_url": static_url}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def damage(path: Path) -> None:
    """Flips the bits of one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def copied(project: Project, folder: Path) -> Project:
    """Returns a copy of a project that a test may change."""
    shutil.copytree(project.paths.root, folder)
    return replace(project, paths=Paths(folder))


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by name of every file of a folder; nothing where there is none."""
    return {path.name: files.sha256(path) for path in sorted(folder.glob("*"))}
