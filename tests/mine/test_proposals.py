"""Which likely labels become proposals."""

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array

from pipeline.mine import proposals
from pipeline.mine.estimates import Estimates
from pipeline.mine.histograms import BINS, PRESENT, Histograms
from pipeline.mine.labels import Labels
from pipeline.params.mine import Mine

NAMES = ["canine", "fox", "hat", "fennec"]
"""fox implies canine; fennec, which is rare, implies both."""

CANINE, FOX, HAT, FENNEC = range(4)


def labelled(*given: set[int]) -> Labels:
    """Records with these columns."""
    matrix = np.zeros((len(given), len(NAMES)), np.float32)
    for row, columns in enumerate(given):
        matrix[row, list(columns)] = 1
    implies = np.zeros((len(NAMES), len(NAMES)), np.float32)
    implies[FOX, CANINE] = implies[FENNEC, CANINE] = implies[FENNEC, FOX] = 1
    records = pl.DataFrame(
        {
            "post_id": range(1, len(given) + 1),
            "md5": [f"{row:032x}" for row in range(len(given))],
            "split": ["train"] * len(given),
            "group_id": range(1, len(given) + 1),
        }
    )
    nothing = csr_array(matrix.shape, dtype=np.float32)
    return Labels(records, NAMES, 3, csr_array(matrix), csr_array(implies), nothing)


def propose(
    labels: Labels, likely: dict[tuple[int, int], float], params: Mine | None = None
) -> list[tuple[int, str, str]]:
    """Returns post, tag and kind. likely: probability by row and column."""
    shape = labels.given.shape
    columns = shape[1]
    low, width = np.zeros(columns), np.full(columns, 1 / BINS)
    counts = np.zeros((2, 2, columns, BINS), np.int64)
    counts[:, PRESENT] = 1
    scores = np.zeros(shape, np.float16)
    for place, probability in likely.items():
        scores[place] = probability
    estimates = Estimates.empty(columns, BINS)
    middle = (np.arange(BINS) + 0.5) / BINS
    estimates.missing[:] = middle
    estimates.wrong[:] = middle
    histograms = Histograms(low, width, counts)
    found = proposals.propose(params or Mine(), labels, scores, histograms, estimates)
    rows = found.select("row", "column", "kind").iter_rows()
    return [(row + 1, NAMES[column], kind) for row, column, kind in rows]


def test_tag_is_not_proposed_beside_one_that_implies_it() -> None:
    found = propose(labelled(set()), {(0, CANINE): 0.95, (0, FOX): 0.8})
    assert found == [(1, "fox", "missing")]


def test_what_a_rare_tag_implies_is_proposed_since_it_alone_is_learnt() -> None:
    likely = {(0, CANINE): 0.95, (0, FOX): 0.8, (0, FENNEC): 0.9}
    found = propose(labelled(set()), likely)
    assert found == [(1, "fennec", "missing"), (1, "fox", "missing")]


@pytest.mark.parametrize(
    ("fox", "expected"),
    [
        pytest.param(0.1, [], id="the child stays"),
        pytest.param(
            0.8,
            [(1, "canine", "wrong"), (1, "fox", "wrong")],
            id="the child goes too",
        ),
    ],
)
def test_label_is_not_called_wrong_while_one_stays_that_implies_it(
    fox: float, expected: list[tuple[int, str, str]]
) -> None:
    labels = labelled({CANINE, FOX})
    assert propose(labels, {(0, CANINE): 0.9, (0, FOX): fox}) == expected


def test_rare_tag_is_not_called_wrong() -> None:
    assert propose(labelled({FENNEC}), {(0, FENNEC): 0.9}) == []


def test_likeliest_come_first_and_limits_hold() -> None:
    labels = labelled(set(), set(), set(), set())
    likely = {(row, HAT): 0.6 + 0.1 * row for row in range(4)}
    likely[0, FOX] = 0.55
    params = Mine(per_tag=2)
    assert propose(labels, likely, params) == [
        (4, "hat", "missing"),
        (3, "hat", "missing"),
        (1, "fox", "missing"),
    ]
    assert propose(labels, likely, Mine(proposals=1)) == [(4, "hat", "missing")]
    assert propose(labels, likely, Mine(proposals=0)) == []
    high = Mine(min_probability=0.85)
    assert propose(labels, likely, high) == [(4, "hat", "missing")]


def test_limits_hold_over_all_chunks_of_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = labelled(*[set()] * 7)
    likely = {(row, HAT): 0.6 + 0.05 * (row * 3 % 7) for row in range(7)}
    params = Mine(per_tag=3)
    whole = propose(labels, likely, params)
    monkeypatch.setattr("pipeline.mine.histograms.CHUNK", 2)
    assert propose(labels, likely, params) == whole


def test_lift_is_that_of_the_tag_it_goes_with_most() -> None:
    labels = labelled(*[{HAT, FENNEC}] * 6, *[{HAT}] * 2, *[set()] * 8, {CANINE, FOX})
    rows, columns = np.array([6, 16, 16]), np.array([FENNEC, CANINE, HAT])
    lift = proposals.lifts(labels, rows, columns)
    # 6 of 17 records have both; by chance 8 * 6 / 17.
    assert lift[0] == pytest.approx(6 / (8 * 6 / 17))
    # Its only other label implies it.
    assert np.isnan(lift[1])
    assert np.isnan(lift[2])
