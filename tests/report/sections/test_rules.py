"""Section: rules."""

from pipeline.paths import Paths
from pipeline.report import inputs
from pipeline.report.sections import rules


def test_the_rules_are_counted(good: Paths) -> None:
    counted = {number: posts for number, _, posts in rules.rules(inputs.read(good))}
    assert list(counted.items()) == [(1, 1), (2, 1), (3, 1), (4, 0), (5, 0)]
