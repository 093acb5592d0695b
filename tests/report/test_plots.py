"""The plots of the page."""

import polars as pl

from pipeline.report import data_plots, evaluation_plots, thinning


def test_thousand_tags_stay_small() -> None:
    along = [i / 20_000 for i in range(20_000)]
    curves = pl.DataFrame({"curve": "roc_micro", "x": along, "y": along})
    assert len(evaluation_plots.curve(curves, "roc", "ROC", "x", "y")) < 20_000
    counts = [3_000 - i for i in range(1_024)]
    assert (
        len(data_plots.positives(counts, [count // 18 for count in counts], 512, 32))
        < 300_000
    )


def test_of_thousands_of_tags_some_are_drawn_from_first_to_last() -> None:
    places = thinning.thinned(8_000, thinning.MAX_TAGS)
    assert (places[0], places[-1], len(places)) == (0, 7_999, thinning.MAX_TAGS)
    assert thinning.thinned(3, thinning.MAX_TAGS) == [0, 1, 2]
    shares = [0.5 / (rank + 1) for rank in range(8_000)]
    assert len(data_plots.frequencies(shares, shares)) < 300_000
