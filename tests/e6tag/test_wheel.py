"""The wheel: e6tag alone, with its few dependencies."""

import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

from tests.builders.project import ROOT

IMPORT_ALL = """
import importlib, pkgutil, sys
import e6tag
names = [module.name for module in pkgutil.walk_packages(e6tag.__path__, "e6tag.")]
for name in names:
    if not name.startswith("e6tag.serve."):  # which needs the extra `serve`
        importlib.import_module(name)
assert "e6tag.cli" in names and "e6tag.tagger" in names, names
for name in ("pipeline", "ops", "flows", "sandbox", "tensorflow", "polars"):
    assert importlib.util.find_spec(name) is None, name
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it requires; its folder of commands."""
    folder = tmp_path_factory.mktemp("wheel")
    # In a copy: a build writes beside pyproject.toml.
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "e6tag", "pipeline"):
        (source / name).symlink_to(ROOT / name)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
        "--no-build-isolation", "--wheel-dir", folder, source)  # fmt: skip
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    for name in required("e6tag"):
        link(name, site_packages)
    (wheel,) = folder.glob("e6tag-*.whl")
    run(sys.executable, "-m", "pip", "--python", environment, "install", "--quiet",
        "--no-deps", "--no-index", wheel)  # fmt: skip
    return environment / "bin"


def run(*command: object) -> str:
    """Runs a command outside of the checkout and returns what it printed."""
    arguments = [str(part) for part in command]
    environment = {"PATH": "/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        arguments, cwd="/", env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def required(name: str) -> set[str]:
    """Returns the distributions that one requires, and those that they require."""
    found: set[str] = set()
    frontier = {name}
    while frontier:
        for requirement in metadata.requires(frontier.pop()) or []:
            if "extra ==" in requirement:
                continue
            dependency = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
            if dependency not in found and is_installed(dependency):
                found.add(dependency)
                frontier.add(dependency)
    return found


def is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def link(name: str, site_packages: Path) -> None:
    """Makes an installed distribution importable in another environment."""
    distribution = metadata.distribution(name)
    for file in distribution.files or []:
        top = file.parts[0]
        target = site_packages / top
        if top != ".." and not target.exists():
            target.symlink_to(Path(str(distribution.locate_file(top))))


def test_every_module_can_be_imported_without_the_pipeline(alone: Path) -> None:
    run(alone / "python", "-c", IMPORT_ALL)


def test_command_gives_version_and_help_without_the_pipeline(alone: Path) -> None:
    assert run(alone / "e6tag", "--version").strip() == metadata.version("e6tag")
    text = run(alone / "e6tag", "--help")
    assert "--install-completion" in text
    assert "harvest" not in text


def test_command_of_an_extra_names_it(alone: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        run(alone / "e6tag", "serve")
    (line,) = refused.value.stderr.splitlines()
    assert "'.[serve]'" in line


def test_wheel_holds_the_page_of_the_server(alone: Path) -> None:
    (site_packages,) = alone.parent.glob("lib/python*/site-packages")
    page = site_packages / "e6tag/serve/page"
    names = {path.name for path in page.iterdir()}
    assert names == {"index.html", "page.css", "page.js", "icon.svg"}


def test_wheel_holds_e6tag_alone(alone: Path) -> None:
    (site_packages,) = alone.parent.glob("lib/python*/site-packages")
    (info,) = site_packages.glob("e6tag-*.dist-info")
    assert (info / "top_level.txt").read_text().split() == ["e6tag"]
