"""dvc.yaml: a stage lists what it reads and writes, no more and no less."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.param_models import Choice, choices
from pipeline.params import Params
from pipeline.params.export import RELEASES
from pipeline.params.sample import LISTS
from pipeline.paths import DATASETS, Paths
from pipeline.train_params import INITIAL_MODELS, Train
from tests.builders import stage_inputs
from tests.builders.project import ROOT

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = [name for name in DVC["stages"] if name != "validate"]

OUTS = {
    "harvest": [Paths().snapshot],
    "sample": [Paths().sample],
    "download": [Paths().images],
    "manifest": [Paths().manifest],
    "shard": [Paths().shards],
    "train": [Paths().model, Paths().training],
    "evaluate": [Paths().evaluation],
    "mine": [Paths().mining],
    "export": [Paths().bundle],
    "report": [Paths().reports / "index.html"],
}
"""What each stage writes."""

OTHER_PLACES = {
    "root",
    "params",
    "data",
    "ledger",
    "politeness",
    "resources",
    "work",
    "reports",
    "ablation_plan",
}
"""Members of Paths that are no input of a stage: its own records, locks and folders."""


def entry(stage: str) -> dict[str, Any]:
    """The stage in dvc.yaml; of the gates, what they share."""
    found = DVC["stages"][stage]
    return dict(found.get("do", found))


def listed(outs: list[Any]) -> list[str]:
    """Paths of deps or outs, without their options."""
    return [next(iter(out)) if isinstance(out, dict) else out for out in outs]


def is_code(dep: str) -> bool:
    return Path(dep).parts[0] in {"e6tag", "ops", "flows", "pipeline", "sandbox"}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_package_command_section_and_tests_share_one_word(stage: str) -> None:
    assert entry(stage)["cmd"] == f"python -m pipeline {stage}"
    assert (ROOT / "pipeline" / stage / "__init__.py").exists()
    assert list((ROOT / "tests" / stage).glob("test_*.py"))
    assert stage in Params.model_fields or stage == "report"


@pytest.mark.parametrize("stage", [*STAGES, "validate"])
def test_stage_lists_exactly_the_code_its_bytes_depend_on(stage: str) -> None:
    deps = [dep for dep in entry(stage)["deps"] if is_code(dep)]
    files = set()
    for dep in deps:
        files |= stage_inputs.files_below(stage_inputs.resolved(dep))
    needed = stage_inputs.needed_files(stage)
    assert files == needed, (
        f"{stage} lists {sorted(files - needed)} without reading them, and reads "
        f"{sorted(needed - files)} without listing them. dvc.yaml should have:\n"
        f"{stage_inputs.as_yaml(stage)}"
    )


def every_choice() -> list[Any]:
    """The choices that have a builder, each with the parameter that it is of."""
    cases = []
    for parameter in stage_inputs.BUILDERS:
        for name, choice in choices(Train.model_fields[parameter]).items():
            cases.append(pytest.param(parameter, choice, id=f"{parameter}-{name}"))
    return cases


@pytest.mark.parametrize(("parameter", "choice"), every_choice())
def test_training_depends_on_the_builders_that_are_chosen_and_on_no_other(
    parameter: str, choice: type[Choice]
) -> None:
    train = Train(**{parameter: choice()})
    files = set()
    for dep in entry("train")["deps"]:
        if is_code(dep):
            files |= stage_inputs.files_below(stage_inputs.resolved(dep, train))
    needed = stage_inputs.needed_files("train", train)
    assert files == needed
    folder = f"pipeline/model/{stage_inputs.BUILDERS[parameter]}"
    names = choices(Train.model_fields[parameter])
    builders = {f"{folder}/{name}.py" for name in names}
    assert needed & builders == {f"{folder}/{choice().name}.py"}


@pytest.mark.parametrize("stage", [*STAGES, "validate"])
def test_stage_lists_whole_folders_only_where_every_new_file_matters(
    stage: str,
) -> None:
    deps = [dep for dep in entry(stage)["deps"] if is_code(dep)]
    folders = {dep for dep in deps if (ROOT / dep).is_dir()}
    assert folders <= {f"pipeline/{stage}", *stage_inputs.WHOLE_FOLDERS}


@pytest.mark.parametrize("stage", [*STAGES, "validate"])
def test_stage_lists_exactly_the_parameters_it_reads(stage: str) -> None:
    given = stage_inputs.expanded(entry(stage)["params"])
    read = set(stage_inputs.parameters_read(stage)) - stage_inputs.INERT_PARAMETERS
    assert given == read, (
        f"{stage} lists {sorted(given - read)} without reading them, and reads "
        f"{sorted(read - given)} without listing them. dvc.yaml should have:\n"
        f"{stage_inputs.as_yaml(stage)}"
    )


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_exactly_the_datasets_it_reads(stage: str) -> None:
    own = {str(out) for out in OUTS[stage]}
    read = set()
    for name in stage_inputs.paths_read(stage) - OTHER_PLACES - {"verdict"}:
        path = str(getattr(Paths(), name))
        if path not in own:
            read.add(path)
    deps = set()
    for dep in entry(stage)["deps"]:
        parts = Path(dep).parts
        if parts[0] == "data" and parts[1] != "gates":
            deps.add("/".join(parts[:2]))
        elif dep in {str(Paths().pin), str(Paths().ablation)}:
            deps.add(dep)
    assert deps == read


@pytest.mark.parametrize("stage", STAGES)
def test_stage_waits_for_the_gate_of_what_it_reads(stage: str) -> None:
    verdicts = [dep for dep in entry(stage)["deps"] if dep.startswith("data/gates/")]
    gates = {"sample": ["snapshot"], "download": ["sample"], "shard": ["manifest"]}
    gates |= {"train": ["shards"], "mine": ["evaluation"]}
    gates["export"] = ["evaluation", "mining"]
    expected = gates.get(stage, [])
    if stage == "report":
        expected = list(DATASETS)
    assert verdicts == [str(Paths().verdict(name)) for name in expected]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_writes_exactly_its_own_paths(stage: str) -> None:
    assert listed(entry(stage)["outs"]) == [str(out) for out in OUTS[stage]]


def test_every_dataset_has_a_gate() -> None:
    gates = DVC["stages"]["validate"]["foreach"]
    assert tuple(gates) == DATASETS
    for dataset, item in gates.items():
        assert item["data"] == f"data/{dataset}"
    assert entry("validate")["outs"] == [
        str(Paths().verdict("${key}")),
        str(Paths().data_docs("${key}")),
    ]


def test_parameters_that_change_no_bytes_are_not_listed() -> None:
    given = set()
    for stage in [*STAGES, "validate"]:
        given |= stage_inputs.expanded(entry(stage)["params"])
    assert not given & stage_inputs.INERT_PARAMETERS


def test_metrics_are_the_headline_of_the_model() -> None:
    assert DVC["metrics"] == [str(Paths().evaluation / "headline.json")]


def test_results_of_ablations_have_a_folder_also_where_there_are_none() -> None:
    assert str(Paths().ablation) in entry("report")["deps"]
    # A dep that is not there fails.
    assert (ROOT / Paths().ablation / "README.md").exists()


def test_dvc_sees_the_lists_of_wanted_tags() -> None:
    assert LISTS in entry("sample")["deps"]
    # An empty folder is not in git, and a dep that is not there fails.
    assert list((ROOT / LISTS).glob("*.txt"))


def test_dvc_sees_the_models_that_a_training_starts_from() -> None:
    assert INITIAL_MODELS in entry("train")["deps"]
    # An empty folder is not in git, and a dep that is not there fails.
    assert list((ROOT / INITIAL_MODELS).iterdir())


def test_dvc_sees_the_bundles_that_were_released() -> None:
    assert RELEASES in entry("export")["deps"]
    gate = DVC["stages"]["validate"]["foreach"]["evaluation"]
    assert RELEASES in gate.values()
    # An empty folder is not in git, and a dep that is not there fails.
    assert list((ROOT / RELEASES).iterdir())
