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
