"""The batch size that fits, found by trying."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data import shards
from pipeline.errors import BadParameter
from pipeline.train import batch_size, fingerprint, probe, run
from pipeline.train_params import Train
from tests.builders import toy_shards

AUTO = Train(**toy_shards.small() | {"batch_size": "auto", "epochs": 1})

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@given(
    base=st.integers(0, 1_000),
    per_image=st.integers(1, 100),
    limit=st.integers(1, 100_000),
    most=st.integers(1, 5_000),
    knows_limit=st.booleans(),
)
def test_search_finds_the_largest_power_of_two_that_fits(
    base: int, per_image: int, limit: int, most: int, knows_limit: bool
) -> None:
    tried = []

    def peak(size: int) -> int | None:
        tried.append(size)
        needed = base + per_image * size
        return needed if needed <= limit else None

    found = batch_size.search(peak, most=most, limit=limit if knows_limit else None)
    sizes = [2**power for power in range(13) if 2**power <= most]
    fitting = [size for size in sizes if base + per_image * size <= limit]
    assert found == max(fitting, default=0)
    # Every try starts a process.
    assert len(tried) == len(set(tried))
    assert not knows_limit or len(tried) <= 5


def test_auto_is_found_once_and_kept_for_a_resumed_run(tmp_path: Path) -> None:
    paths = toy_shards.project(tmp_path, records={"train": 20})
    (train,) = shards.read_splits(paths).values()
    work = paths.work("train") / fingerprint(AUTO, train, None)
    assert batch_size.resolve(AUTO, train, work) == 16
    kept = work / "batch_size.json"
    kept.write_text(json.dumps({"batch_size": 10}))
    run(AUTO, paths)
    facts = json.loads((paths.model / "training.json").read_text())
    assert facts["batch_size"] == 10
    assert facts["params"]["batch_size"] == "auto"


def test_a_process_above_its_limit_of_memory_does_not_fit() -> None:
    assert probe.measure(AUTO, 6, 8, limit=200_000_000) is None


def test_lack_of_memory_names_the_batch_size_and_the_largest_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = toy_shards.project(tmp_path, records={"train": 20})
    (train,) = shards.read_splits(paths).values()
    params = AUTO.model_copy(update={"batch_size": 20})
    error = batch_size.explain(MemoryError(), params, train)
    assert isinstance(error, BadParameter)
    assert str(error) == (
        "memory ran out while training with train.batch_size: 20; the largest that "
        "fits is 16. Set train.batch_size: 16."
    )
