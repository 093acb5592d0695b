"""Section: choice."""

from pipeline.report.sections import choice
from pipeline.validate.sample_explanations import STRATEGIES
from tests.builders.report_inputs import text_of


def test_strategies_are_compared_and_the_chosen_one_is_marked(html: str) -> None:
    text = text_of(html)
    assert "few posts that serve every tag ✓ chosen 30 30.0 s 8 8 0 3.0 0.125" in text
    assert (
        "quota: the newest, each for its rarest tag 31 31.0 s 8 8 0 3.0 0.250" in text
    )
    assert "posts with more tags than 75 % of the candidates have" in text
    assert text.count("✓ chosen") == 1
    assert "Download is at 1 request a second, the default of" in text


def test_every_strategy_of_the_table_has_words() -> None:
    assert tuple(choice.STRATEGIES) == STRATEGIES
