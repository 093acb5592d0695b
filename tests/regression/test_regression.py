"""A number per image: fitted on embeddings, saved as a network, refused in one line."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from pipeline import regression
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.paths import Paths
from tests.builders import toy_shards
from tests.builders.project import ROOT

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

TRAIN = range(1, 241)
TEST = range(289, 337)


@pytest.fixture
def project(toy_trained: Paths, tmp_path: Path) -> Paths:
    """The toy project with a trained model."""
    shutil.copytree(toy_trained.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def score(post_id: int) -> float:
    """A number that the image shows, and a little that it does not."""
    _, _, labels = toy_shards._record(621, post_id)
    shown = 2.0 * (0 in labels) + 1.0 * (3 in labels)
    return 5 + shown + 0.2 * Random(post_id).gauss(0, 1)


def rows_of(post_ids: Any) -> list[str]:
    return [f"{post_id},{score(post_id):.4f}" for post_id in post_ids]


def write(path: Path, rows: list[str], header: str = "post_id,value") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def metrics_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "metrics.json").read_text()))


@pytest.fixture(scope="module")
def fitted(
    toy_trained: Paths, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Paths, Path]:
    """The toy project, and what was fitted to a score of every image."""
    folder = tmp_path_factory.mktemp("fitted")
    table = write(folder / "scores.csv", rows_of([*TRAIN, *TEST]))
    out = folder / "quality"
    regression.run(table, toy_trained.model, out, toy_trained)
    return toy_trained, out


def test_what_images_show_is_predicted_better_than_by_a_constant(
    fitted: tuple[Paths, Path],
) -> None:
    _, out = fitted
    found = metrics_of(out)
    test = found["test"]
    assert test["mae"]["value"] < 0.7 * test["mae"]["baseline"]
    assert test["r2"]["low"] > 0.3
    assert abs(test["r2"]["baseline"]) < 0.1
    assert test["spearman"]["low"] > 0.5
    for metric in test.values():
        assert metric["low"] <= metric["value"] <= metric["high"]
    assert found["images"] == {"train": 240, "test": 48}
    assert found["left_out"] == {"images_without_row": [], "rows_without_image": []}
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "model.keras",
    ]


def test_the_saved_network_gives_what_was_evaluated(
    fitted: tuple[Paths, Path],
) -> None:
    import keras

    from pipeline.model.predict import predict

    project, out = fitted
    network = keras.models.load_model(out / "model.keras", compile=False)
    assert network.output_shape == (None, 1)
    split = shards.read_splits(project)["test"]
    found = predict(network, split, 32)
    truth = np.array([score(int(post_id)) for post_id in found.post_ids])
    error = np.abs(found.logits[:, 0] - truth).mean()
    assert error == pytest.approx(metrics_of(out)["test"]["mae"]["value"], abs=1e-3)


def test_rows_and_images_without_partner_are_counted_and_listed(
    project: Paths, tmp_path: Path
) -> None:
    rows = rows_of([*TRAIN[:100], *TEST[:20]])
    rows += ["007000,1.0", "8000,2.0"]
    table = write(tmp_path / "scores.csv", rows)
    command = [sys.executable, "-m", "pipeline", "regression", str(table)]
    command += ["--model", "data/model", "--out", "quality"]
    (project.params).write_text("{}\n")
    done = subprocess.run(
        command,
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    missing = "168 of 288 images of train and test have no row in"
    assert missing in done.stderr
    assert "2 of 122 rows of" in done.stderr
    assert "left out, such as post_id 7000;" in done.stderr
    found = metrics_of(project.root / "quality")
    assert found["images"] == {"train": 100, "test": 20}
    assert found["left_out"]["rows_without_image"] == ["7000", "8000"]
    expected = {str(post_id) for post_id in [*TRAIN[100:], *TEST[20:]]}
    assert set(found["left_out"]["images_without_row"]) == expected


MD5 = "0cc175b9c0f1b6a831c399e269772661"


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        pytest.param(
            "post_id,value",
            ["12,1.5", "13,2", "012,1.5"],
            "line 4: post_id 12 has a row already, in line 2. Keep one of the two.",
            id="double post",
        ),
        pytest.param(
            "md5,value",
            [f"{MD5},1", f"{MD5.upper()},2"],
            f"line 3: md5 {MD5} has a row already, in line 2.",
            id="double md5",
        ),
        pytest.param(
            "post_id,value", ["12,high"], "line 2: the value 'high' is not a", id="text"
        ),
        pytest.param(
            "post_id,value", ["12,"], "line 2: the value '' is not a number", id="empty"
        ),
        pytest.param(
            "post_id,value", ["12,nan"], "the value 'nan' is not a number", id="nan"
        ),
        pytest.param(
            "post_id,value", ["1,2", "12"], "line 3: 1 fields, where", id="no value"
        ),
        pytest.param(
            "post_id,value", ["x12,1"], "line 2: 'x12' is no post_id", id="no post"
        ),
        pytest.param("md5,value", ["12,1"], "line 2: '12' is no md5", id="no md5"),
        pytest.param(
            "id;score", ["1;2"], "begins with 'id;score'. Its first", id="header"
        ),
    ],
)
def test_a_bad_row_is_one_line_with_its_place(
    tmp_path: Path, header: str, rows: list[str], message: str
) -> None:
    table = write(tmp_path / "scores.csv", rows, header)
    with pytest.raises(BadInput) as raised:
        regression.run(table, tmp_path / "model", tmp_path / "out", Paths(tmp_path))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_one_that_is_no_text_are_one_line(tmp_path: Path) -> None:
    table = tmp_path / "scores.csv"
    given = (table, tmp_path / "model", tmp_path / "out", Paths(tmp_path))
    with pytest.raises(BadInput, match=r"scores\.csv cannot be read: .*No such file"):
        regression.run(*given)
    table.write_bytes(b"post_id,value\n\xff\xfe,1\n")
    with pytest.raises(BadInput, match=r"scores\.csv cannot be read.*UTF-8"):
        regression.run(*given)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(
            lambda: rows_of([*TRAIN, *TEST[:9]]),
            "a value for 9 images of the test split, at least 10 are needed",
            id="few test images",
        ),
        pytest.param(
            lambda: [f"{post_id},3" for post_id in [*TRAIN, *TEST]],
            "gives all images of the train split the value 3: there is nothing to",
            id="one value",
        ),
    ],
)
def test_values_that_nothing_can_be_learnt_from_are_refused(
    project: Paths, tmp_path: Path, rows: Callable[[], list[str]], message: str
) -> None:
    table = write(tmp_path / "scores.csv", rows())
    with pytest.raises(BadInput, match=message):
        regression.run(table, project.model, tmp_path / "out", project)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="out is there already"):
        regression.run(
            tmp_path / "scores.csv", tmp_path, tmp_path / "out", Paths(tmp_path)
        )
