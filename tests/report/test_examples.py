"""The test images on the page."""

import re

import pytest

from pipeline.paths import Paths
from pipeline.schemas.evaluation import PREDICTIONS
from tests.builders import tables
from tests.builders.report_inputs import TEST, images_of, posts_of, written
from tests.builders.tables import set_value


def test_only_test_images_are_shown_and_small(html: str) -> None:
    shown = images_of(html)
    assert sorted(posts_of(html)) == TEST
    assert len(shown) == len(TEST)
    assert {one.size for one in shown} == {(192, 144)}
    for one in shown:
        red, _, blue = one.convert("RGB").getpixel((50, 50))
        assert blue > 200 > 50 > red


def test_images_are_chosen_whatever_the_scores(
    project: Paths, html: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.report.examples.SHOWN", 3)
    for post_id in TEST:
        path = project.evaluation / "predictions.parquet"
        set_value(
            path,
            PREDICTIONS,
            "post_id",
            post_id,
            scores=[post_id / 40, 0.1, 0.2],
        )
    assert posts_of(written(project)) == posts_of(html)[:3]


def test_tags_are_marked_as_correct_missed_or_wrong(project: Paths) -> None:
    path = project.evaluation / "predictions.parquet"
    assert tables.labels_of(28) == [0, 1]
    set_value(path, PREDICTIONS, "post_id", 28, scores=[0.75, 0.25, 0.5])
    (article,) = re.findall(
        r"<p>post 28:.*?</article>", written(project), flags=re.DOTALL
    )
    tags = re.findall(r'<li class="(\w+)">(\w+) <small>([\d.]+)</small>', article)
    assert tags == [
        ("correct", "canine", "0.75"),
        ("missed", "fox", "0.25"),
        ("wrong", "hat", "0.50"),
    ]
    assert "1 right, 1 missed, 1 wrong" in article
