"""Manifest: every sampled post in one place.

And no evaluation image that training has seen.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from PIL import Image, ImageDraw

from pipeline import manifest, packs
from pipeline.errors import CorruptFile
from pipeline.paths import SPLITS
from tests.builders.image_cases import encode
from tests.builders.project import Project, damage, hashes


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
        ~pl.col("reason").is_in(["near_duplicate", "same_image"])
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
        pinned = json.loads(ready.paths.pin.read_text())
        assert pinned["site"] == ready.site.base_url
        assert tree["pin"] == pinned | {"site": "custom"}
        assert "127.0.0.1" not in json.dumps(tree)
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
        match=r"lacks \d+ images that its outcomes.parquet lists, first [0-9a-f]{32}",
    ):
        run(ready)


def test_empty_splits_are_written_too(ready: Project) -> None:
    run(ready)
    assert {path.stem for path in Path(ready.paths.manifest).iterdir()} == {
        *SPLITS,
        "rejected",
        "leakage",
        "overlay",
    }
    assert pl.read_parquet(ready.paths.manifest / "fresh.parquet").is_empty()


SKETCH = Image.new("RGB", (800, 800), "white")
ImageDraw.Draw(SKETCH).line((0, 0, 300, 200), fill="black", width=2)

UNUSABLE = {
    "clear": (
        encode(Image.new("RGBA", (300, 200), (9, 9, 9, 0)), "PNG"),
        "nearly_empty",
        "nothing but background",
    ),
    "white": (
        encode(Image.new("RGB", (300, 200), (252, 253, 251)), "JPEG"),
        "nearly_empty",
        "nothing but background",
    ),
    "long": (
        encode(Image.effect_noise((3300, 100), 90), "PNG"),
        "nearly_empty",
        "more than 32 times as long as wide",
    ),
    "high": (
        encode(Image.effect_noise((50, 1700), 90), "JPEG"),
        "nearly_empty",
        "more than 32 times as long as wide",
    ),
    "garbage": (
        b"\xff\xd8\xff" + bytes(90),
        "broken_image",
        "only part of it is there",
    ),
    "no image": (b"GIF89a" + bytes(90), "broken_image", "not a JPEG, PNG or WebP file"),
}
"""Bytes that no record can be made of, and what the manifest says of them."""

USABLE = {
    "long": encode(Image.effect_noise((3200, 100), 90), "PNG"),
    "sketch": encode(SKETCH, "PNG"),
    "black": encode(Image.new("L", (300, 200), 0), "PNG"),
}


def put_in_packs(project: Project, bodies: Mapping[str, bytes]) -> None:
    """Gives images of the packs other bytes. bodies: by md5."""
    for path in packs.pack_files(project.paths.images):
        packed = packs.read_images(path)
        packs.write(
            path,
            [replace(one, bytes=bodies.get(one.md5, one.bytes)) for one in packed],
        )


def test_images_of_no_use_are_rejected_with_a_reason_of_their_own(
    ready: Project,
) -> None:
    md5s = run(ready)["train"]["md5"].to_list()
    unusable = dict(zip(md5s, UNUSABLE.values(), strict=False))
    usable = dict(zip(md5s[len(UNUSABLE) :], USABLE.values(), strict=False))
    put_in_packs(ready, {md5: body for md5, (body, *_) in unusable.items()} | usable)
    tables = run(ready)
    found = tables["rejected"].filter(pl.col("md5").is_in(list(unusable)))
    rows = found.select("md5", "reason", "detail").rows()
    expected = [(md5, reason, detail) for md5, (_, reason, detail) in unusable.items()]
    assert sorted(rows) == sorted(expected)
    assert set(usable) <= set(tables["train"]["md5"])


def test_what_decoders_say_is_logged_and_not_stored(
    ready: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """Their words name memory addresses: two equal runs would differ."""
    md5 = run(ready)["train"]["md5"][0]
    body = encode(Image.effect_noise((90, 90), 90), "PNG")
    put_in_packs(ready, {md5: body[:60] + bytes(9) + body[69:]})
    run(ready)
    first = hashes(ready.paths.manifest)
    run(ready)
    assert hashes(ready.paths.manifest) == first
    put_in_packs(ready, {md5: b"\xff\xd8\xff\xc0" + bytes(60) + b"\xff\xda\xff\xd9"})
    tables = run(ready)
    (detail,) = tables["rejected"].filter(md5=md5)["detail"]
    assert detail == "its header cannot be read"
    assert f"manifest: {md5}: {detail}: " in capfd.readouterr().err
