"""Manifest: every sampled post in one place.

And no evaluation picture that training has seen.
"""

import io
import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from pipeline import manifest, packs
from pipeline.errors import CorruptFile
from pipeline.paths import SPLITS
from tests.builders.project import Project, damage


def run(project: Project) -> dict[str, pl.DataFrame]:
    manifest.run(project.params.manifest, project.paths, everything=project.params)
    return {
        path.stem: pl.read_parquet(path)
        for path in project.paths.manifest.glob("*.parquet")
    }


def test_every_sampled_post_is_in_exactly_one_file(ready: Project) -> None:
    tables = run(ready)
    posts = pl.read_parquet(ready.paths.sample / "posts.parquet")
    del tables["leakage"]
    assert (
        sorted(pl.concat([table["post_id"] for table in tables.values()]))
        == posts["post_id"].to_list()
    )
    outcomes = pl.read_parquet(ready.paths.images / "outcomes.parquet").filter(
        pl.col("outcome") != "kept"
    )
    refused = tables["rejected"].filter(
        ~pl.col("reason").is_in(["near_duplicate", "same_picture"])
    )
    assert sorted(refused["md5"]) == sorted(outcomes["md5"])


def test_facts_are_those_of_the_stored_bytes(ready: Project) -> None:
    table = run(ready)["train"]
    reader = packs.PackReader(ready.paths.images)
    for row in table.head(10).iter_rows(named=True):
        body = reader.bytes(row["pack"], row["md5"])
        with Image.open(io.BytesIO(body)) as picture:
            assert (picture.width, picture.height, str(picture.format).lower()) == (
                row["width"],
                row["height"],
                row["format"],
            )
        assert len(body) == row["bytes"]


def test_lineage_travels_with_every_file(ready: Project) -> None:
    run(ready)
    for path in ready.paths.manifest.glob("*.parquet"):
        from pipeline import lineage

        tree = lineage.read(path)
        assert tree["pin"] == json.loads(ready.paths.pin.read_text())
        assert tree["policy_version"] == "1"
        assert tree["parameters"]["sample"]["min_positives"] == 40


def test_same_inputs_give_the_same_bytes(ready: Project) -> None:
    run(ready)
    before = {path.name: path.read_bytes() for path in ready.paths.manifest.iterdir()}
    run(ready)
    assert {
        path.name: path.read_bytes() for path in ready.paths.manifest.iterdir()
    } == before


def test_missing_pack_is_named(ready: Project) -> None:
    path = packs.pack_files(ready.paths.images)[0]
    damage(path)
    with pytest.raises(CorruptFile, match=path.name):
        run(ready)


def test_pictures_whose_pack_is_gone_are_named(ready: Project) -> None:
    packs.pack_files(ready.paths.images)[0].unlink()
    with pytest.raises(
        CorruptFile,
        match=r"lacks \d+ pictures that its outcomes.parquet lists, first [0-9a-f]{32}",
    ):
        run(ready)


def test_empty_splits_are_written_too(ready: Project) -> None:
    run(ready)
    assert {path.stem for path in Path(ready.paths.manifest).iterdir()} == {
        *SPLITS,
        "rejected",
        "leakage",
    }
    assert pl.read_parquet(ready.paths.manifest / "fresh.parquet").is_empty()
