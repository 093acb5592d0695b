"""The table of an ablation, and the differences that are computed from it."""

from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from pipeline import ablation_results
from pipeline.errors import BadInput
from tests.builders.ablation_results import baseline, row


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.csv"
    untimed = replace(baseline(2, 0.7).measured, seconds=None)
    rows = [baseline(1, 0.8), replace(baseline(2, 0.7), measured=untimed)]
    ablation_results.write(path, rows)
    assert ablation_results.read(path) == rows
    assert ablation_results.read(tmp_path / "other.csv") == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("factor,", "colour,", id="column"),
        pytest.param("0.8,", "nan,", id="not finite"),
        pytest.param("0.8,", "much,", id="no number"),
    ],
)
def test_a_table_that_is_none_is_refused(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "sandbox.csv"
    ablation_results.write(path, [baseline(1, 0.8)])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BadInput, match=r"sandbox\.csv is not a table of ablation"):
        ablation_results.read(path)


def test_differences_are_paired_by_seed_with_the_t_interval_of_scipy() -> None:
    rows = [baseline(seed, 0.5 + seed / 10) for seed in (1, 2, 3)]
    gains = {1: 0.02, 2: 0.04, 3: 0.03}
    for seed, gain in gains.items():
        rows.append(row("head", "queries", seed, 0.5 + seed / 10 + gain))
    rows.append(row("head", "queries", 4, 0.1))  # the baseline was not run with it
    (found,) = ablation_results.differences(rows)
    assert (found.level, found.reference, found.seeds) == ("queries", "baseline", 3)
    assert found.difference == pytest.approx(0.03)
    expected = stats.ttest_rel([0.62, 0.74, 0.83], [0.6, 0.7, 0.8])
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_gives_no_interval() -> None:
    rows = [baseline(1, 0.6), row("head", "queries", 1, 0.7)]
    (found,) = ablation_results.differences(rows)
    assert found.difference == pytest.approx(0.1)
    assert (found.low, found.high) == (None, None)


def test_a_level_without_its_reference_has_no_difference() -> None:
    alone = row("join", "concat", 1, 0.7, reference="sum")
    assert ablation_results.differences([baseline(1, 0.6), alone]) == []
    beside = row("join", "sum", 1, 0.6, reference="")
    (found,) = ablation_results.differences([alone, beside])
    assert (found.reference, found.difference) == ("sum", pytest.approx(0.1))


def test_the_digest_of_shards_does_not_depend_on_their_order() -> None:
    digest = ablation_results.shards_digest(["b", "a"])
    assert digest == ablation_results.shards_digest(["a", "b"])
    assert digest != ablation_results.shards_digest(["a", "c"])
