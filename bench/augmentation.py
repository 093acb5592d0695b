"""Images per second of a core, of the loader with and without each augmentation.

    python bench/augmentation.py [--sizes 96,224] [--runs 5] [--records 1024]

The loader makes batches of 64 from random images that are held decoded in memory, as
`train` does where `train.cache_bytes` allows; nothing is trained meanwhile. All rows
take turns within each run. Printed are the images in a second of processor time, which
other work on the machine disturbs less than a second of the clock: medians of the runs.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np

from pipeline.data.shards import Split
from pipeline.model import backend
from pipeline.paths import Paths
from pipeline.train_params import Train
from tests.builders import toy_shards

BATCH_SIZE = 64
EPOCHS = 2  # in a run
OFF: dict[str, object] = {"flip": False, "shift": 0.0}

ROWS: dict[str, dict[str, object]] = {
    "none": OFF,
    "flip and shift (default)": {},
    "rotation 10": {"rotation": 10.0},
    "zoom 0.1": {"zoom": 0.1},
    "rotation 10, zoom 0.1": {"rotation": 10.0, "zoom": 0.1},
    "contrast 0.2": {"contrast": 0.2},
    "TrivialAugment": {"trivial_augment": True},
    "MixUp 0.2": {"mixup": 0.2},
    "all": {
        "rotation": 10.0,
        "zoom": 0.1,
        "contrast": 0.2,
        "trivial_augment": True,
        "mixup": 0.2,
    },
}
"""Parameters of `train` by what is printed; from the third on, besides the default."""


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="96,224")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--records", type=int, default=1_024, help="images an epoch")
    arguments = parser.parse_args()
    backend.start("tensorflow")
    sizes = [int(size) for size in arguments.sizes.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        split = _split(Paths(Path(folder)), arguments.records)
        columns = [_medians(split, size, arguments.runs) for size in sizes]
    heads = " | ".join(f"{size} px" for size in sizes)
    print(f"| augmentation | {heads} |")
    print("|---" + "|--:" * len(sizes) + "|")
    for name in ROWS:
        cells = [f"{round(column[name], -1):,.0f}" for column in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")


def _split(paths: Paths, count: int) -> Split:
    random = Random(621)
    records = []
    for post_id in range(count):
        jpeg = toy_shards.picture(set(toy_shards.TAGS), random)
        records.append((post_id, jpeg, [post_id % 6]))
    row = toy_shards.write_shard(paths, "train", 0, records)
    file = paths.shards / str(row["shard"])
    return Split("train", (file,), (), count, np.ones(6, np.int64))


def _medians(split: Split, size: int, runs: int) -> dict[str, float]:
    """Returns images per second of a core; the first run is left out.

    A stream is read to its end each time, so that no batch is made while another is
    timed.
    """
    streams = {name: _stream(split, size, row) for name, row in ROWS.items()}
    rates: dict[str, list[float]] = {name: [] for name in ROWS}
    for run in range(runs + 1):
        for name, stream in streams.items():
            start = time.process_time()
            batches = sum(1 for _ in stream)
            seconds = time.process_time() - start
            if run > 0:
                rates[name].append(batches * BATCH_SIZE / seconds)
    return {name: statistics.median(found) for name, found in rates.items()}


def _stream(split: Split, size: int, row: dict[str, object]) -> Iterable[object]:
    from pipeline.data import loader

    params = Train.model_validate({"size": size, "epochs": EPOCHS, **row})
    return loader.training(split, params, batch_size=BATCH_SIZE, first_epoch=0)


if __name__ == "__main__":
    main()
