"""Section: sizes of the images."""

import polars as pl

from pipeline.paths import SPLITS, Paths
from pipeline.report.sections import sizes
from pipeline.schemas.manifest import MANIFEST
from tests.builders.report_inputs import section_of, text_of
from tests.builders.tables import change


def test_small_and_narrow_images_are_counted(project: Paths) -> None:
    is_first = pl.col("post_id") == 1
    change(
        project.manifest / "train.parquet",
        lambda rows: rows.with_columns(
            width=pl.when(is_first).then(40).otherwise("width").cast(pl.Int32),
            height=pl.when(is_first).then(90).otherwise("height").cast(pl.Int32),
        ),
        MANIFEST,
    )
    text = text_of(section_of(sizes, project))
    assert "Of the 31 stored images, 3.2 % are smaller than the 96 pixels" in text
    assert "; 3.2 % are at least twice as long one way as the other" in text
    assert "jpeg 31 155.0 kB 640 480" in text


def test_an_empty_manifest_is_absent(project: Paths) -> None:
    for split in SPLITS:
        path = project.manifest / f"{split}.parquet"
        change(path, lambda rows: rows.clear(), MANIFEST)
    text = text_of(section_of(sizes, project))
    assert text == "Absent: the manifest has no record."
