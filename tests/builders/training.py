"""One training of a project, as the stage makes it.

Import only after `backend.start`.
"""

from pipeline.data import shards
from pipeline.paths import Paths
from pipeline.train import fingerprint, initial
from pipeline.train.checkpoints import Checkpoints
from pipeline.train.hosts import Host
from pipeline.train.log import TrainingLog
from pipeline.train.loop import TrainingRun
from pipeline.train_params import Train


def training_run(params: Train, paths: Paths, log: TrainingLog) -> TrainingRun:
    """A training that writes its checkpoints where the stage looks for them."""
    splits = shards.read_splits(paths)
    train, validation = splits["train"], splits["validation"]
    start = initial.read(params, initial.read_tag_names(paths), paths)
    work_id = fingerprint(params, train, validation, start)
    return TrainingRun(
        params=params,
        train=train,
        validation=validation,
        start=start,
        checkpoints=Checkpoints(paths.work("train") / work_id),
        log=log,
        batch_size=params.batch_size,
        host=Host(),
    )
