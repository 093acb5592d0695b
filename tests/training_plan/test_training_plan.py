"""`train --plan`: what it counts, what it prints, and that it writes nothing."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.paths import Paths
from pipeline.train_params import Train
from pipeline.training_plan import run
from tests.builders import toy_shards
from tests.builders.project import ROOT, run_command

SMALL = Train(**toy_shards.small())
TAGS = len(toy_shards.TAGS)


@pytest.fixture
def project(toy: Paths, tmp_path: Path) -> Paths:
    """A project with toy shards and the parameters of the sandbox."""
    shutil.copytree(toy.root, tmp_path / "project")
    shutil.copy(ROOT / "params.yaml", tmp_path / "project")
    return Paths(tmp_path / "project")


def test_flops_are_two_for_each_product_of_the_convolutions_and_the_head() -> None:
    from pipeline.training_plan import cost

    # 32 pixels: the stem ends at 8 x 8, the second stage works at 4 x 4.
    products = 16 * 16 * 8 * 27 + 8 * 8 * 16 * 9 * 8  # stem
    products += 2 * 8 * 8 * 16 * 9 * 16  # stage 1
    products += 4 * 4 * 32 * 9 * 16 + 4 * 4 * 32 * 9 * 32  # stage 2
    products += 4 * 4 * 32 * 16  # its shortcut
    products += 32 * TAGS
    counted = cost.count(SMALL, TAGS, batch_size=4)
    assert counted.forward_flops == 2 * products


def test_parameters_and_bytes_are_those_of_the_network_that_is_trained() -> None:
    import numpy as np

    from pipeline.model import build
    from pipeline.training_plan import cost

    network = build.build(SMALL, np.zeros(TAGS, np.float32))
    trained = sum(weight.shape.num_elements() for weight in network.trainable_weights)
    counted = cost.count(SMALL, TAGS, batch_size=4)
    assert counted.parameters == network.count_params()
    assert counted.gradient_bytes == 4 * trained
    # AdamW keeps two numbers for each.
    assert counted.optimizer_bytes == 8 * trained


def test_activations_grow_with_the_batch_and_weights_do_not() -> None:
    from pipeline.training_plan import cost

    small = cost.count(SMALL, TAGS, batch_size=4)
    large = cost.count(SMALL, TAGS, batch_size=40)
    assert large.weight_bytes == small.weight_bytes
    assert large.activation_bytes == pytest.approx(10 * small.activation_bytes, rel=0.1)


def test_a_network_is_counted_that_fits_in_no_memory() -> None:
    from pipeline.training_plan import cost

    huge = SMALL.model_copy(
        update={"head": Train(head={"name": "attention_residual"}).head}
    )
    counted = cost.count(huge, 100_000, batch_size=1)
    # Two dense maps of 16 positions x 200,000 channels to 200,000.
    assert counted.weight_bytes > 2 * 16 * 200_000**2 * 4


def test_the_plan_is_printed_and_nothing_is_written(project: Paths) -> None:
    before = sorted(project.root.rglob("*"))
    done = run_command(project.root, "train", "--plan")
    assert done.returncode == 0, done.stderr
    lines = {line[:18].strip(): line[18:] for line in done.stdout.splitlines()}
    assert lines["network"] == "compact, pool; 96 x 96 pixels, 6 tags"
    assert "billion in a training step" in lines["FLOPs per image"]
    assert "x 64" in lines["memory"]
    # 240 images in batches of 64.
    assert lines["steps"].startswith("48: 16 epochs of 240 images")
    assert "hours" in lines["time"]
    assert sorted(project.root.rglob("*")) == before


def test_without_shards_the_steps_are_unknown(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project.shards)
    run(SMALL, project)
    text = capsys.readouterr().out
    assert "images/s" in text
    assert "unknown: data/shards has no index yet" in text


def test_without_a_vocabulary_one_line_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"vocabulary\.parquet is not there.*dvc repro"):
        run(SMALL, Paths(tmp_path))
