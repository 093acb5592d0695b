"""The log of a training run: the best epoch, and the history as CSV."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.train.log import EpochMetrics, best_epoch, to_csv


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
