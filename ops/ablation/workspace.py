"""Runs one training of an ablation in a folder of its own.

Reads       the code, dvc.yaml and dvc.lock of the project, and its DVC cache
Writes      .work/ablation/<fingerprint>/, a project with other values of `train`, which
            the caller removes; models and evaluations stay in the project's DVC cache
            until `e6tag purge`
Guarantees  only `train` and `evaluate` run: what they read is checked out from the
            cache as dvc.lock names it; a killed run resumes where `train` resumes; what
            a killed one left running is ended first.

Not `dvc exp run`: its queue and its temporary folders begin anew after a kill, and need
a commit of git. A project that shares the cache keeps train's checkpoints, and DVC's
run cache gives `dvc repro` a model with the same parameters for nothing.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ops import dvc, processes
from ops.dvc import Outcome
from pipeline import files
from pipeline.ablation_results import Measurement
from pipeline.errors import BadInput
from pipeline.params import Params
from pipeline.paths import Paths

STAGES = ("train", "evaluate")
"""The stages that run; all before them must be up to date in the project."""

MIN_ORIGINALS = 200
"""evaluate.originals at its least: the table has no metric of original files."""

# init: the models that train.init names, where there are any.
_FOLDERS = ("e6tag", "pipeline", "init")
_FILES = ("dvc.yaml", "dvc.lock", "snapshot.json", ".dvcignore")
_DECIMALS = 6  # as in metrics.json
_STARTED = "started"  # file that says that an earlier process began to train


@dataclass(frozen=True, slots=True)
class Source:
    """The project that runs are copied from.

    inputs: paths that `train` and `evaluate` read. cache: the folder of DVC's cache.
    """

    root: Path
    inputs: tuple[str, ...]
    cache: Path


def source(root: Path) -> Source:
    """Returns the project in a folder as a source of runs."""
    root = root.resolve()
    return Source(root, dvc.inputs(root, STAGES), dvc.cache_folder(root))


def measure(
    project: Source,
    folder: Path,
    params: Params,
    on_line: Callable[[str], None],
    variables: Mapping[str, str],
    stop: threading.Event,
) -> Measurement:
    """Trains and evaluates with some parameters; returns what was measured.

    folder: the workspace, made or continued, whose name begins with the fingerprint
    that `train` will write. on_line: called with each line of output.
    variables: of the environment. stop: ends the run and raises processes.Stopped.
    Raises StageFailed.
    """
    processes.end_all_in(folder)
    is_resumed = (folder / _STARTED).exists()
    _prepare(project, folder, params)
    dvc.checkout(folder, project.inputs, on_line, stop)
    (folder / _STARTED).touch()
    started = time.monotonic()
    outcome = dvc.run(folder, "train", on_line, variables, stop)
    if outcome is not Outcome.REBUILT and not _is_of(Paths(folder)):
        # DVC gives back a model of another version of Keras, which it knows nothing of.
        outcome = dvc.run(folder, "train", on_line, variables, stop, force=True)
    seconds = round(time.monotonic() - started, 1)
    dvc.run(folder, "evaluate", on_line, variables, stop)
    in_one_go = outcome is Outcome.REBUILT and not is_resumed
    return _read(Paths(folder), seconds if in_one_go else None)


def _prepare(project: Source, folder: Path, params: Params) -> None:
    """Makes the folder a DVC project with the project's code and other parameters.

    Leaves data and checkpoints of an earlier try in place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
        if (project.root / name).exists():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(project.root / name, folder / name, ignore=ignored)
    for name in _FILES:
        if (project.root / name).exists():
            shutil.copyfile(project.root / name, folder / name)
    _configure_dvc(project, folder / ".dvc")
    changes = {"bootstrap": 0, "originals": MIN_ORIGINALS}
    evaluate = params.evaluate.model_copy(update=changes)
    tree = params.model_copy(update={"evaluate": evaluate}).model_dump(mode="json")
    files.write_text(folder / "params.yaml", yaml.safe_dump(tree, sort_keys=False))


def _configure_dvc(project: Source, folder: Path) -> None:
    """Writes DVC's settings: the project's own, its cache, and no git."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(project.root / ".dvc" / "config", folder / "config")
    config = ConfigParser()
    config["core"] = {"no_scm": "true", "site_cache_dir": str(folder / "site")}
    config["cache"] = {"dir": str(project.cache)}
    with (folder / "config.local").open("w", encoding="utf-8") as file:
        config.write(file)


def _is_of(paths: Paths) -> bool:
    """Returns whether the model is the one that the folder is named after."""
    training = _tree(paths.model / "training.json")
    return paths.root.name.startswith(training["fingerprint"])


def _read(paths: Paths, seconds: float | None) -> Measurement:
    """Returns the metrics that the stages wrote.

    Raises BadInput where code or shards are not those that the folder is named after.
    """
    if not _is_of(paths):
        raise BadInput(
            "the code or the shards of the project changed while the ablation ran. "
            "Run the same command again: it starts from what they are then."
        )
    training = _tree(paths.model / "training.json")
    splits = _tree(paths.evaluation / "metrics.json")["splits"]
    return Measurement(
        test_macro_map=_metric(splits, "test", "macro_map"),
        validation_macro_map=_metric(splits, "validation", "macro_map"),
        test_macro_auc=_metric(splits, "test", "macro_auc"),
        parameters=int(training["parameters"]),
        best_epoch=int(training["best_epoch"]),
        seconds=seconds,
    )


def _metric(splits: dict[str, Any], split: str, name: str) -> float:
    return round(float(splits[split][name]["value"]), _DECIMALS)


def _tree(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
