"""The model as later stages find it: what is wrong with it is one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import BadInput, CorruptFile
from pipeline.model import saved
from pipeline.paths import Paths

FACTS: dict[str, Any] = {
    "backend": "tensorflow",
    "best_epoch": 2,
    "epochs": 2,
    "fingerprint": "0123456789abcdef",
    "input": {"channels": "RGB", "range": [0, 255], "size": 64},
    "keras": "3.15.0",
    "parameters": 1_000,
    "params": {},
    "records": {"train": 20, "validation": 4},
    "tags": 3,
}


@pytest.fixture
def model(tmp_path: Path) -> Paths:
    """A project folder with a whole training.json."""
    paths = Paths(tmp_path)
    write(paths, FACTS)
    return paths


def write(paths: Paths, facts: object) -> None:
    paths.model.mkdir(parents=True, exist_ok=True)
    (paths.model / "training.json").write_text(json.dumps(facts))


def test_facts_of_this_version_are_read(model: Paths) -> None:
    found = saved.read(model, 3)
    assert (found.size, found.backend) == (64, "tensorflow")


@pytest.mark.parametrize("key", FACTS)
def test_a_missing_key_is_named_with_the_command_that_trains_again(
    model: Paths, key: str
) -> None:
    write(model, {name: value for name, value in FACTS.items() if name != key})
    message = rf"training\.json has no valid {key}.*: another version of e6tag wrote it"
    with pytest.raises(BadInput, match=message) as raised:
        saved.read(model, 3)
    assert "dvc repro --single-item --force train, then dvc repro" in str(raised.value)


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param([], id="a list"),
        pytest.param(None, id="null"),
        pytest.param(FACTS | {"input": 64}, id="a number for a tree"),
        pytest.param(FACTS | {"input": {"size": "64"}}, id="a text for a number"),
        pytest.param(FACTS | {"tags": None}, id="null for a number"),
    ],
)
def test_facts_of_another_form_are_one_line(model: Paths, facts: object) -> None:
    write(model, facts)
    with pytest.raises(BadInput, match=r"another version of e6tag wrote it"):
        saved.read(model, 3)


def test_a_file_that_is_no_json_is_one_line(model: Paths) -> None:
    (model.model / "training.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"training\.json cannot be read"):
        saved.read(model, 3)


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=r"training\.json cannot be read"):
        saved.read(Paths(tmp_path), 3)
