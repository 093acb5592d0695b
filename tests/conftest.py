"""Fixtures: a small board served on loopback, and project folders that read from it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pipeline import manifest
from pipeline.paths import Paths
from pipeline.train_params import Train
from sandbox.board.drawn import SandboxBoard
from sandbox.server.app import Site
from tests.builders import toy_shards
from tests.builders.project import Project, copied, fetch, make_project, prepare, served


@pytest.fixture(scope="session")
def board() -> SandboxBoard:
    """The first 600 posts of the shipped board."""
    return SandboxBoard(posts=600)


@pytest.fixture(scope="session")
def site(board: SandboxBoard) -> Iterator[Site]:
    """The small board, served for the whole session, well behaved."""
    with served(board) as site:
        yield site


@pytest.fixture
def project(tmp_path: Path, site: Site) -> Project:
    """A fresh project that reads from the small board."""
    return make_project(tmp_path / "project", site)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Project:
    """A project with all up to the manifest, made once. To be copied, not changed."""
    project = prepare(
        make_project(tmp_path_factory.mktemp("finished") / "project", site)
    )
    fetch(project)
    manifest.run(project.params.manifest, project.paths, everything=project.params)
    return project


@pytest.fixture
def sampled(finished: Project, tmp_path: Path) -> Project:
    """A project whose sample is written and whose images are not fetched yet."""
    project = copied(finished, tmp_path / "sampled")
    for path in (project.paths.images, project.paths.manifest):
        shutil.rmtree(path)
    project.paths.ledger.unlink()
    return project


@pytest.fixture
def ready(finished: Project, tmp_path: Path) -> Project:
    """A project whose images are here and whose manifest is written."""
    return copied(finished, tmp_path / "ready")


@pytest.fixture
def misbehaving(
    board: SandboxBoard, tmp_path: Path
) -> Iterator[Callable[..., Project]]:
    """Returns a function that serves the board with a fault, and makes a project."""
    with ExitStack() as stack:

        def start(fault: Any, **sections: dict[str, Any]) -> Project:
            spoilt = stack.enter_context(served(board, fault=fault))
            return make_project(tmp_path / "project", spoilt, **sections)

        yield start


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A project whose shards hold toy images. To be copied, not changed."""
    return toy_shards.project(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy_trained(toy: Paths, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The toy project with a trained model. To be copied, not changed."""
    from pipeline import train

    root = tmp_path_factory.mktemp("toy_trained") / "project"
    shutil.copytree(toy.root, root)
    train.run(Train(**toy_shards.small()), Paths(root))
    return Paths(root)
