"""A training that starts from a released model, and what stays frozen in it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.data import shards
from pipeline.errors import BadInput, BadParameter, CorruptFile
from pipeline.paths import Paths
from pipeline.train import fingerprint, initial, run
from pipeline.train.initial import shared_tags
from pipeline.train_params import Train
from tests.builders import toy_shards

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

QUERIES = {"name": "queries", "width": 16, "heads": 2}


@pytest.fixture
def project(toy_trained: Paths, tmp_path: Path) -> Paths:
    """The toy project, whose trained model is also in init/first."""
    root = tmp_path / "project"
    shutil.copytree(toy_trained.root, root)
    shutil.copytree(root / "data" / "model", root / "init" / "first")
    return Paths(root)


def params(**changes: Any) -> Train:
    """Parameters that start from init/first and learn for one epoch, unaugmented."""
    given: dict[str, Any] = toy_shards.small()
    given |= {"init": "init/first", "epochs": 1, "flip": False, "shift": 0.0}
    return Train.model_validate(given | changes)


def rename_tags(paths: Paths, names: list[str]) -> None:
    file = paths.sample / "vocabulary.parquet"
    table = pl.read_parquet(file).with_columns(name=pl.Series(names))
    table.write_parquet(file)


def started(paths: Paths, train: Train) -> Any:
    """Returns the network as it is before its first step."""
    from pipeline.train import loop

    split = shards.read_splits(paths)["train"]
    start = initial.read(train, initial.read_tag_names(paths), paths)
    return loop.compiled(train, split, batch_size=16, start=start).training


def weights(network: Any) -> dict[str, np.ndarray]:
    return {weight.path: np.asarray(weight) for weight in network.weights}


def saved_weights(folder: Path) -> dict[str, np.ndarray]:
    import keras

    return weights(keras.models.load_model(folder / "model.keras", compile=False))


def backbone_of(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the weights whose path is of no head of these tests."""
    return {
        path: value
        for path, value in values.items()
        if path.startswith(("stem", "stage"))
    }


def test_the_same_vocabulary_gives_the_released_network(project: Paths) -> None:
    released = saved_weights(project.root / "init" / "first")
    network = started(project, params())
    for path, value in weights(network).items():
        np.testing.assert_array_equal(value, released[path], err_msg=path)


def test_tags_of_the_same_name_keep_their_rows(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    released = saved_weights(project.root / "init" / "first")
    old = list(toy_shards.TAGS)
    new = [old[3], "a_new_tag", old[0], old[1], "another_new_tag", old[2]]
    rename_tags(project, new)
    found = weights(started(project, params()))
    for row, name in enumerate(new):
        if name in old:
            there = released["tags/kernel"][:, old.index(name)]
            np.testing.assert_array_equal(found["tags/kernel"][:, row], there)
            bias = released["tags/bias"][old.index(name)]
            assert found["tags/bias"][row] == bias
    assert not np.isin(found["tags/kernel"][:, 1], released["tags/kernel"]).any()
    assert "init/first: 4 tags kept, 2 new, 2 gone" in capsys.readouterr().err


def test_a_vocabulary_without_a_tag_in_common_is_said(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    released = saved_weights(project.root / "init" / "first")
    rename_tags(project, [f"new_{number}" for number in range(6)])
    found = weights(started(project, params()))
    line = "init/first: 0 tags kept, 6 new, 6 gone: no tag in common"
    assert line in capsys.readouterr().err
    for path, value in backbone_of(found).items():
        np.testing.assert_array_equal(value, released[path], err_msg=path)
    assert not np.isin(found["tags/kernel"], released["tags/kernel"]).any()


def test_another_head_takes_the_backbone_and_what_both_have(project: Paths) -> None:
    released = saved_weights(project.root / "init" / "first")
    found = weights(started(project, params(head=QUERIES)))
    for path, value in backbone_of(found).items():
        np.testing.assert_array_equal(value, released[path], err_msg=path)
    np.testing.assert_array_equal(found["tags/kernel"], released["tags/kernel"])


def test_queries_go_with_their_tags() -> None:
    from pipeline.train.transfer import carried_over

    tags = shared_tags(("a", "b", "c"), ("c", "new", "a", "other"))
    there = np.arange(24.0).reshape(2, 3, 4)
    found = carried_over(np.full((2, 4, 4), -1.0), there, 1, tags)
    np.testing.assert_array_equal(found[:, 0], there[:, 2])
    np.testing.assert_array_equal(found[:, 2], there[:, 0])
    assert (found[:, [1, 3]] == -1).all()


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        pytest.param((2, 2, 4), 1, id="query of a group"),
        pytest.param((2, 3, 4), None, id="axis that may count tags"),
        pytest.param((2, 5, 4), None, id="other shape"),
    ],
)
def test_weights_of_several_tags_start_as_usual_in_another_vocabulary(
    shape: tuple[int, ...], axis: int | None
) -> None:
    from pipeline.train.transfer import carried_over

    there = np.ones((2, 2, 4) if axis else (2, 3, 4))
    other = shared_tags(("a", "b", "c"), ("b", "c", "d"))
    assert (carried_over(np.zeros(shape), there, axis, other) == 0).all()
    if shape == there.shape:
        same = shared_tags(("a", "b", "c"), ("a", "b", "c"))
        assert (carried_over(np.zeros(shape), there, axis, same) == 1).all()


