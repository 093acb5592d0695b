"""Manifest: every sampled post in one place, and no evaluation picture that training has seen."""

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import Project, damage
from PIL import Image

from pipeline import manifest, packs
from pipeline.errors import CorruptFile
from pipeline.manifest import duplicates, hashing
from pipeline.paths import SPLITS
from sandbox.board import SandboxBoard


def run(project: Project) -> dict[str, pl.DataFrame]:
    manifest.run(project.params.manifest, project.paths, everything=project.params)
    return {path.stem: pl.read_parquet(path) for path in project.paths.manifest.glob("*.parquet")}


def test_every_sampled_post_is_in_exactly_one_file(ready: Project) -> None:
    tables = run(ready)
    posts = pl.read_parquet(ready.paths.sample / "posts.parquet")
    assert sorted(pl.concat([table["post_id"] for table in tables.values()])) == posts["post_id"].to_list()
    outcomes = pl.read_parquet(ready.paths.images / "outcomes.parquet").filter(pl.col("outcome") != "kept")
    refused = tables["rejected"].filter(~pl.col("reason").is_in(["near_duplicate", "same_picture"]))
    assert sorted(refused["md5"]) == sorted(outcomes["md5"])


def test_facts_are_those_of_the_stored_bytes(ready: Project) -> None:
    table = run(ready)["train"]
    reader = packs.Reader(ready.paths.images)
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
    assert {path.name: path.read_bytes() for path in ready.paths.manifest.iterdir()} == before


def test_missing_pack_is_named(ready: Project) -> None:
    path = packs.files(ready.paths.images)[0]
    damage(path)
    with pytest.raises(CorruptFile, match=path.name):
        run(ready)


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    picture.save(out := io.BytesIO(), "JPEG", quality=quality)
    return out.getvalue()


def records(pictures: list[tuple[str, bytes]]) -> pl.DataFrame:
    rows = []
    for number, (split, body) in enumerate(pictures):
        grey = hashing.grey_picture(body)
        rows.append((number, f"{number:032x}", split, hashing.phash(grey), hashing.thumbnail(grey)))
    schema = {"post_id": pl.Int64, "md5": pl.String, "split": pl.String, "phash": pl.UInt64, "thumbnail": pl.Binary}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture(scope="module")
def drawings(board: SandboxBoard) -> list[Image.Image]:
    """Forty drawings of posts that are no variants of each other."""
    posts = [post for post in board.posts if post.ext == "jpg" and post.parent_id is None and not post.is_deleted][:40]
    return [Image.open(io.BytesIO(board.original(post.md5))).convert("RGB") for post in posts]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda picture: jpeg(picture, 40), id="re-encoded"),
        pytest.param(lambda picture: jpeg(picture.resize((picture.width // 2, picture.height // 2))), id="resized"),
    ],
)
def test_copies_in_evaluation_are_rejected_and_training_stays(drawings: list[Image.Image], change) -> None:  # type: ignore[no-untyped-def]
    pairs = [("train", jpeg(picture)) for picture in drawings] + [("test", change(picture)) for picture in drawings]
    found = duplicates.find(records(pairs), 6)
    assert set(found["split"]) == {"test"}
    assert found.height >= 0.95 * len(drawings)
    assert (
        found.filter(pl.col("detail") == pl.format("of post {}", pl.col("post_id") - len(drawings))).height
        >= 0.9 * found.height
    )


def test_unrelated_pictures_are_not_rejected(drawings: list[Image.Image]) -> None:
    half = len(drawings) // 2
    pairs = [("train" if number < half else "validation", jpeg(picture)) for number, picture in enumerate(drawings)]
    assert duplicates.find(records(pairs), 6).height <= 1


def test_of_two_posts_with_one_picture_the_first_stays() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8))
    table = records([("test", jpeg(noise)), ("train", jpeg(noise))]).with_columns(md5=pl.lit("0" * 32))
    found = duplicates.find(table, 0)
    assert found.select("post_id", "reason").rows() == [(0, "same_picture")]


def test_empty_splits_are_written_too(ready: Project) -> None:
    run(ready)
    assert {path.stem for path in Path(ready.paths.manifest).iterdir()} == {*SPLITS, "rejected"}
    assert pl.read_parquet(ready.paths.manifest / "fresh.parquet").is_empty()
