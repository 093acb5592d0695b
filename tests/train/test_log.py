"""The log of a training run: the best epoch, and the history as CSV."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.train.log import EpochMetrics, best_epoch, stopped_early, to_csv
from pipeline.train_params import Train


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_best_epoch_is_the_last_of_the_highest(maps: list[float]) -> None:
    epochs = [
        EpochMetrics(number, 0.0, 0.0, macro_map=value)
        for number, value in enumerate(maps, 1)
    ]
    assert best_epoch(epochs).macro_map == max(maps)
    assert all(
        epoch.macro_map < max(maps) for epoch in epochs[best_epoch(epochs).epoch :]
    )


def test_history_is_empty_where_nothing_was_evaluated() -> None:
    assert (
        to_csv([EpochMetrics(1, 0.5, 0.25)]).splitlines()[1]
        == "1,0.500000,0.250000,,,,,,"
    )


def stopped_after(values: list[float], **changes: object) -> bool:
    epochs = []
    for number, value in enumerate(values, start=1):
        epochs.append(EpochMetrics(number, 0.0, 0.0, macro_map=value))
    return stopped_early(epochs, Train.model_validate({"epochs": 9, **changes}))


def test_early_stop_counts_the_epochs_since_the_first_best() -> None:
    assert not stopped_after([0.1, 0.5, 0.4], early_stop=2)
    assert stopped_after([0.1, 0.5, 0.4, 0.5], early_stop=2)
    assert not stopped_after([0.5, 0.4, 0.6], early_stop=2)
    assert not stopped_after([], early_stop=2)


def test_a_training_without_early_stop_has_all_its_epochs() -> None:
    assert not stopped_after([0.5, 0.4, 0.3, 0.2])
    # The last epoch leaves none to stop.
    assert not stopped_after([0.5, 0.4, 0.3], early_stop=2, epochs=3)
