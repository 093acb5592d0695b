"""The house: one word in four places, imports one way, every file a stage's bytes depend on listed in dvc.yaml."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.params import LISTS, Params
from pipeline.paths import DATASETS, Paths

ROOT = Path(__file__).parents[2]
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = [name for name in DVC["stages"] if name != "validate"]

INERT = {
    "__init__",
    "__main__",
    "atomic",
    "errors",
    "locks",
    "params",
    "paths",
    "progress",
    "workers",
}
"""Modules that do not change what a stage writes: how it fails, shows itself, waits, or finds its files."""


def modules(package: str) -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in (ROOT / package).rglob("*.py")
    }


def imported(path: Path) -> set[str]:
    """Returns the dotted names that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {
                f"{node.module}.{alias.name}" for alias in node.names
            }
    return names


def shared_modules(stage: str) -> set[str]:
    """Returns the rooms of pipeline (module or package) that a stage's code reaches."""
    files = modules("pipeline")
    frontier = {
        name
        for name in files
        if name == f"pipeline.{stage}" or name.startswith(f"pipeline.{stage}.")
    }
    reached: set[str] = set()
    while frontier:
        reached |= frontier
        found = {name for one in frontier for name in imported(files[one])}
        frontier = {
            name if name in files else f"{name}.__init__" for name in found
        } & set(files) - reached
    return {name.split(".")[1] for name in reached} - INERT


@pytest.mark.parametrize("stage", STAGES)
def test_stage_module_and_command_share_one_word(stage: str) -> None:
    assert DVC["stages"][stage]["cmd"] == f"python -m pipeline {stage}"
    assert (ROOT / "pipeline" / stage / "__init__.py").exists() or (
        ROOT / "pipeline" / f"{stage}.py"
    ).exists()
    assert (ROOT / "tests" / f"test_{stage}.py").exists()
    assert stage in Params.model_fields or stage == "report"


@pytest.mark.parametrize("stage", [*STAGES, "validate"])
def test_stage_lists_all_code_its_bytes_depend_on(stage: str) -> None:
    entry = DVC["stages"][stage]
    deps = entry.get("do", entry)["deps"]
    listed = {Path(dep).stem for dep in deps if dep.startswith("pipeline/")}
    assert shared_modules(stage) <= listed, (
        "code that dvc.yaml does not list changes nothing until somebody forces it"
    )


@pytest.mark.parametrize("stage", STAGES)
def test_stage_writes_where_paths_say(stage: str) -> None:
    outs = {
        next(iter(out)) if isinstance(out, dict) else out
        for out in DVC["stages"][stage]["outs"]
    }
    paths = Paths()
    known = {
        str(getattr(paths, name))
        for name in ("snapshot", "sample", "images", "manifest", "shards", "model")
    }
    known |= {
        str(getattr(paths, name)) for name in ("training", "evaluation", "bundle")
    }
    assert outs <= known | {"reports/index.html"}


def test_every_dataset_has_a_gate() -> None:
    gates = DVC["stages"]["validate"]["foreach"]
    assert tuple(gates) == DATASETS
    for dataset, item in gates.items():
        assert item["data"] == f"data/{dataset}"
    assert DVC["stages"]["validate"]["do"]["outs"] == [
        "data/gates/${key}/verdict.json",
        "reports/gates/${key}",
    ]


def test_parameters_that_change_no_bytes_are_not_listed() -> None:
    listed = {
        name for stage in STAGES for name in DVC["stages"][stage].get("params", [])
    }
    assert not any(name.startswith("cluster") for name in listed)
    assert not listed & {
        "site",
        "site.concurrency",
        "site.requests_per_second",
        "site.contact",
        "site.login",
    }


def test_dvc_sees_the_lists_of_wanted_tags() -> None:
    assert LISTS in DVC["stages"]["sample"]["deps"]
    assert list((ROOT / LISTS).glob("*.txt")), (
        "an empty folder is not in git, and a dep that is not there fails"
    )


def test_pipeline_knows_nothing_of_dvc_and_prefect() -> None:
    for name, path in modules("pipeline").items():
        roots = {imported_name.split(".")[0] for imported_name in imported(path)}
        assert not roots & {"dvc", "prefect", "flows"}, name


def test_pipeline_opens_the_sandbox_in_one_place() -> None:
    users = [
        name
        for name, path in modules("pipeline").items()
        if any(one.split(".")[0] == "sandbox" for one in imported(path))
    ]
    assert users == ["pipeline.site.session"]


def test_sandbox_imports_nothing_of_pipeline() -> None:
    for name, path in modules("sandbox").items():
        assert not any(
            one.split(".")[0] in {"pipeline", "flows"} for one in imported(path)
        ), name


@pytest.mark.parametrize(
    "arguments", [["--help"], ["harvest", "--help"], ["validate", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\nsys.argv=['e6tag', *sys.argv[1:]]\nfrom pipeline.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "names={'tensorflow','great_expectations','keras','polars','pyarrow','prefect','dvc','sklearn'}\n"
        "heavy=names & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def test_lock_file_names_no_index_and_pins_everything_with_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "http" not in text.replace("aiohttp", "").replace("dvc-http", "").replace(
        "httpcore", ""
    ).replace("httpx", "")
    assert "index-url" not in text
    requirements = [
        block for block in text.replace("\\\n", " ").splitlines() if block.strip()
    ]
    assert all("==" in block and "--hash=sha256:" in block for block in requirements)
