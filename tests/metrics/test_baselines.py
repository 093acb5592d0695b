"""What is computed of the frequencies of tags alone."""

import numpy as np
import pytest

from pipeline.metrics import baselines


def test_log_odds_are_those_of_the_share_of_positives() -> None:
    found = baselines.log_odds(np.array([249, 499, 749]), 998)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([np.log(1 / 3), 0, np.log(3)])


def test_log_odds_of_tags_on_no_image_and_on_all_are_finite() -> None:
    found = baselines.log_odds(np.array([0, 8]), 8)
    assert found.tolist() == pytest.approx([-np.log(9), np.log(9)])
