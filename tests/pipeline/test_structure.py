"""The order of the code: imports go one way, and no function is too large to read."""

import subprocess
import sys

import pytest

from tests.builders import source
from tests.builders.project import ROOT

SHARED = (
    "ablation",
    "ablation_results",
    "errors",
    "files",
    "lineage",
    "locks",
    "originals",
    "os_errors",
    "packs",
    "param_models",
    "params",
    "parquet",
    "paths",
    "pin",
    "policy",
    "profiles",
    "progress",
    "releases",
    "resources",
    "schemas",
    "tag_graph",
    "templates",
    "train_params",
    "workers",
)
"""Modules of pipeline that every other may import: one concept each."""

CHOICES = "choices"
"""Part of the modules of pipeline.model that are models of parameters: params joins
them, and what they choose between stands above."""

LIBRARIES = ("site", "data", "metrics", "model")
"""Packages of pipeline that stages share."""

STAGES = (
    "harvest",
    "sample",
    "download",
    "manifest",
    "shard",
    "train",
    "evaluate",
    "mine",
    "export",
    "report",
    "validate",
)
"""The stages, in their order: a stage may import an earlier one."""

COMMANDS = (
    "explain",
    "refresh",
    "regression",
    "training_plan",
    "stage_runner",
    "cli",
    "__main__",
)
"""What is on top."""

LEVELS = {
    "pipeline": [
        {*SHARED, CHOICES},
        set(LIBRARIES),
        *[{stage} for stage in STAGES],
        set(COMMANDS),
    ],
    "sandbox": [
        {"records"},
        {"world"},
        {"art"},
        {"board", "openclipart"},
        {"boards"},
        {"server"},
        {"faults"},
        {"contact_sheet", "__main__"},
    ],
}
"""Parts of a package from the bottom to the top; arrows of imports run down."""

MOST_NODES = 250
"""Syntax nodes in the body of a function: a larger one cannot be read in one go."""


def part(name: str) -> str:
    """The part of its package that a module belongs to."""
    if name.startswith("pipeline.model.") and name.endswith("choices"):
        return CHOICES
    return name.split(".")[1]


def level(name: str) -> int:
    package = name.split(".")[0]
    for number, parts in enumerate(LEVELS[package]):
        if part(name) in parts:
            return number
    raise AssertionError(f"{name} is on no level: add it to this file")


def modules_of(package: str) -> list[str]:
    return [name for name in source.modules(package) if name != package]


@pytest.mark.parametrize("package", LEVELS)
def test_every_part_is_on_one_level(package: str) -> None:
    for name in modules_of(package):
        assert sum(part(name) in parts for parts in LEVELS[package]) == 1, name


@pytest.mark.parametrize("package", LEVELS)
def test_no_import_runs_up(package: str) -> None:
    known = source.modules()
    for name in modules_of(package):
        imported = source.imports_of(name)
        own = {other for other in imported if other.startswith(f"{package}.")}
        # Importing pipeline.model.choices runs pipeline.model, which has no code.
        own = {one for one in own if not source.is_documentation_only(known[one])}
        upward = {other for other in own if level(other) > level(name)}
        assert not upward, name


@pytest.mark.parametrize("package", source.PACKAGES)
def test_no_modules_import_each_other(package: str) -> None:
    assert source.import_circles(package) == []


@pytest.mark.parametrize(
    ("package", "foreign"),
    [
        pytest.param("pipeline", {"dvc", "prefect", "flows", "ops"}, id="pipeline"),
        pytest.param("ops", {"prefect", "flows", "sandbox"}, id="ops"),
        pytest.param(
            "e6tag", {"pipeline", "ops", "flows", "sandbox", "tests"}, id="e6tag"
        ),
        pytest.param("sandbox", {"pipeline", "ops", "flows", "e6tag"}, id="sandbox"),
        pytest.param("flows", {"sandbox"}, id="flows"),
    ],
)
def test_package_imports_nothing_of(package: str, foreign: set[str]) -> None:
    users = {}
    for name, path in source.modules(package).items():
        found = source.imported_roots(path) & foreign
        if found:
            users[name] = found
    assert users == {}


def test_flows_are_imported_by_nobody() -> None:
    users = []
    for name, path in source.modules("e6tag", "pipeline", "ops", "sandbox").items():
        if "flows" in source.imported_roots(path):
            users.append(name)
    assert users == []


def test_pipeline_opens_the_sandbox_in_one_place() -> None:
    users = []
    for name, path in source.modules("pipeline").items():
        if "sandbox" in source.imported_roots(path):
            users.append(name)
    assert users == ["pipeline.site.boards"]


def test_no_function_is_too_large_to_read() -> None:
    sizes = source.function_sizes("pipeline", "ops", "flows", "e6tag", "sandbox")
    large = {place: size for place, size in sizes.items() if size > MOST_NODES}
    assert large == {}


def test_size_of_a_function_leaves_out_its_doc_string() -> None:
    sizes = source.function_sizes("e6tag")
    assert all(size > 0 for size in sizes.values())
    path = next(iter(source.modules("e6tag").values()))
    assert source.is_documentation_only(path)


HEAVY = (
    "dvc",
    "great_expectations",
    "keras",
    "polars",
    "prefect",
    "pyarrow",
    "sklearn",
    "tensorflow",
)

HELP = f"""
import sys
sys.argv = ["e6tag", *sys.argv[1:]]
from e6tag.cli import main
try:
    main()
except SystemExit:
    pass
heavy = set({HEAVY!r}) & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["harvest", "--help"], ["validate", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    subprocess.run(
        [sys.executable, "-c", HELP, *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def test_lock_file_names_no_index_and_pins_everything_with_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text()
    addresses = text
    for package in ("aiohttp", "dvc-http", "httpcore", "httpx"):
        addresses = addresses.replace(package, "")
    assert "http" not in addresses
    assert "index-url" not in text
    for requirement in text.replace("\\\n", " ").splitlines():
        if requirement.strip():
            assert "==" in requirement
            assert "--hash=sha256:" in requirement
