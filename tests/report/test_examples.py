"""The test images on the page."""

import re

import pytest

from pipeline import parquet
from pipeline.paths import Paths
from pipeline.report import examples
from pipeline.schemas.evaluation import PREDICTIONS
from tests.builders import tables
from tests.builders.report_inputs import (
    TEST,
    gallery,
    images_of,
    posts_of,
    text_of,
    written,
)
from tests.builders.tables import labels_of, set_value


def test_only_test_images_are_shown_and_small(html: str) -> None:
    by_hash = gallery(html, "Chosen by hash")
    shown = images_of(by_hash)
    assert sorted(posts_of(by_hash)) == TEST
    assert len(shown) == len(TEST)
    assert {one.size for one in shown} == {(192, 144)}
    for one in shown:
        red, _, blue = one.convert("RGB").getpixel((50, 50))
        assert blue > 200 > 50 > red


def score(project: Paths, post_id: int, scores: list[float]) -> None:
    path = project.evaluation / "predictions.parquet"
    set_value(path, PREDICTIONS, "post_id", post_id, scores=scores)


def test_images_are_chosen_by_hash_whatever_the_scores(
    project: Paths, html: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.report.examples.SHOWN", 3)
    for post_id in TEST:
        score(project, post_id, [post_id / 40, 0.1, 0.2])
    per_tag = parquet.read(project.evaluation / "per_tag.parquet")
    chosen = examples.choose_examples(project, per_tag).typical
    by_hash = posts_of(gallery(html, "Chosen by hash"))
    assert [image.post_id for image in chosen] == by_hash[:3]


LABELLED = [post_id for post_id in TEST if len(labels_of(post_id)) >= 2]
WORST, BEST = LABELLED[:2]


@pytest.fixture
def best_and_worst(project: Paths) -> examples.Examples:
    """The choice where BEST is right in all, and WORST says nothing."""
    for post_id in TEST:
        score(project, post_id, [0.9, 0.1, 0.9])  # the tags of none
    right = [0.9 if label in labels_of(BEST) else 0.1 for label in range(3)]
    score(project, BEST, right)
    score(project, WORST, [0.1, 0.1, 0.1])
    per_tag = parquet.read(project.evaluation / "per_tag.parquet")
    return examples.choose_examples(project, per_tag)


def test_the_best_and_the_worst_are_those_with_the_highest_and_lowest_f1(
    best_and_worst: examples.Examples,
) -> None:
    best = best_and_worst.best[0]
    assert (best.post_id, best.f1) == (BEST, 1.0)
    assert best_and_worst.worst[0].f1 == 0.0
    assert WORST in {image.post_id for image in best_and_worst.worst}


def test_no_image_is_among_the_best_and_the_worst(
    best_and_worst: examples.Examples,
) -> None:
    best = {image.post_id for image in best_and_worst.best}
    assert not best & {image.post_id for image in best_and_worst.worst}


def test_the_best_are_ordered_by_falling_and_the_worst_by_rising_f1(
    best_and_worst: examples.Examples,
) -> None:
    falling = [image.f1 for image in best_and_worst.best]
    assert falling == sorted(falling, reverse=True)
    rising = [image.f1 for image in best_and_worst.worst]
    assert rising == sorted(rising)


def test_of_images_with_the_same_f1_the_smallest_hash_decides(
    project: Paths, html: str
) -> None:
    by_hash = posts_of(gallery(html, "Chosen by hash"))
    given = [post_id for post_id in by_hash if labels_of(post_id)]
    assert posts_of(gallery(html, "The best")) == given[: len(given) // 2]
    assert posts_of(gallery(html, "The worst")) == given[len(given) // 2 :][:4]


def test_tags_are_marked_as_correct_missed_or_wrong(project: Paths) -> None:
    assert tables.labels_of(28) == [0, 1]
    score(project, 28, [0.75, 0.25, 0.5])
    by_hash = gallery(written(project), "Chosen by hash")
    (article,) = re.findall(r"<p>post 28:.*?</article>", by_hash, flags=re.DOTALL)
    tags = re.findall(r'<li class="(\w+)">(\w+) <small>([\d.]+)</small>', article)
    assert tags == [
        ("correct", "canine", "0.75"),
        ("missed", "fox", "0.25"),
        ("wrong", "hat", "0.50"),
    ]
    assert "1 right, 1 missed, 1 wrong; F1 0.500" in article


def test_what_is_true_of_an_image_is_told_where_it_is_known(project: Paths) -> None:
    score(project, 28, [0.75, 0.25, 0.5])
    score(project, 30, [0.1, 0.1, 0.1])
    per_tag = parquet.read(project.evaluation / "per_tag.parquet")
    truth = {28: frozenset({"fox", "hat"}), 30: frozenset({"fox", "sun"})}
    chosen = examples.choose_examples(project, per_tag, truth.get)
    by_post = {image.post_id: image for image in chosen.typical}
    (canine,), (fox,), (hat,) = (
        by_post[28].correct,
        by_post[28].missed,
        by_post[28].wrong,
    )
    assert (canine.is_true, fox.is_true, hat.is_true) == (False, True, True)
    assert [tag.name for tag in by_post[30].unseen] == ["fox"]
    unknown = next(one for one in TEST if one not in truth)
    assert by_post[unknown].unseen == []


def test_where_nobody_knows_the_truth_it_is_absent(project: Paths) -> None:
    lineage = project.bundle / "lineage.json"
    lineage.write_text(lineage.read_text().replace('"sandbox"', '"elsewhere"'))
    text = text_of(written(project))
    assert "What an image truly shows is absent" in text
    assert "is there" not in text


def test_without_predictions_the_images_are_absent(project: Paths) -> None:
    path = project.evaluation / "predictions.parquet"
    parquet.write(path, parquet.read(path).clear(), PREDICTIONS)
    text = text_of(written(project))
    assert "Test images Absent: no test image was predicted." in text
    assert "Where a tag was seen Absent: no test image was predicted." in text