@pytest.mark.parametrize(
    ("backbone", "layer"),
    [
        pytest.param(
            {"name": "compact", "widths": [16, 48], "blocks": [1, 1]},
            r"stage_2_1_a \(Conv2D, kernel 3 x 3 x 16 x 32\) there and stage_2_1_a "
            r"\(Conv2D, kernel 3 x 3 x 16 x 48\) here",
            id="width",
        ),
        pytest.param(
            {"name": "compact", "widths": [16, 32], "blocks": [2, 1]},
            r"there and stage_1_2_a .* here",
            id="depth",
        ),
    ],
)
def test_another_architecture_is_one_line_that_names_the_first_layer(
    project: Paths, backbone: dict[str, Any], layer: str
) -> None:
    with pytest.raises(BadInput, match=layer) as raised:
        run(params(backbone=backbone), project)
    assert "\n" not in str(raised.value)
    assert "Set train.backbone as in the training.json" in str(raised.value)


def test_a_folder_that_is_no_model_is_one_line(project: Paths) -> None:
    folder = project.root / "init" / "first"
    with pytest.raises(CorruptFile, match=r"init/none/training\.json cannot be read"):
        run(params(init="init/none"), project)
    (folder / "model.keras").write_bytes(b"no archive")
    with pytest.raises(CorruptFile, match=r"init/first/model\.keras cannot be read"):
        run(params(), project)
    (folder / "model.keras").unlink()
    with pytest.raises(BadInput, match=r"init/first/model\.keras is not there"):
        run(params(), project)
    facts = json.loads((folder / "training.json").read_text())
    facts["tag_names"].pop()
    (folder / "training.json").write_text(json.dumps(facts))
    with pytest.raises(BadInput, match=r"names 5 tags and counts 6"):
        run(params(), project)
    del facts["tag_names"]
    (folder / "training.json").write_text(json.dumps(facts))
    with pytest.raises(BadInput, match=r"no valid tag_names.*another version"):
        run(params(), project)


def test_work_of_another_start_is_not_resumed(project: Paths) -> None:
    split = shards.read_splits(project)["train"]
    names = initial.read_tag_names(project)
    before = fingerprint(params(), split, None, initial.read(params(), names, project))
    other = (*names[:-1], "another")
    assert before != fingerprint(
        params(), split, None, initial.read(params(), other, project)
    )
    (project.root / "init" / "first" / "model.keras").write_bytes(b"another")
    assert before != fingerprint(
        params(), split, None, initial.read(params(), names, project)
    )


def assert_only_the_head_changed(
    found: dict[str, np.ndarray], released: dict[str, np.ndarray]
) -> None:
    assert len(backbone_of(found)) == len(backbone_of(released)) > 10
    for path, value in backbone_of(found).items():
        np.testing.assert_array_equal(value, released[path], err_msg=path)
    assert (found["tags/kernel"] != released["tags/kernel"]).all()


def test_a_head_of_another_kind_learns_on_embeddings(project: Paths) -> None:
    released = saved_weights(project.root / "init" / "first")
    run(params(freeze="embeddings", head=QUERIES), project)
    assert_only_the_head_changed(saved_weights(project.model), released)


def test_averaged_norms_of_a_head_see_the_embeddings(project: Paths) -> None:
    released = saved_weights(project.root / "init" / "first")
    # A head with a batch norm of its own.
    head = {"name": "attention_residual"}
    run(params(freeze="embeddings", head=head, ema=0.5), project)
    found = saved_weights(project.model)
    for path, value in backbone_of(found).items():
        np.testing.assert_array_equal(value, released[path], err_msg=path)
    assert found["tag_maps_norm/moving_mean"].any()


def test_weights_that_are_not_frozen_change(project: Paths) -> None:
    released = saved_weights(project.root / "init" / "first")
    run(params(), project)
    for path, value in backbone_of(saved_weights(project.model)).items():
        assert (value != released[path]).any(), path


def test_embeddings_give_what_the_frozen_backbone_in_the_graph_gives(
    project: Paths,
) -> None:
    released = saved_weights(project.root / "init" / "first")
    found = []
    for freeze in ("backbone", "embeddings"):
        run(params(freeze=freeze, epochs=2), project)
        found.append(saved_weights(project.model))
        assert_only_the_head_changed(found[-1], released)
    in_graph, once = found
    for path, value in in_graph.items():
        np.testing.assert_allclose(once[path], value, atol=2e-4, err_msg=path)


def test_a_killed_training_on_embeddings_is_resumed(project: Paths) -> None:
    from pipeline.model import backend

    backend.start("tensorflow")
    from pipeline.train import loop
    from pipeline.train.log import TrainingLog
    from tests.builders.training import training_run

    train = params(freeze="embeddings", epochs=3)

    class Killed(Exception):
        """Stands for a kill after the second epoch."""

    class StoppingLog(TrainingLog):
        def write(self, epoch: Any) -> None:
            super().write(epoch)
            if epoch.epoch == 2:
                raise Killed

    with pytest.raises(Killed):
        loop.train_model(training_run(train, project, StoppingLog(project.training)))
    log = TrainingLog(project.training)
    network = loop.train_model(training_run(train, project, log))
    assert [epoch.epoch for epoch in log.epochs] == [1, 2, 3]
    released = saved_weights(project.root / "init" / "first")
    for path, value in backbone_of(weights(network)).items():
        np.testing.assert_array_equal(value, released[path], err_msg=path)


def test_features_that_do_not_fit_in_memory_are_refused(project: Paths) -> None:
    with pytest.raises(BadParameter, match=r"train\.cache_bytes is 1,000\. Raise it"):
        run(params(freeze="embeddings", cache_bytes=1_000), project)
