"""Section: sample."""

from collections import Counter

from pipeline import parquet
from pipeline.paths import Paths
from pipeline.report import inputs
from pipeline.report.sections import sample
from pipeline.schemas.sample import EXCLUDED_TAGS
from pipeline.schemas.snapshot import UNKNOWN_TAGS
from tests.builders.report_inputs import section_of, text_of
from tests.builders.tables import change


def test_the_funnel_adds_up(good: Paths) -> None:
    steps = sample.funnel(inputs.read(good))
    left = 0
    for step in steps:
        assert step.posts >= 0
        if step.kept:
            assert left in {0, step.posts}, step.text
            left = step.posts
        else:
            left -= step.posts
    assert [step.posts for step in steps if step.kept] == [35, 32, 32, 30, 14]
    assert Counter(step.text for step in steps)["image not found"] == 1


def test_tags_left_out_are_named_by_reason(project: Paths, html: str) -> None:
    assert "rarer than the tags that were taken 1 unlabelled" in text_of(html)
    change(
        project.sample / "excluded_tags.parquet",
        lambda frame: frame.clear(),
        EXCLUDED_TAGS,
    )
    assert "were left out" not in section_of(sample, project)


def test_unknown_tags_are_counted_and_the_commonest_named(
    project: Paths, html: str
) -> None:
    assert "Every tag name on a post is in the site's list of tags." in text_of(html)
    unknown = [{"name": f"tag_{number:02}", "posts": number} for number in range(1, 21)]
    parquet.write(project.snapshot / "unknown_tags.parquet", unknown, UNKNOWN_TAGS)
    text = text_of(section_of(sample, project))
    assert "20 tag names on posts are not in the site's list of tags" in text
    assert "The commonest: tag_20, tag_19," in text
    assert "tag_09, …" in text
