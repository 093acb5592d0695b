"""The one-cycle schedule: where it starts, peaks and ends, and on which step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None, max_examples=50)
@given(
    peak=st.floats(1e-6, 1.0),
    steps=st.integers(20, 2_000),
    warmup=st.floats(0.1, 0.9),
)
def test_one_cycle_rises_from_a_25th_to_the_peak_and_falls_to_zero(
    peak: float, steps: int, warmup: float
) -> None:
    from pipeline.train.schedules import OneCycle

    schedule = OneCycle(peak, steps, warmup)
    every_step = np.arange(steps + 1, dtype=np.float32)
    rates = np.asarray(schedule(every_step), np.float64)
    assert rates[0] == pytest.approx(peak / 25, rel=1e-4)
    highest = int(rates.argmax())
    assert abs(highest - warmup * steps) <= 1
    assert rates[highest] == pytest.approx(peak, rel=0.1)
    assert rates.max() <= peak * 1.0001
    assert rates[steps] == pytest.approx(0, abs=peak * 1e-6)
    assert (np.diff(rates[: highest + 1]) > 0).all()
    assert (np.diff(rates[highest:]) <= peak * 1e-6).all()


def test_half_way_down_the_rate_is_half_of_the_peak() -> None:
    from pipeline.train.schedules import OneCycle

    schedule = OneCycle(0.8, steps=100, warmup=0.2)
    assert float(schedule(20)) == pytest.approx(0.8)
    assert float(schedule(60)) == pytest.approx(0.4)
    assert float(schedule(10)) == pytest.approx(0.8 * (1 / 25 + 1) / 2)


def test_momentum_is_high_at_both_ends_and_low_at_the_peak_of_the_rate() -> None:
    from pipeline.train.schedules import InverseCycle, OneCycle

    every_step = np.arange(101, dtype=np.float32)
    momenta = np.asarray(InverseCycle([0.95, 0.85], steps=100, warmup=0.2)(every_step))
    rates = np.asarray(OneCycle(0.8, steps=100, warmup=0.2)(every_step))
    assert momenta[[0, 10, 20, 60, 100]] == pytest.approx(
        [0.95, 0.9, 0.85, 0.9, 0.95], abs=1e-6
    )
    assert momenta.argmin() == rates.argmax()


@pytest.mark.parametrize(
    ("cycles", "peaks", "valleys"),
    [
        pytest.param(1, [50], [0, 100], id="the hobby project's"),
        pytest.param(2, [25, 75], [0, 50, 100], id="two"),
    ],
)
def test_triangle_rises_and_falls_linearly(
    cycles: int, peaks: list[int], valleys: list[int]
) -> None:
    from pipeline.train.schedules import Triangle

    every_step = np.arange(101, dtype=np.float32)
    rates = np.asarray(Triangle(0.1, 4.0, steps=100, cycles=cycles)(every_step))
    assert rates[peaks] == pytest.approx(4.0, abs=1e-4)
    assert rates[valleys] == pytest.approx(0.1, abs=1e-4)
    slopes = np.abs(np.diff(rates))
    assert slopes == pytest.approx(3.9 * 2 * cycles / 100, abs=1e-4)


def test_cosine_rises_from_a_25th_and_ends_at_its_share_of_the_peak() -> None:
    from pipeline.train.schedules import cosine

    plan = cosine(100, learning_rate=0.5, warmup=0.1, final=0.2)
    every_step = np.arange(101, dtype=np.float32)
    rates = np.array([float(plan.rate(step)) for step in every_step])
    assert rates[0] == pytest.approx(0.5 / 25)
    assert rates.argmax() == 10
    assert rates[[10, 55, 100]] == pytest.approx([0.5, 0.3, 0.1])


def test_a_schedule_of_updates_changes_once_per_accumulation() -> None:
    from pipeline.train.schedules import OneCycle, PerUpdate

    updates = OneCycle(0.8, steps=10, warmup=0.5)
    rates = np.asarray(PerUpdate(updates, 3)(np.arange(30)))
    assert rates == pytest.approx(np.repeat(np.asarray(updates(np.arange(10))), 3))
