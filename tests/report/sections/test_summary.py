"""Section: summary."""

from pipeline.metrics import catalogue
from tests.builders.report_inputs import FIGURES, text_of


def test_the_page_names_what_was_trained_on(html: str) -> None:
    text = text_of(html)
    assert "A tagger for 3 tags, trained on 14 images from sandbox" in text
    assert "35 posts" in text
    assert "1,234,567 weights" in text


def test_every_headline_number_is_beside_its_baseline(html: str) -> None:
    text = text_of(html)
    for name, figure in FIGURES.items():
        called = catalogue.LABELS[name]
        interval = ""
        if "low" in figure:
            interval = f"{figure['low']:.3f} to {figure['high']:.3f} "
        table = f"{called} {figure['value']:.3f} {interval}{figure['baseline']:.3f} "
        assert table in text, name
        if name != "micro_f1":
            assert (
                f"{called} {figure['value']:.3f} image-blind {figure['baseline']:.3f}"
                in text
            ), name
    assert "95 % interval 0.791 to 0.832" in text
    assert "is 96.7 % accurate already" in text
