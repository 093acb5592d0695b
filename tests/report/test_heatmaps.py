"""Where in test images a tag was seen."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from pipeline.paths import Paths
from pipeline.report import heatmaps, thumbnails
from pipeline.report.examples import ExampleImage
from pipeline.report.heatmaps import HeatMap, MappedImage
from tests.builders import toy_bundle


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A project with a bundle whose tags are the colours of an image."""
    paths = Paths(tmp_path_factory.mktemp("toy"))
    toy_bundle.write_bundle(paths.bundle)
    return paths


def example(given: set[str]) -> ExampleImage:
    """An image that is red on the left and black on the right."""
    image = Image.new("RGB", (400, 200))
    image.paste((255, 0, 0), (0, 0, 200, 200))
    image.save(out := io.BytesIO(), "PNG")
    return ExampleImage(
        post_id=7,
        image=thumbnails.encode(image),
        f1=None,
        correct=[],
        missed=[],
        wrong=[],
        unseen=[],
        body=out.getvalue(),
        given=frozenset(given),
    )


def drawn(toy: Paths, given: set[str]) -> MappedImage:
    (mapped,) = heatmaps.draw(toy, [example(given)])
    return mapped


def pixels(heat: HeatMap) -> Image.Image:
    body = base64.b64decode(heat.image.uri.partition(",")[2])
    return Image.open(io.BytesIO(body)).convert("L")


def test_the_map_is_lightest_where_the_tag_is(toy: Paths) -> None:
    maps = drawn(toy, {"red"}).maps
    (red,) = [heat for heat in maps if heat.name == "red"]
    image = pixels(red)
    assert red.is_lit
    assert image.size == (192, 96)
    assert image.getpixel((40, 48)) > 2 * image.getpixel((160, 48))


@pytest.mark.parametrize(
    ("given", "kind"), [({"red"}, "correct"), (set(), "wrong")], ids=["given", "not"]
)
def test_a_tag_that_applies_is_right_or_wrong_by_what_was_given(
    toy: Paths, given: set[str], kind: str
) -> None:
    kinds = {heat.kind: heat.name for heat in drawn(toy, given).maps}
    assert kinds[kind] == "red"


def test_of_the_tags_that_were_missed_the_surest_is_drawn(toy: Paths) -> None:
    missed = [
        heat for heat in drawn(toy, {"blue_fox", ":3"}).maps if heat.kind == "missed"
    ]
    scores = {heat.name: heat.score for heat in missed}
    assert len(scores) == 1
    every = toy_scores(toy)
    assert max(every["blue_fox"], every[":3"]) == pytest.approx(
        next(iter(scores.values()))
    )


def toy_scores(toy: Paths) -> dict[str, float]:
    from e6tag.tagger import Tagger

    tagger = Tagger(toy.bundle)
    outputs = tagger.run(tagger.prepare(example(set()).body)[None])
    names = [tag.name for tag in tagger.bundle.tags]
    return dict(zip(names, outputs.scores[0].tolist(), strict=True))


def test_no_more_images_than_the_page_shows_are_drawn(
    toy: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatmaps, "SHOWN", 2)
    assert len(heatmaps.draw(toy, [example(set())] * 5)) == 2


def test_a_bundle_that_is_not_whole_is_named(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    toy_bundle.write_bundle(paths.bundle)
    (paths.bundle / "heatmap.onnx").unlink()
    with pytest.raises(Exception, match=r"not a bundle: heatmap\.onnx missing"):
        heatmaps.draw(paths, [])
