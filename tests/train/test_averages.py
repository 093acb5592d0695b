"""Trainings with train.ema: what is evaluated, published and resumed from."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import shards
from pipeline.paths import Paths
from pipeline.train import run
from pipeline.train.log import EpochMetrics
from pipeline.train_params import Train
from tests.builders import toy_shards

AVERAGED = Train(**toy_shards.small() | {"epochs": 2, "ema": 0.97})

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@pytest.fixture(scope="module")
def unbroken(toy: Paths, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A project whose training averaged the weights and was not stopped."""
    root = tmp_path_factory.mktemp("unbroken") / "project"
    shutil.copytree(toy.root, root)
    run(AVERAGED, Paths(root))
    return Paths(root)


def test_published_weights_are_those_that_were_evaluated(unbroken: Paths) -> None:
    import keras

    from pipeline.metrics import ranking
    from pipeline.model.predict import predict

    network = keras.models.load_model(unbroken.model / "model.keras")
    validation = shards.read_splits(unbroken)["validation"]
    found = predict(network, validation, AVERAGED.size)
    loss = ranking.cross_entropy(found.labels, found.logits)
    best = max(history(unbroken), key=lambda row: float(row["macro_map"]))
    assert float(best["validation_loss"]) == pytest.approx(loss, abs=1e-4)


def test_a_checkpoint_has_the_trained_weights_and_publishes_the_averages(
    toy: Paths, tmp_path: Path
) -> None:
    from pipeline.data import loader
    from pipeline.train import loop
    from pipeline.train.checkpoints import Checkpoints
    from pipeline.train.ema import AveragedWeights

    train = shards.read_splits(toy)["train"]
    network = loop.compiled(AVERAGED, train, batch_size=16).training
    stream = loader.training(train, AVERAGED, batch_size=16, first_epoch=0)
    network.fit(stream, steps_per_epoch=5, verbose=0, shuffle=False)
    # Keras ends a training with the averages in the network.
    averages = values(network)
    other = loop.compiled(AVERAGED, train, batch_size=16).training
    images, labels = next(iter(stream))
    network.train_on_batch(images, labels)
    trained = values(network)
    checkpoints = Checkpoints(tmp_path / "work")
    averaged = AveragedWeights(lambda: iter([np.asarray(images)]))
    history = [EpochMetrics(1, 0.1, 0.5)]
    checkpoints.save(network, history, averaged=averaged)
    assert all(map(np.array_equal, values(network), trained))
    checkpoints.restore(other)
    assert all(map(np.array_equal, values(other), trained))
    other.load_weights(checkpoints.best)
    pairs = zip(values(other), averages, trained, strict=True)
    for published, before, after in pairs:
        assert published == pytest.approx(0.97 * before + 0.03 * after, abs=1e-6)


def test_norms_have_the_statistics_of_the_averaged_weights(toy: Paths) -> None:
    from pipeline.data import loader
    from pipeline.train import loop
    from pipeline.train.ema import AveragedWeights

    train = shards.read_splits(toy)["train"]
    network = loop.compiled(AVERAGED, train, batch_size=16).training
    stream = loader.training(train, AVERAGED, batch_size=16, first_epoch=0)
    network.fit(stream, steps_per_epoch=5, verbose=0, shuffle=False)
    before = [np.array(value) for value in network.non_trainable_variables]
    images = np.asarray(next(iter(stream))[0])
    with AveragedWeights(lambda: iter([images])).lent(network):
        # Of this one batch: so each norm acts as it does in training.
        expected = np.asarray(network(images, training=True))
    with AveragedWeights(lambda: iter([images])).lent(network):
        found = network.predict_on_batch(images)
    with AveragedWeights(lambda: iter(())).lent(network):
        with_those_of_training = network.predict_on_batch(images)
    assert found == pytest.approx(expected, abs=1e-3)
    assert with_those_of_training != pytest.approx(expected, abs=1e-2)
    after = [np.array(value) for value in network.non_trainable_variables]
    assert all(map(np.array_equal, before, after))


def test_a_stopped_training_goes_on_from_the_trained_weights(
    toy: Paths, unbroken: Paths, tmp_path: Path
) -> None:
    shutil.copytree(toy.root, tmp_path / "project")
    paths = Paths(tmp_path / "project")
    stop_after_an_epoch(paths)
    run(AVERAGED, paths)
    for broken, whole in zip(history(paths), history(unbroken), strict=True):
        for name in ("learning_rate", "train_loss", "validation_loss"):
            # Sums of floats differ in their last digits.
            assert float(broken[name]) == pytest.approx(float(whole[name]), abs=0.01)


def stop_after_an_epoch(paths: Paths) -> None:
    from pipeline.train import loop
    from pipeline.train.log import TrainingLog
    from tests.builders.training import training_run

    class Stopping(TrainingLog):
        def write(self, epoch: EpochMetrics) -> None:
            super().write(epoch)
            raise KeyboardInterrupt

    log = Stopping(paths.training)
    with pytest.raises(KeyboardInterrupt):
        loop.train_model(training_run(AVERAGED, paths, log))
    log.close()


def values(network: object) -> list[np.ndarray]:
    return [np.array(weight) for weight in network.trainable_weights]


def history(paths: Paths) -> list[dict[str, str]]:
    with (paths.model / "history.csv").open() as file:
        return list(csv.DictReader(file))
