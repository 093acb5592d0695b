"""The code that a training depends on, as its fingerprint sees it."""

from pathlib import Path

import pytest
import yaml

from pipeline.train import code
from pipeline.train_params import Train
from tests.builders import stage_inputs
from tests.builders.project import ROOT


def test_fingerprint_depends_on_the_code_that_dvc_sees() -> None:
    tree = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    listed = [dep for dep in tree["stages"]["train"]["deps"] if "pipeline/" in dep]
    seen_by_dvc = set()
    for dep in listed:
        seen_by_dvc |= stage_inputs.files_below(stage_inputs.resolved(dep))
    used = stage_inputs.without_inert(code.files(Train()))
    assert used == seen_by_dvc


def test_fingerprint_names_the_builders_by_the_parameters_that_dvc_names() -> None:
    tree = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    listed = {dep for dep in tree["stages"]["train"]["deps"] if "${" in dep}
    assert listed == {name.replace("{", "${") for name in code.USED if "{" in name}


def test_digests_change_with_the_builder_that_is_used_and_with_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "ROOT", tmp_path)
    for path in code.files(Train()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    before = code.digests(Train())
    heads = tmp_path / "pipeline" / "model" / "heads"
    (heads / "queries.py").write_text("# not used\n")
    assert code.digests(Train()) == before
    (heads / "pool.py").write_text("# changed\n")
    assert code.digests(Train()) != before
